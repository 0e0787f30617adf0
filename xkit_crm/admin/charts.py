"""Charts as plain data: what the overview's templates draw as SVG, and the table under each.

A chart is 1000 wide and 100 high, whatever the page makes of it; time goes from left to right.
Nothing is counted here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from xkit_crm.overview.figures import Figures, Step

WIDTH, HEIGHT = 1000.0, 100.0
#: The share of a step's width that its bar leaves free.
GAP = 0.2
#: The least height of what has to be seen.
LEAST = 1.5

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    #: Its colour, by the name of a class.
    kind: str
    #: Shown where somebody points at it.
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    #: Parts without a hole, each as SVG's `points`.
    parts: Sequence[str]
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`scale` and `times` are labels at even distances, from the top and from the left."""

    scale: Sequence[str]
    times: Sequence[str]
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    @property
    def is_empty(self) -> bool:
        return not self.bars and not self.lines


def throughput(steps: Sequence[Step]) -> Chart:
    """How many ended in each step; what failed is at the bottom, seen however little it is."""
    kinds: tuple[tuple[str, str, Callable[[Figures], int]], ...] = (
        ("bad", _("failed or in doubt"), lambda figures: figures.undelivered),
        ("good", _("delivered"), lambda figures: figures.delivered),
        ("rest", _("folded or nothing to do"), lambda figures: figures.others),
    )
    most = _round_up(max(step.figures.ended.total() for step in steps))
    width = WIDTH / len(steps)
    bars = []
    for position, step in enumerate(steps):
        top = HEIGHT
        for kind, label, count_of in kinds:
            if count := count_of(step.figures):
                height = round(max(HEIGHT * count / most, LEAST if kind == "bad" else 0), 2)
                top = round(top - height, 2)
                title = f"{moment(step.at, steps)} · {label}: {number(count)}"
                x = round(width * (position + GAP / 2), 2)
                bars.append(Bar(x, top, round(width * (1 - GAP), 2), height, kind, title))
    return Chart(
        scale=[number(most), "" if most % 2 else number(most // 2), "0"],
        times=_times(steps),
        bars=bars,
        columns=[_("from"), *(label for _kind, label, _count_of in kinds)],
        rows=[
            [moment(one.at, steps), *(number(count(one.figures)) for _k, _l, count in kinds)]
            for one in reversed(steps)
            if one.figures.ended.total()
        ],
    )


def times(steps: Sequence[Step]) -> Chart:
    """How long it took from save to CRM in each step, on a scale of powers of ten."""
    shares = [(f"p{percent}", percent / 100) for percent in PERCENTILES]
    found = [[step.figures.percentile(share) for step in steps] for _kind, share in shares]
    known = [seconds for line in found for seconds in line if seconds is not None]
    lowest = math.floor(math.log10(max(min(known, default=1), 0.001)))
    highest = max(math.ceil(math.log10(max(max(known, default=1), 0.001))), lowest + 1)

    def y(seconds: float) -> float:
        share = (math.log10(max(seconds, 0.001)) - lowest) / (highest - lowest)
        return HEIGHT * (1 - min(max(share, 0.0), 1.0))

    width = WIDTH / len(steps)
    return Chart(
        scale=[took(10.0**power) for power in range(highest, lowest - 1, -1)],
        times=_times(steps),
        lines=[
            Line(list(_parts(line, width, y)), kind)
            for (kind, _share), line in zip(shares, found, strict=True)
            if known
        ],
        columns=[_("from"), *(kind for kind, _share in shares)],
        rows=[
            [moment(step.at, steps), *(took(seconds) for seconds in at_step)]
            for step, *at_step in reversed(list(zip(steps, *found, strict=True)))
            if at_step[0] is not None
        ],
    )


def _parts(
    line: Sequence[float | None], width: float, y: Callable[[float], float]
) -> Iterator[str]:
    """The line where there is one: a step without a neighbour is as long as its step."""
    part: list[str] = []
    for position, seconds in enumerate([*line, None]):
        if seconds is not None:
            part += [f"{width * (position + at):.1f},{y(seconds):.1f}" for at in (0.1, 0.9)]
        elif part:
            yield " ".join(part)
            part = []


def _round_up(count: int) -> int:
    """The next number that reads well as the top of a scale."""
    if count <= 2:
        return max(count, 1)
    power: int = 10 ** (len(str(count)) - 1)
    return next(power * by for by in (1, 2, 3, 4, 5, 6, 8, 10) if power * by >= count)


def _times(steps: Sequence[Step]) -> list[str]:
    """Three labels: the beginning, the middle and now."""
    return [moment(steps[0].at, steps), moment(steps[len(steps) // 2].at, steps), _("now")]


def moment(at: datetime, steps: Sequence[Step]) -> str:
    """When a step begins, as short as it is clear."""
    within_a_day = (steps[-1].at - steps[0].at).days < 1
    return date_format(localtime(at), "H:i" if within_a_day else "D H:i")


def number(count: int) -> str:
    """A count with its thousands set apart."""
    return number_format(count, force_grouping=True)


def took(seconds: float | None) -> str:
    """A duration as people say it, in two figures."""
    if seconds is None:
        return "—"
    units: tuple[tuple[float, Any], ...] = (
        (1, _("%s ms")),
        (1000, _("%s s")),
        (60_000, _("%s min")),
        (3_600_000, _("%s h")),
        (86_400_000, _("%s d")),
    )
    unit, text = next(
        (one for one in reversed(units) if seconds * 1000 >= one[0]),
        units[0],
    )
    value = seconds * 1000 / unit
    places = 1 if value < 10 and round(value, 1) != round(value) else 0
    return str(text) % number_format(round(value, places), places)
