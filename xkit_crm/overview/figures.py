"""Figures of a while, from the tallies: how many ended how, what went wrong, how long it took.

Costs one query whatever there is. Knows nothing of pages.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from xkit_crm.delivery.tallies import DELIVERED, Alike, most_in
from xkit_crm.models import Tally
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.models.tally import TallyQuerySet

#: States that somebody has to look at.
UNDELIVERED = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Range:
    """A while until now in steps of whole minutes or hours; the last one isn't over yet."""

    slug: str
    duration: timedelta
    step: timedelta

    def steps(self, now: datetime) -> list[datetime]:
        """When each of its steps begins."""
        last = self.step_of(now)
        count = self.duration // self.step
        return [last - self.step * back for back in reversed(range(count))]

    def step_of(self, moment: datetime) -> datetime:
        """When the step began that holds this moment."""
        passed = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // self.step
        return datetime(1970, 1, 1, tzinfo=UTC) + self.step * passed


RANGES = {
    one.slug: one
    for one in (
        Range("1h", timedelta(hours=1), timedelta(minutes=1)),
        Range("24h", timedelta(hours=24), timedelta(hours=1)),
        Range("7d", timedelta(days=7), timedelta(hours=3)),
    )
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted. A replayed invocation ends twice and is counted each time."""

    #: How many came to each final state.
    ended: Counter[str] = field(default_factory=Counter)
    #: Those that left one again, to be carried out once more or to be left by a person.
    reopened: Counter[str] = field(default_factory=Counter)
    #: Tries by outcome.
    tries: Counter[str] = field(default_factory=Counter)
    #: What went wrong, by error code: in tries, and where it never came to one.
    causes: Counter[str] = field(default_factory=Counter)
    #: Those that the CRM has by how long it took from the save, and their milliseconds together.
    buckets: Counter[int] = field(default_factory=Counter)
    milliseconds: Counter[str] = field(default_factory=Counter)

    def add(self, alike: Alike, count: int, milliseconds: int) -> None:
        """So many more of these."""
        if alike.reopened:
            self.reopened[alike.status] += count
            return
        if alike.status and alike.status != InvocationStatus.PENDING:
            self.ended[alike.status] += count
        if alike.outcome:
            self.tries[alike.outcome] += count
        if alike.code:
            self.causes[alike.code] += count
        if alike.bucket is not None:
            self.buckets[alike.bucket] += count
            self.milliseconds[alike.status] += milliseconds

    @property
    def delivered(self) -> int:
        """What the CRM has now."""
        return sum(self.ended[status] for status in DELIVERED)

    @property
    def undelivered(self) -> int:
        """What failed for good or is in doubt."""
        return sum(self.ended[status] for status in UNDELIVERED)

    @property
    def others(self) -> int:
        """What needed no call of its own: folded into another, or nothing to do."""
        return self.ended.total() - self.delivered - self.undelivered

    @property
    def success(self) -> float | None:
        """The share, 0 to 1, of what was to be sent that the CRM has; None where nothing was."""
        sent = self.delivered + self.undelivered
        return self.delivered / sent if sent else None

    def percentile(self, share: float) -> float | None:
        """Seconds from save to CRM in which this share (0 to 1) was there; None: there was none.

        Within a bucket, which holds times up to twice its shortest, it is interpolated.
        """
        left = share * self.buckets.total()
        for bucket, count in sorted(self.buckets.items()):
            if left <= count:
                longest = most_in(bucket)
                part = left / count
                return longest * (part if bucket == 0 else 2 ** (part - 1))
            left -= count
        return None

    @property
    def mean(self) -> float | None:
        """Seconds from save to CRM on average; None: there was none."""
        count = self.buckets.total()
        return self.milliseconds.total() / 1000 / count if count else None


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a range."""

    at: datetime
    figures: Figures


@dataclass(frozen=True, slots=True)
class Course:
    """A range: all of it, and step by step."""

    figures: Figures
    steps: Sequence[Step]


def course(wanted: Range, connection_id: str | None = None) -> Course:
    """How the range went in one connection; in all of them where none is named."""
    now = timezone.now()
    steps = {at: Step(at, Figures()) for at in wanted.steps(now)}
    total = Figures()
    tallies = Tally.objects.of_all() if connection_id is None else Tally.objects.of([connection_id])
    for (at,), alike, count, milliseconds in _sums(tallies.since(min(steps)), "at"):
        total.add(alike, count, milliseconds)
        steps[min(wanted.step_of(at), max(steps))].figures.add(alike, count, milliseconds)
    return Course(total, list(steps.values()))


def of_each(connection_ids: Sequence[str], wanted: Range) -> Mapping[str, Figures]:
    """The figures of each of these connections."""
    found: defaultdict[str, Figures] = defaultdict(Figures)
    tallies = Tally.objects.of(list(connection_ids)).since(wanted.steps(timezone.now())[0])
    for (connection_id,), alike, count, milliseconds in _sums(tallies, "connection_id"):
        found[connection_id].add(alike, count, milliseconds)
    return found


def undelivered(wanted: Range) -> dict[str, int]:
    """How many failed or are in doubt, by connection; only of connections that have any."""
    bad = Tally.objects.since(wanted.steps(timezone.now())[0]).filter(
        status__in=[status.value for status in UNDELIVERED], reopened=False
    )
    rows = bad.exclude(connection_id="").values_list("connection_id")
    return dict(rows.annotate(Sum("count")).order_by())


def of_all_time(by: Sequence[str], tallies: TallyQuerySet) -> dict[tuple[str, ...], Figures]:
    """Everything of these that was ever counted, by the values of these columns."""
    found: defaultdict[tuple[str, ...], Figures] = defaultdict(Figures)
    for values, alike, count, milliseconds in _sums(tallies.ever(), *by):
        found[values].add(alike, count, milliseconds)
    return dict(found)


#: What tells the alike apart, without whose they are.
_COLUMNS = ("status", "outcome", "code", "bucket", "reopened")


def _sums(tallies: TallyQuerySet, *by: str) -> Iterable[tuple[tuple[Any, ...], Alike, int, int]]:
    """The values of these columns, what is alike, how many, and their milliseconds."""
    alike = tallies.order_by().values_list(*by, *_COLUMNS)
    for *values, count, milliseconds in alike.annotate(Sum("count"), Sum("milliseconds")):
        yield tuple(values[: len(by)]), Alike("", "", *values[len(by) :]), count, milliseconds
