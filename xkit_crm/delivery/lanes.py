"""Lanes: who may work on a connection's invocations, and which come next.

A lane is held under a lease: one worker at a time, until it gives the lane back or the lease runs
out. What the last holder left half done is taken up as doubtful. A lane that the CRM asked to
leave alone for a while can't be taken until then.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError
from django.db.models import Q
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.models.lane import LaneQuerySet


def me() -> str:
    """This thread's name as a holder of lanes."""
    return f"{socket.gethostname()[:40]}/{os.getpid()}/{threading.get_ident()}"


@dataclass(slots=True)
class Hold:
    """A lane in hand: true as long as it is ours."""

    connection_id: str
    holder: str
    until: datetime | None

    def __bool__(self) -> bool:
        return self.until is not None

    def renew(self) -> bool:
        """Make the lease last, where a third of it has passed; False where the lane was lost.

        Before that nobody can have taken it, so it costs no query.
        """
        now = timezone.now()
        if self.until is None or self.until - now > settings.LANE_LEASE * 2 / 3:
            return bool(self)
        until = now + settings.LANE_LEASE
        renewed = _lane(self.connection_id, holder=self.holder).update(leased_until=until)
        self.until = until if renewed else None
        return bool(self)


@contextmanager
def held(connection_id: str) -> Iterator[Hold]:
    """Hold the lane during the block. The hold is false where it can't be had: another worker
    holds it, or the CRM asked to be left alone. Costs two queries."""
    holder = me()
    hold = Hold(connection_id, holder, _take(connection_id, holder))
    if not hold:
        yield hold
        return
    try:
        yield hold
    except BaseException:
        # What it had in hand is nobody's now, and the next one must not overlook it.
        if is_mine(connection_id):
            _take_up(connection_id)
        raise
    finally:
        _lane(connection_id, holder=holder).update(holder="", leased_until=None)


def _lane(connection_id: str, **criteria: object) -> LaneQuerySet:
    return Lane.objects.filter(pk=connection_id, **criteria)


def _take(connection_id: str, holder: str) -> datetime | None:
    """Until when the lane is ours; None where it can't be had."""
    now = timezone.now()
    until: datetime = now + settings.LANE_LEASE
    lease = {"holder": holder, "leased_until": until}
    free = _lane(connection_id, holder="").open(now)
    if free.update(**lease):
        return until
    try:
        if not Connection.objects.filter(pk=connection_id).exists():
            return None
        _, made = Lane.objects.get_or_create(connection_id=connection_id)
    except IntegrityError:
        return None  # it was deleted at this very moment
    if made and free.update(**lease):
        return until
    # Its holder is alive, or died without giving it back: then its lease has run out.
    if not _lane(connection_id, leased_until__lt=now).open(now).update(**lease):
        return None
    _take_up(connection_id)
    return until


def _take_up(connection_id: str) -> None:
    """What a holder left half done waits again, and may have been written already."""
    Invocation.objects.filter(connection_id=connection_id, status=InvocationStatus.RUNNING).update(
        status=InvocationStatus.PENDING, doubtful=True, due_at=timezone.now()
    )


def is_mine(connection_id: str) -> bool:
    """Whether this very thread holds the lane: somebody it calls asks for what it is to do."""
    return _lane(connection_id, holder=me()).exists()


def pause(connection_id: str, until: datetime) -> None:
    """Start nothing in this lane before `until`: the CRM asked for it."""
    _lane(connection_id).update(paused_until=until)


def paused_until(connection_id: str) -> datetime | None:
    """Until when the CRM asked to be left alone; None where it may be called."""
    return (
        _lane(connection_id, paused_until__gt=timezone.now())
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


def has_work(connection_id: str) -> bool:
    """Whether something may be carried out in this lane, or was left half done in it."""
    if Invocation.objects.due().filter(connection_id=connection_id).exists():
        return True
    return _lane(connection_id, leased_until__lt=timezone.now()).exists()


def is_due(invocation: Invocation) -> bool:
    """Whether this one, as it was last read, may be carried out as soon as it is its turn."""
    return (
        invocation.status == InvocationStatus.PENDING
        and invocation.due_at <= timezone.now()
        and invocation.connection.is_enabled
    )


def is_blocked(invocation: Invocation) -> bool:
    """Whether an earlier invocation of the same record is not settled yet."""
    if invocation.record_key == str(invocation.uuid):
        return False  # it makes a record that nobody else knows yet
    earlier = Invocation.objects.open().filter(
        connection_id=invocation.connection_id,
        record_key=invocation.record_key,
        pk__lt=invocation.pk,
    )
    return earlier.exists()


def next_due(connection_id: str, *, record_key: str | None = None) -> Invocation | None:
    """The next invocation of the lane that may be carried out, oldest first."""
    due = Invocation.objects.due().filter(connection_id=connection_id)
    if record_key is not None:
        due = due.filter(record_key=record_key)
    return due.select_related("connection", "event__crm_object", "content_type").first()
