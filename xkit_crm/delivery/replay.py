"""What a person decides of an invocation: carry it out again, or leave it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from xkit_crm.delivery import backends, lanes, tallies
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus

#: States that a person may take an invocation out of.
REPLAYABLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN, InvocationStatus.SKIPPED)

_READ = ("connection_id", "record_key", "status")


def replay(invocations: Iterable[Invocation]) -> int:
    """Queue those that failed, are unknown or were skipped again; gives how many there were.

    It stays the same invocation with the same idempotency key, so what may have been written is
    looked up before it is written again. A local row's is made anew of the row as it is now, so
    that an old one doesn't overwrite what was written since. What stands behind it is let go.
    """
    replayable = Invocation.objects.filter(
        pk__in=[i.pk for i in invocations], status__in=REPLAYABLE
    )
    with transaction.atomic(using=router.db_for_write(Invocation)):
        # Locked, since somebody else may be replaying them: they are counted by what they were.
        chosen = list(replayable.only(*_READ).select_for_update())
        queued = replayable.filter(pk__in=[one.pk for one in chosen]).update(
            status=InvocationStatus.PENDING,
            due_at=timezone.now(),
            finished_at=None,
            retry=True,
            forgiven=F("tries"),
            replays=F("replays") + 1,
        )
        tallies.reopened(Counter((one.connection_id, one.status) for one in chosen))
        _let_go(_records(chosen))
    return queued


def settle(invocations: Iterable[Invocation]) -> int:
    """Leave those whose outcome is unknown as they are, since a person has looked in the CRM;
    gives how many there were. What stands behind them goes on.

    A row that was to be created has to be linked to its record first (`xkit_crm.link()` or the
    admin), or its next change would create it again: without a link it stays unknown.
    """
    unknown = Invocation.objects.filter(
        pk__in=[i.pk for i in invocations], status=InvocationStatus.UNKNOWN
    ).select_related("event")
    settled = [one.pk for one in unknown if _may_be_left(one)]
    left = Invocation.objects.filter(pk__in=settled, status=InvocationStatus.UNKNOWN)
    with transaction.atomic(using=router.db_for_write(Invocation)):
        chosen = list(left.only(*_READ).select_for_update())
        count = left.filter(pk__in=[one.pk for one in chosen]).update(
            status=InvocationStatus.SKIPPED, finished_at=timezone.now(), doubtful=False
        )
        ids = Counter(one.connection_id for one in chosen)
        tallies.reopened({(pk, InvocationStatus.UNKNOWN): many for pk, many in ids.items()})
        tallies.ended({(pk, InvocationStatus.SKIPPED): many for pk, many in ids.items()})
        _let_go(_records(chosen))
    return count


def _may_be_left(invocation: Invocation) -> bool:
    if invocation.event.type != EventType.CREATE or not invocation.object_pk:
        return True
    return RecordLink.objects.filter(**invocation.link_key).exists()


def _records(chosen: Iterable[Invocation]) -> set[tuple[str, str]]:
    return {(one.connection_id, one.record_key) for one in chosen}


def _let_go(records: set[tuple[str, str]]) -> None:
    lanes.release(records)
    connection_ids = sorted({connection_id for connection_id, _ in records})
    backends.poke_on_commit(connection_ids, using=router.db_for_write(Invocation))
