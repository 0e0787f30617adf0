"""The life of one invocation, as a list of moments: made, joined, tried, ended.

For whoever shows it. Three queries, however long it was.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from xkit_crm.models import Attempt, Invocation

#: Of what joined it, and of its attempts, so many are told: the newest.
MOST = 100


class What(enum.Enum):
    """What happened."""

    MADE = "made"
    JOINED = "joined"
    TRIED = "tried"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to an invocation."""

    at: datetime
    what: What
    #: What joined it.
    other: Invocation | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """What happened, in order; of much only the newest."""

    moments: tuple[Moment, ...]
    is_whole: bool


def life(invocation: Invocation) -> Life:
    """What is known to have happened to it."""
    joined = list(invocation.supersedes.select_related("event").order_by("-pk")[: MOST + 1])
    attempts = list(invocation.attempts.order_by("-number")[: MOST + 1])
    told = _moments(invocation, joined[:MOST], attempts[:MOST])
    return Life(
        tuple(sorted(told, key=lambda moment: moment.at)),
        len(joined) <= MOST and len(attempts) <= MOST,
    )


def _moments(
    invocation: Invocation, joined: list[Invocation], attempts: list[Attempt]
) -> Iterator[Moment]:
    yield Moment(invocation.created_at, What.MADE)
    for other in joined:
        # What was folded says when: it ended by that.
        yield Moment(other.finished_at or other.created_at, What.JOINED, other=other)
    for attempt in reversed(attempts):
        yield Moment(attempt.started_at, What.TRIED, attempt=attempt)
    if invocation.finished_at is not None:
        yield Moment(invocation.finished_at, What.ENDED)
