"""Repair of all that match: replayed or skipped in batches, each with a few statements.

The admin calls it after somebody has confirmed. A hundred thousand take some seconds; where a
request has had its time, the rest is gone on with by the next one.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from xkit_crm.delivery import failures, log
from xkit_crm.delivery.log import TROUBLE, Asked, Count
from xkit_crm.delivery.replay import REPLAYABLE, SKIPPABLE, replay, skip
from xkit_crm.models.invocation import InvocationStatus

#: Invocations of one batch, and how many seconds a request may take.
BATCH = 2_000
SECONDS = 15.0


class Repair(enum.StrEnum):
    """What can be done to all that match."""

    REPLAY = "replay"
    SKIP = "skip"

    @property
    def statuses(self) -> tuple[InvocationStatus, ...]:
        """The states that it can be done in."""
        return REPLAYABLE if self is Repair.REPLAY else SKIPPABLE


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be repaired: all that match, up to the newest when it was counted; of the cause
    only that is named (its `key`)."""

    asked: Asked
    upto: int
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """How far it came: `left` could have been doubled, and `reached` is the id to go on from;
    None: all is done."""

    count: int = 0
    left: int = 0
    reached: int | None = None


def sure(asked: Asked, repair: Repair) -> Asked:
    """What of the asked can be repaired without a second thought: in the states that were asked
    for, or in trouble, and never an unknown one."""
    may = set(repair.statuses) - {InvocationStatus.UNKNOWN}
    return replace(asked, statuses=tuple(s for s in asked.statuses or TROUBLE if s in may))


def unsure(asked: Asked, repair: Repair) -> Asked:
    """The unknown ones that `sure` leaves out: somebody has to have looked in the CRM."""
    may = {InvocationStatus.UNKNOWN}.intersection(repair.statuses)
    return replace(asked, statuses=tuple(s for s in asked.statuses or TROUBLE if s in may))


def together(asked: Asked, repair: Repair) -> Asked:
    """Both."""
    statuses = (*sure(asked, repair).statuses, *unsure(asked, repair).statuses)
    return replace(asked, statuses=statuses)


def count(selection: Selection) -> Count:
    """How many there are to be repaired, as far as that can be told at a bounded cost."""
    asked = selection.asked
    if not asked.statuses:
        return Count(0)
    if not selection.cause:
        return log.count(asked, upto=selection.upto)
    ids, is_all = failures.of_cause(asked, selection.cause)
    return Count(sum(one <= selection.upto for one in ids), is_all)


def carry_out(
    selection: Selection,
    repair: Repair,
    *,
    after: int = 0,
    go_on: Callable[[], bool] | None = None,
) -> Done:
    """Do it to all, oldest first, from an id (not included) on, until the time is over."""
    until = time.monotonic() + SECONDS
    may_go_on = go_on or (lambda: time.monotonic() < until)
    done = Done(reached=after)
    if not selection.asked.statuses:
        return Done()
    batches = log.batches(selection.asked, after=after, upto=selection.upto, size=BATCH)
    for ids, reached in batches:
        if selection.cause:
            ids = failures.in_cause(ids, selection.cause)
        count, left = _repair(ids, repair, selection.asked)
        done = Done(done.count + count, done.left + left, reached)
        if not may_go_on():
            break
    return done


def _repair(ids: list[int], repair: Repair, asked: Asked) -> tuple[int, int]:
    if not ids:
        return 0, 0
    # Asked for again: they may have come to another state since they were found.
    if repair is Repair.REPLAY:
        return replay(ids, statuses=asked.statuses), 0
    skipped = skip(ids, statuses=asked.statuses)
    return skipped.count, skipped.left
