"""Lanes: who may work on a connection's invocations, and which come next.

A lane is held under a lease: one worker at a time, until it gives the lane back or the lease runs
out. What the last holder left half done is taken up as doubtful.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.models import Invocation, Lane
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus


def me() -> str:
    """This thread's name as a holder of lanes."""
    return f"{socket.gethostname()[:40]}/{os.getpid()}/{threading.get_ident()}"


@contextmanager
def held(connection_id: str) -> Iterator[bool]:
    """Hold the lane during the block; gives False where another worker holds it."""
    holder = me()
    if not _take(connection_id, holder):
        yield False
        return
    try:
        yield True
    except BaseException:
        # What it had in hand is nobody's now, and the next one must not overlook it.
        if is_mine(connection_id):
            _take_up(connection_id)
        raise
    finally:
        Lane.objects.filter(pk=connection_id, holder=holder).update(holder="", leased_until=None)


def _take(connection_id: str, holder: str) -> bool:
    now = timezone.now()
    free = Lane.objects.filter(pk=connection_id).filter(holder="")
    lease = {"holder": holder, "leased_until": now + settings.LANE_LEASE}
    if free.update(**lease):
        return True
    Lane.objects.get_or_create(connection_id=connection_id)
    if free.update(**lease):
        return True
    # Its holder is alive, or died without giving it back: then its lease has run out.
    if not Lane.objects.filter(pk=connection_id, leased_until__lt=now).update(**lease):
        return False
    _take_up(connection_id)
    return True


def _take_up(connection_id: str) -> None:
    """What a holder left half done waits again, and may have been written already."""
    Invocation.objects.filter(connection_id=connection_id, status=InvocationStatus.RUNNING).update(
        status=InvocationStatus.PENDING, doubtful=True, due_at=timezone.now()
    )


def renew(connection_id: str) -> bool:
    """Make the lease last from now; False where the lane was lost to another worker."""
    return bool(
        Lane.objects.filter(pk=connection_id, holder=me()).update(
            leased_until=timezone.now() + settings.LANE_LEASE
        )
    )


def is_mine(connection_id: str) -> bool:
    """Whether this very thread holds the lane: somebody it calls asks for what it is to do."""
    return Lane.objects.filter(pk=connection_id, holder=me()).exists()


def pause(connection_id: str, until: datetime) -> None:
    """Start nothing in this lane before `until`: the CRM asked for it."""
    Lane.objects.filter(pk=connection_id).update(paused_until=until)


def paused_until(connection_id: str) -> datetime | None:
    """Until when the CRM asked to be left alone; None where it may be called."""
    return (
        Lane.objects.filter(pk=connection_id, paused_until__gt=timezone.now())
        .values_list("paused_until", flat=True)
        .first()
    )


def with_work() -> list[str]:
    """The connections in whose lanes something can be done now."""
    now = timezone.now()
    waiting = (
        Invocation.objects.filter(
            status=InvocationStatus.PENDING,
            due_at__lte=now,
            connection__status=ConnectionStatus.ENABLED,
        )
        .filter(
            Q(connection__lane__isnull=True)
            | Q(connection__lane__paused_until__isnull=True)
            | Q(connection__lane__paused_until__lte=now)
        )
        .order_by()
        .values_list("connection_id", flat=True)
        .distinct()
    )
    orphaned = Lane.objects.exclude(holder="").filter(leased_until__lt=now)
    return list(dict.fromkeys([*waiting, *orphaned.values_list("pk", flat=True)]))


def next_due(connection_id: str, *, record_key: str | None = None) -> Invocation | None:
    """The next invocation of the lane that may be carried out, oldest first."""
    due = (
        Invocation.objects.due()
        .filter(connection_id=connection_id)
        .select_related("connection", "event__crm_object", "content_type")
    )
    if record_key is not None:
        due = due.filter(record_key=record_key)
    return due.first()
