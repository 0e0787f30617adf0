"""Work through lanes: the loop that backends, the worker and waiting callers share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from xkit_crm.delivery import lanes
from xkit_crm.delivery.claiming import claim, is_first
from xkit_crm.delivery.decisions import decisions_as_of
from xkit_crm.delivery.line import Line
from xkit_crm.delivery.pipeline import carry_out, rehearse
from xkit_crm.exceptions import UnknownConnection
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus

#: Seconds between two looks at an invocation that another worker has in hand.
POLL = 0.01
POLL_MAX = 0.25


def drain(
    connection_id: str, *, limit: int | None = None, go_on: Callable[[], bool] = lambda: True
) -> int:
    """Carry out what is due in one lane, in order; gives how many invocations were dealt with.

    Stops after about `limit` (what is folded into them comes on top), or when `go_on` says no.
    Does nothing where another worker holds the lane: that one looks again after it has given the
    lane back, so nothing is left behind.
    """
    done = 0
    # Somebody may come between the last look and giving the lane back, so it is looked again.
    while lanes.has_work(connection_id):
        worked = take_turn(
            connection_id, limit=None if limit is None else limit - done, go_on=go_on
        )
        done += worked
        if not worked or not go_on() or (limit is not None and done >= limit):
            break
    return done


def take_turn(
    connection_id: str, *, limit: int | None = None, go_on: Callable[[], bool] = lambda: True
) -> int:
    """The same for who has found work there, and looks again soon: what comes while the lane is
    given back is left to that look."""
    with lanes.held(connection_id) as hold:
        return _work(hold, limit, go_on) if hold else 0


def _work(hold: lanes.Hold, limit: int | None, go_on: Callable[[], bool]) -> int:
    """Carry out window after window while the lane is held."""
    done, more = 0, False
    while (limit is None or done < limit) and go_on() and hold.renew() and not hold.paused_until:
        line = _line(hold, go_on=go_on)
        if line is None:
            break
        size = line.room()
        window = claim(
            line.connection.pk,
            line.decisions,
            size=size if limit is None else min(size, limit - done),
            in_order=not line.connection.shadow,
            many=more,
        )
        more = window.more
        worked = window.folded + _act(line, window.invocations)
        done += worked
        if not more or not (worked or window.put_off):
            break
    return done


def _line(hold: lanes.Hold, *, go_on: Callable[[], bool] = lambda: True) -> Line | None:
    """The line to the CRM as things are now; None where the connection is not enabled (any more).
    The customer may change their mapping, or switch the connection off, at any time."""
    found = hold.connection()
    if found is None:
        return None
    connection, stamp = found
    decisions = decisions_as_of(connection.pk, stamp) if stamp else None
    return Line(connection, hold, decisions=decisions, go_on=go_on)


def _act(line: Line, invocations: Sequence[Invocation]) -> int:
    return rehearse(line, invocations) if line.connection.shadow else carry_out(line, invocations)


def deliver(invocation: Invocation, *, timeout: float, inserted: bool = False) -> Invocation:
    """Carry this one out now, and what waits in front of it for the same record. With `inserted`
    its caller has just made it and waits for it, so that nothing can have joined it.

    Waits up to `timeout` seconds where another worker holds the lane or has it in hand. Gives the
    invocation as it then is: perhaps still pending. It stays pending where this thread holds the
    lane already, as in a receiver of `invocation_finished`: who holds it goes on with it.
    """
    deadline, pause = time.monotonic() + timeout, POLL
    while True:
        with lanes.held(invocation.connection_id) as hold:
            held, came = bool(hold), False
            if held:
                if not inserted:
                    # Before the lane was held, another worker may have had something join it.
                    invocation = read_again(invocation)
                invocation, came = _work_up_to(invocation, hold, deadline)
        if not came:
            invocation = read_again(invocation)
        # What it waits for behind others of its record may take longer than anybody waits.
        waits = not held or came
        if not waits or not _is_worth_waiting_for(invocation) or time.monotonic() >= deadline:
            return invocation
        if lanes.is_mine(invocation.connection_id):
            return invocation
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_MAX)


def read_again(invocation: Invocation) -> Invocation:
    """The invocation as it is now; raises `UnknownConnection` where it went with its connection."""
    found = Invocation.objects.select_related("event", "connection").filter(pk=invocation.pk)
    again = found.first()
    if again is None:
        raise UnknownConnection(
            f"The connection {invocation.connection_id!r} was deleted meanwhile.",
            hint="Its invocations went with it.",
        )
    return again


def _work_up_to(
    invocation: Invocation, hold: lanes.Hold, deadline: float
) -> tuple[Invocation, bool]:
    """The invocation, and whether its own turn came."""
    line = _line(hold)
    if line is None:
        return invocation, False
    invocation.connection = line.connection
    # Of what is only rehearsed, each is by itself.
    while not line.connection.shadow and not is_first(invocation):
        window = claim(
            invocation.connection_id, line.decisions, size=1, record_key=invocation.record_key
        )
        ahead = [row for row in window.invocations if row.pk < invocation.pk]
        if time.monotonic() >= deadline or not (_act(line, ahead) or window.folded):
            return invocation, False
        if window.folded:
            invocation = read_again(invocation)  # it may have been one of those
    return invocation, lanes.is_due(invocation) and bool(_act(line, [invocation]))


def _is_worth_waiting_for(invocation: Invocation) -> bool:
    """Whether another worker has it in hand, or will in a moment."""
    if invocation.status == InvocationStatus.RUNNING:
        return True
    return lanes.is_due(invocation) and not lanes.paused_until(invocation.connection_id)
