"""Turns and sweeps: what the messages of a distributed engine set off.

A turn works through one lane for a bounded time, then hands the lane on with a new message, so
that a long backlog keeps no other lane waiting and no engine's time limit is met. A sweep does what
`manage.py xkit_worker` does between two turns. The `celery` and `tasks` backends call this; it
knows neither.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from xkit_crm import catalogue, notifications
from xkit_crm.conf import settings
from xkit_crm.delivery import lanes, retention, rollup
from xkit_crm.delivery.drain import drain
from xkit_crm.sync import bindings, taking_in

#: About how many invocations of one lane are dealt with before it is handed on: several calls of
#: what the CRMs with the largest batches take.
LIMIT = 2_000
#: Seconds after which no further call is begun.
SECONDS = 3.0

Tell = Callable[[str], None]


class _Turn(threading.local):
    """The lanes that this thread has been told of while it has a turn; None: it has none."""

    told: list[str] | None = None


_turn = _Turn()


def take(connection_id: str, tell: Tell) -> int:
    """Take a turn in this lane and `tell` of it again where more may be due.

    Gives how many invocations were dealt with. An engine that runs a message within the call that
    sends it, as engines do in tests, comes back here before this turn has ended: that lane has its
    turn when this one has, however long the backlog, and that call gives 0.
    """
    if _turn.told is not None:
        _turn.told.append(connection_id)
        return 0
    _turn.told = [connection_id]
    done = 0
    try:
        while _turn.told:
            lane = _turn.told.pop(0)
            dealt_with, is_over = _work(lane)
            done += dealt_with
            if not is_over:
                tell(lane)
    finally:
        _turn.told = None
    return done


def sweep(poke: Callable[[Sequence[str]], None]) -> None:
    """Take in what is marked and `poke` every lane in which something can be done now; then see to
    what is kept too long."""
    taking_in.take_in_for()
    poke(lanes.with_work())
    retention.prune_if_due()
    deadline = time.monotonic() + SECONDS
    rollup.roll_up_if_due(go_on=lambda: time.monotonic() < deadline)
    notifications.send_due()


def _work(connection_id: str) -> tuple[int, bool]:
    """How many were dealt with, and whether the lane has nothing more to do for now."""
    catalogue.refresh_if_stale()
    bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
    deadline = time.monotonic() + SECONDS
    done = drain(connection_id, limit=LIMIT, go_on=lambda: time.monotonic() < deadline)
    # A lane that another worker holds, or that the CRM asked to leave alone, gives 0.
    return done, not done or (done < LIMIT and time.monotonic() < deadline)
