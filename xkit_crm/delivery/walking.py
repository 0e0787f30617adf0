"""Pages of a table in the order of its primary key, at a cost that doesn't grow with the table.

`log.py` and the admin's lists read by it. Nothing is counted, and nothing is skipped over by an
offset that grows: a page begins where another one ended. What an index has in order is read from
it; what no index answers is looked for among the next `reach` rows only, and the page says that it
ended early, so that one can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

#: Rows of a page, and how many are looked at for one.
SIZE = 50
REACH = 100_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was found on the way from one id on: `rows` in the direction of the walk."""

    rows: list[Any]
    #: Every match up to this id, itself included, is in `rows`; None: to the end of the table.
    upto: int | None = None
    #: Whether the walk ended there since it had looked at enough, rather than found enough.
    ended_early: bool = False


def walk(
    rows: QuerySet[Any],
    *,
    by: Sequence[Q] = (),
    where: Q | None = None,
    start: int | None = None,
    down: bool = True,
    size: int = SIZE,
    reach: int | None = None,
) -> Stretch:
    """`size` rows at most, in the order of ids, from `start` (not included) on.

    `by` are conditions of each of which an index has the rows in order; `where` has all others.
    One query where one of `by` says it all, one more for each of them otherwise.
    """
    if start is not None:
        rows = rows.filter(**{"pk__lt" if down else "pk__gt": start})
    rows = rows.order_by("-pk" if down else "pk")
    reach = REACH if reach is None else reach
    wanted, edge = within(rows, by=by, where=where, down=down, reach=reach)
    found = list(wanted[: size + 1])
    if len(found) > size:
        return Stretch(found[:size], found[size - 1].pk)
    if edge is None:
        return Stretch(found)
    return Stretch(found, edge + (1 if down else -1), ended_early=True)


def within(
    rows: QuerySet[Any], *, by: Sequence[Q], where: Q | None, reach: int, down: bool = True
) -> tuple[QuerySet[Any], int | None]:
    """Those of the ordered `rows` that match and are within reach, and the id of the first row that
    is not; None: all are."""
    edge = None
    if where or len(by) > 1:
        edges = [_edge(rows.filter(each), reach) for each in by or (Q(),)]
        # Of several indexes the one that comes furthest: the planner knows which that is.
        if None not in edges:
            edge = (min if down else max)(one for one in edges if one is not None)
            rows = rows.filter(**{"pk__gt" if down else "pk__lt": edge})
    return rows.filter(*by, where or Q()), edge


def _edge(ordered: QuerySet[Any], reach: int) -> int | None:
    beyond = list(ordered.values_list("pk", flat=True)[reach : reach + 1])
    return beyond[0] if beyond else None


def merge(stretches: Iterable[Stretch], *, down: bool = True, size: int = SIZE) -> Stretch:
    """Several walks from the same start as one: up to where all of them have come."""
    stretches = list(stretches)
    ends = [one.upto for one in stretches if one.upto is not None]
    upto = (max(ends) if down else min(ends)) if ends else None
    rows = [
        row
        for one in stretches
        for row in one.rows
        if upto is None or (row.pk >= upto if down else row.pk <= upto)
    ]
    rows.sort(key=lambda row: row.pk, reverse=down)
    if len(rows) > size:
        return Stretch(rows[:size], rows[size - 1].pk)
    return Stretch(rows, upto, any(one.ended_early and one.upto == upto for one in stretches))


# -- pages ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """Rows with the newest first, and where the pages beside it begin; None: there is none."""

    rows: list[Any]
    newer: int | None = None
    older: int | None = None
    #: Whether it was not looked far enough to fill the page.
    ended_early: bool = False


def page(
    read: Callable[[int | None, bool], Stretch],
    *,
    before: int | None = None,
    after: int | None = None,
) -> Page:
    """The page of what is older than `before`, or newer than `after`, or the newest of all.

    `read` walks from an id on: down if told so, else up.
    """
    if after is not None:
        up = read(after, False)
        if up.upto is not None:
            rows = up.rows[::-1]
            return Page(rows, up.upto, rows[-1].pk if rows else after + 1, up.ended_early)
        before = None  # nothing is newer, so it is the first page, and a full one
    found = read(before, True)
    newer = None
    if before is not None:
        newer = found.rows[0].pk if found.rows else before - 1
    return Page(found.rows, newer, found.upto, found.ended_early)
