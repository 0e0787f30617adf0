"""Lanes: who may work on a connection's invocations, and where there is work.

A lane is held under a lease: one worker at a time, until it gives the lane back or the lease runs
out; while a call lasts, `heartbeat.py` renews it. What the last holder left half done is taken up
as doubtful. A lane that the CRM asked to leave alone for a while can't be taken until then.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connections, router, transaction
from django.db.models import F, Q
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.delivery import heartbeat, rate, statements, tallies, telling
from xkit_crm.delivery.rows import found_by, update_each
from xkit_crm.exceptions import CRMError
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.models.lane import LaneQuerySet


def me() -> str:
    """This thread's name as a holder of lanes."""
    return f"{socket.gethostname()[:40]}/{os.getpid()}/{threading.get_ident()}"


@dataclass(slots=True, eq=False)
class Hold:
    """A lane in hand: true as long as it is ours."""

    connection_id: str
    holder: str
    until: datetime | None
    gauge: rate.Gauge = field(default_factory=rate.Gauge)
    #: How often somebody had said that the CRM is well when the lane was taken.
    resumed: int = 0
    #: The connection as it was when the lane was taken, until somebody asks for it.
    found: statements.Found | None = None
    #: Until when the lane is to be left alone once it is given back.
    paused_until: datetime | None = None

    def __bool__(self) -> bool:
        return self.until is not None and timezone.now() < self.until

    def renew(self) -> bool:
        """Make the lease last, where a third of it has passed; False where the lane was lost.

        Before that nobody can have taken it, so it costs no query.
        """
        now = timezone.now()
        if self.until is None or self.until - now > settings.LANE_LEASE * 2 / 3:
            return self.until is not None
        until = now + settings.LANE_LEASE
        mine = _lane(self.connection_id, holder=self.holder)
        if _update_free(mine, leased_until=until):
            self.until = until
        elif not mine.exists():
            self.until = None
        # Else somebody has the row locked, such as who is deleting the connection.
        return bool(self)

    def connection(self) -> statements.Found | None:
        """The connection as it is now; None where it is not enabled (any more)."""
        found, self.found = self.found or statements.connection(self.connection_id), None
        return found if found is not None and found[0].is_enabled else None

    def pause(self, until: datetime) -> None:
        """Start nothing more in this lane before `until`."""
        self.paused_until = max(until, self.paused_until or until)


@contextmanager
def held(connection_id: str) -> Iterator[Hold]:
    """Hold the lane during the block. The hold is false where it can't be had: another worker
    holds it, or the CRM asked to be left alone. Costs two statements where it can."""
    hold = _take(connection_id, me())
    if not hold:
        yield hold
        return
    try:
        with heartbeat.renewing(hold):
            yield hold
    except BaseException:
        # What it had in hand is nobody's now, and the next one must not overlook it. Where that
        # can't be written down the lane isn't given back: who takes it after the lease sees to it.
        if is_mine(connection_id):
            _take_up(connection_id)
        _give_back(hold)
        raise
    _give_back(hold)


def _give_back(hold: Hold) -> None:
    """Leave the lane to others, with what was learned of the CRM's limits. Nothing of that counts
    where somebody said meanwhile that the CRM is well (`resume`)."""
    learned: dict[str, Any] = {name: getattr(hold.gauge, name) for name in rate.COLUMNS}
    if hold.paused_until is not None:
        learned["paused_until"] = hold.paused_until
    mine = {"connection_id": hold.connection_id, "holder": hold.holder}
    free = {"holder": "", "leased_until": None}
    if not update_each(Lane, [({**mine, "resumed": hold.resumed}, {**free, **learned})]):
        update_each(Lane, [(mine, free)])


def _update_free(some: LaneQuerySet, **values: object) -> bool:
    """Update the lane without waiting for who has it locked; says whether it was."""
    using = router.db_for_write(Lane)
    if not connections[using].features.has_select_for_update_skip_locked:
        return bool(some.update(**values))
    with transaction.atomic(using=using):
        found = some.using(using).select_for_update(skip_locked=True).first()
        return found is not None and bool(some.update(**values))


def _lane(connection_id: str, **criteria: object) -> LaneQuerySet:
    return Lane.objects.filter(pk=connection_id, **criteria)


def _take(connection_id: str, holder: str) -> Hold:
    """The lane, taken; a false hold where it can't be had."""
    now = timezone.now()
    until: datetime = now + settings.LANE_LEASE
    take = statements.take if statements.can_take() else _take_locked
    for _ in range(2):
        taken = take(connection_id, holder, now=now, until=until)
        if taken is not None:
            if taken.before:
                _take_up(connection_id)  # its holder died without giving it back
            gauge = rate.Gauge(*taken.gauge)
            return Hold(connection_id, holder, until, gauge, taken.resumed, taken.found)
        if not _make(connection_id):
            break
    return Hold(connection_id, holder, None)


def _take_locked(
    connection_id: str, holder: str, *, now: datetime, until: datetime
) -> statements.Taken | None:
    """What `statements.take` does, where the database can't say what a row was before."""
    using = router.db_for_write(Lane)
    features = connections[using].features
    # A lane that somebody is taking at this very moment is theirs: nobody waits for the row.
    skip = features.has_select_for_update_skip_locked
    free = _lane(connection_id).open(now).filter(Q(holder="") | Q(leased_until__lt=now))
    # SQLite locks nothing for a SELECT, and refuses a transaction that has read before it writes
    # once somebody else has written.
    locks = features.has_select_for_update
    with transaction.atomic(using=using) if locks else nullcontext():
        lane = free.using(using).select_for_update(skip_locked=skip).first()
        if lane is None:
            return None
        # Asked for once more what was read: not every database locks rows.
        as_read = _lane(connection_id, holder=lane.holder, leased_until=lane.leased_until)
        if not as_read.update(holder=holder, leased_until=until):
            return None
    learned = tuple(getattr(lane, name) for name in rate.COLUMNS)
    return statements.Taken(lane.holder, lane.resumed, learned)


def _make(connection_id: str) -> bool:
    """Make the connection's lane, where it has none yet; False where there was nothing to make."""
    try:
        if not Connection.objects.filter(pk=connection_id, lane__isnull=True).exists():
            return False
        with transaction.atomic(using=router.db_for_write(Lane)):
            Lane.objects.create(connection_id=connection_id)
    except IntegrityError:
        # Made by another, or the connection was deleted, at this very moment.
        return Lane.objects.filter(pk=connection_id).exists()
    return True


def _take_up(connection_id: str) -> None:
    """What a holder left half done waits again, and may have been written already. One on which
    worker after worker died is left to a person."""
    running = Invocation.objects.filter(
        connection_id=connection_id, status=InvocationStatus.RUNNING
    )
    now, using = timezone.now(), router.db_for_write(Invocation)
    with transaction.atomic(using=using), found_by("xkit_invocation_due_idx", Invocation):
        left = running.filter(tries__gte=F("forgiven") + settings.MAX_ATTEMPTS).update(
            status=InvocationStatus.UNKNOWN,
            doubtful=True,
            finished_at=now,
            error_code=CRMError.code,
            error_detail=_died().as_dict(),
        )
        if left:
            tallies.ended({(connection_id, InvocationStatus.UNKNOWN): left}, code=CRMError.code)
            telling.ended_where(
                connection_id=connection_id, status=InvocationStatus.UNKNOWN, finished_at=now
            )
        running.update(status=InvocationStatus.PENDING, doubtful=True, due_at=now)


def _died() -> CRMError:
    return CRMError(
        "Every worker that tried it died before it could say what came of it.",
        hint="Look in the worker's log and in the CRM, then replay it or leave it.",
        outcome_unknown=True,
    )


def is_mine(connection_id: str) -> bool:
    """Whether this very thread holds the lane: somebody it calls asks for what it is to do."""
    return _lane(connection_id, holder=me()).exists()


def resume(connection_id: str) -> None:
    """Call the CRM again at once: somebody says that it is well. What was learned of its limits is
    forgotten, and so is what who works in the lane now learns of them."""
    _lane(connection_id).update(
        paused_until=None,
        failures=0,
        tokens=None,
        quota=None,
        quota_left=None,
        resumed=F("resumed") + 1,
    )


def paused_until(connection_id: str) -> datetime | None:
    """Until when the CRM is left alone; None where it may be called."""
    return (
        _lane(connection_id, paused_until__gt=timezone.now())
        .values_list("paused_until", flat=True)
        .first()
    )


# -- where there is work --------------------------------------------------------------------------


def with_work() -> list[str]:
    """The connections in whose lanes something can be done now, in no order of preference.

    Costs one query, and is not slowed down by what lies in the log or in a backlog.
    """
    found = statements.with_work(timezone.now())
    # Several workers look at the same time: they shall not all begin with the same lane.
    random.shuffle(found)
    return found


def has_work(connection_id: str) -> bool:
    """Whether something may be carried out in this lane, or was left half done in it."""
    return statements.has_work(connection_id, timezone.now())


def count_held() -> int:
    """The lanes that somebody works in now."""
    return Lane.objects.filter(leased_until__gt=timezone.now()).count()


def release(keys: Iterable[tuple[str, str]]) -> None:
    """Let what stands behind a settled invocation have its turn: (connection id, record key)s."""
    by_connection: dict[str, set[str]] = {}
    for connection_id, record_key in keys:
        by_connection.setdefault(connection_id, set()).add(record_key)
    for connection_id, record_keys in by_connection.items():
        behind = Invocation.objects.filter(
            connection_id=connection_id,
            record_key__in=record_keys,
            status=InvocationStatus.PENDING,
        )
        with found_by("xkit_invocation_open_idx", Invocation):
            behind.update(due_at=timezone.now())


def is_due(invocation: Invocation) -> bool:
    """Whether this one, as it was last read, may be carried out as soon as it is its turn."""
    return (
        invocation.status == InvocationStatus.PENDING
        and invocation.due_at <= timezone.now()
        and invocation.connection.is_enabled
    )
