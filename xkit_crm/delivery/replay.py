"""Carry out again what failed, or was skipped: with today's mapping, as the same invocation."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router
from django.db.models import F
from django.utils import timezone

from xkit_crm.delivery import backends
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus

#: States that a person may take an invocation out of.
REPLAYABLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN, InvocationStatus.SKIPPED)


def replay(invocations: Iterable[Invocation]) -> int:
    """Queue those that failed, are unknown or were skipped again; gives how many there were.

    It stays the same invocation with the same idempotency key, so what may have been written is
    looked up before it is written again.
    """
    again = list(
        Invocation.objects.filter(
            pk__in=[invocation.pk for invocation in invocations], status__in=REPLAYABLE
        )
    )
    Invocation.objects.filter(pk__in=[invocation.pk for invocation in again]).update(
        status=InvocationStatus.PENDING,
        due_at=timezone.now(),
        finished_at=None,
        retry=True,
        forgiven=F("tries"),
    )
    lanes = list(dict.fromkeys(invocation.connection_id for invocation in again))
    backends.poke_on_commit(lanes, using=router.db_for_write(Invocation))
    return len(again)
