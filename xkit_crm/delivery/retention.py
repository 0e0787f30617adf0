"""Retention: what is settled leaves the log after a while, in batches.

`xkit_prune` calls `prune`, the worker calls `prune_if_due` beside its lanes. There is no index
on when something was finished, since every delivery would pay for it: the primary key is in the
order of making, so the oldest are found at its beginning. Knows nothing of providers or mappings.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connections, router, transaction
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, When
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.models import Attempt, EventDefinition, Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus

#: End states that need nobody's attention.
DONE: Final = (
    InvocationStatus.SUCCEEDED,
    InvocationStatus.SKIPPED,
    InvocationStatus.DEFERRED,
    InvocationStatus.SUPERSEDED,
)
#: Seconds between two looks of a worker for what is too old, and where it left some.
INTERVAL = 3600.0
INTERVAL_WITH_MORE = 10.0
#: How many a worker deletes at one look: it is asked to stop in between only.
WORKER_LIMIT = 5_000

_next_look: float | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """How long settled invocations are kept; None: for ever."""

    succeeded: timedelta | None
    failed: timedelta | None = None

    @classmethod
    def by_settings(cls) -> Keep:
        return cls(settings.KEEP_SUCCEEDED, settings.KEEP_FAILED)

    def by_status(self) -> Iterator[tuple[tuple[InvocationStatus, ...], timedelta]]:
        """The statuses that are not kept for ever, and how long they are kept."""
        if self.succeeded is not None:
            yield DONE, self.succeeded
        if self.failed is not None:
            yield (InvocationStatus.FAILED,), self.failed


def prune(
    *,
    limit: int | None = None,
    batch: int = 1000,
    keep: Keep | None = None,
    dry_run: bool = False,
) -> int:
    """Delete what is older than it is kept, with its attempts; gives how many invocations.

    Oldest first, `limit` at most, in transactions of `batch`. What is open or unknown stays, and
    so do an idempotency key within its window and what tells that a row's record was left to a
    workflow. With `dry_run` it is only counted.
    """
    keep = keep or Keep.by_settings()
    kept_for = [duration for _, duration in keep.by_status()]
    if not kept_for:
        return 0
    now = timezone.now()
    youngest = now - min(kept_for)
    condition = _is_over(keep, now)
    done, after = 0, 0
    while limit is None or done < limit:
        page = list(
            Invocation.objects.filter(pk__gt=after)
            .order_by("pk")
            .annotate(
                over=Case(When(condition, then=True), default=False, output_field=BooleanField())
            )
            .values_list("pk", "created_at", "over")[:batch]
        )
        # What is made later is finished later, so from here on everything is too young.
        if not page or all(created_at > youngest for _, created_at, _ in page):
            break
        after = page[-1][0]
        over = [pk for pk, _, is_over in page if is_over]
        if limit is not None:
            over = over[: limit - done]
        if over:
            done += len(over) if dry_run else _delete(over, condition)
    return done


def prune_if_due() -> int:
    """Prune a little where an hour has passed in this process; gives how many were.

    Workers needn't agree: each looks at another time of the hour, and what one has deleted the
    next doesn't find. Where there is more than a worker deletes at once, it looks again soon.
    """
    global _next_look
    now = time.monotonic()
    if _next_look is None:
        _next_look = now + random.uniform(0, INTERVAL)  # noqa: S311 - nothing secret
    if now < _next_look:
        return 0
    _next_look = now + INTERVAL
    done = prune(limit=WORKER_LIMIT)
    if done >= WORKER_LIMIT:
        _next_look = now + INTERVAL_WITH_MORE
    return done


def _is_over(keep: Keep, now: datetime) -> Q:
    """What is not needed any more."""
    finished = Q()
    for statuses, duration in keep.by_status():
        cut = now - duration
        old = Q(finished_at__lt=cut) | Q(finished_at=None, created_at__lt=cut)
        finished |= Q(old, status__in=statuses)
    answered = Q(idempotency_key=None) | Q(created_at__lt=now - settings.IDEMPOTENCY_WINDOW)
    return finished & answered & ~_may_come_back() & ~_is_left_to_a_workflow()


def _may_come_back() -> Q:
    """Joined to one that is not done: should that one fail for good, they are sent apart. One that
    joined another itself may come back with it."""
    done = [status for status in DONE if status != InvocationStatus.SUPERSEDED]
    heads = Invocation.objects.filter(pk=OuterRef("superseded_by_id"))
    return Q(status=InvocationStatus.SUPERSEDED) & Q(Exists(heads.exclude(status__in=done)))


def _is_left_to_a_workflow() -> Q:
    """Creates that `sync/retarget.py` still needs: without them a row would get a second record.

    Not where the row is linked by now, nor where a later create or delete says the same.
    """
    creates = EventDefinition.objects.filter(type=EventType.CREATE)
    row = {name: OuterRef(name) for name in ("content_type_id", "object_pk", "connection_id")}
    linked = RecordLink.objects.filter(**row, crm_object__events=OuterRef("event_id"))
    later = Invocation.objects.filter(
        Q(status=InvocationStatus.DEFERRED, event__type=EventType.CREATE)
        | Q(event__type=EventType.DELETE),
        **row,
        pk__gt=OuterRef("pk"),
        event__crm_object__events=OuterRef("event_id"),
    )
    # The cheap conditions first: they decide nearly always.
    left = Q(status=InvocationStatus.DEFERRED) & Q(object_pk__isnull=False)
    return left & Q(event__in=creates.values("pk")) & Q(~Exists(later), ~Exists(linked))


def _delete(ids: list[int], condition: Q) -> int:
    """Delete these, where they are still over, in one transaction."""
    using = router.db_for_write(Invocation)
    skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        chosen = Invocation.objects.filter(condition, pk__in=ids).order_by("pk")
        mine = list(chosen.select_for_update(skip_locked=skip).values_list("pk", flat=True))
        invocations = Invocation.objects.using(using).filter(pk__in=mine)
        if _referenced_by_others():
            invocations.only("pk").delete()
        else:
            # Nobody listens to these deletes, so nothing has to be loaded for them.
            Attempt.objects.using(using).filter(invocation__in=mine)._raw_delete(using)
            Invocation.objects.using(using).filter(superseded_by__in=mine).update(
                superseded_by=None
            )
            invocations._raw_delete(using)
    return len(mine)


def _referenced_by_others() -> bool:
    """Whether a model of the product's own points to invocations: then Django has to ask it."""
    return any(
        field.auto_created
        and (field.one_to_many or field.one_to_one)
        and field.related_model not in (Attempt, Invocation)
        for field in Invocation._meta.get_fields(include_hidden=True)
    )
