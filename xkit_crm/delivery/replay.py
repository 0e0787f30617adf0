"""Carry out again what failed, or was skipped: with today's mapping, as the same invocation."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router
from django.db.models import F
from django.utils import timezone

from xkit_crm.delivery import backends, lanes
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus

#: States that a person may take an invocation out of.
REPLAYABLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN, InvocationStatus.SKIPPED)


def replay(invocations: Iterable[Invocation]) -> int:
    """Queue those that failed, are unknown or were skipped again; gives how many there were.

    It stays the same invocation with the same idempotency key, so what may have been written is
    looked up before it is written again. A local row's is made anew of the row as it is now, so
    that an old one doesn't overwrite what was written since. What stands behind it is let go.
    """
    chosen = Invocation.objects.filter(pk__in=[i.pk for i in invocations], status__in=REPLAYABLE)
    records = list(chosen.order_by().values_list("connection_id", "record_key"))
    # The status is asked for again as it is changed: somebody else may have replayed it.
    queued = chosen.update(
        status=InvocationStatus.PENDING,
        due_at=timezone.now(),
        finished_at=None,
        retry=True,
        forgiven=F("tries"),
        replays=F("replays") + 1,
    )
    lanes.release(records)
    backends.poke_on_commit(
        sorted({lane for lane, _ in records}), using=router.db_for_write(Invocation)
    )
    return queued
