"""Rolling up: what was counted is put together by minutes, later by hours, and of all time.

The worker calls `roll_up_if_due` beside its lanes, the sweep between two rounds, `xkit_prune` calls
`roll_up`. Each step takes some tallies away and puts as much in their place, in one transaction:
stopped or killed anywhere, nothing is lost or counted twice, and whoever reads meanwhile finds the
same sums.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from django.db import connections, router, transaction
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.delivery.line import chunks
from xkit_crm.delivery.tallies import Alike, hour_of, minute_of, write
from xkit_crm.models import Connection, Tally
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.tally import EVER_SINCE, Span, TallyQuerySet

#: Seconds between two looks of a process.
INTERVAL = 60.0
#: Tallies that are put together in one transaction.
BATCH = 2_000

_COLUMNS = ("pk", "span", "at", *Alike._fields, "count", "milliseconds")
_Place = tuple[Span, datetime, Alike]
#: The places that a tally has a part in.
_Places = Callable[[Span, datetime, Alike], Iterator[_Place]]

_next_look: float | None = None
_last_hour: datetime | None = None


def _always() -> bool:
    return True


def roll_up_if_due(*, go_on: Callable[[], bool] = _always) -> None:
    """Roll up where a minute has passed in this process; workers needn't agree on who does."""
    global _last_hour, _next_look
    now = time.monotonic()
    if _next_look is None:
        _next_look = now + random.uniform(0, INTERVAL)  # noqa: S311 - nothing secret
    if now < _next_look:
        return
    _next_look = now + INTERVAL
    hour = hour_of(timezone.now())
    if roll_up(hours=hour != _last_hour, go_on=go_on):
        _last_hour = hour


def roll_up(*, hours: bool = True, go_on: Callable[[], bool] = _always) -> bool:
    """Put together what was counted before this minute; with `hours` also what belongs to hours
    that nobody looks at by the minute any more, and forget what is older than `KEEP_TALLIES`.

    Asks `go_on` between two steps; says whether it came to the end.
    """
    return all(go_on() for _ in _steps(hours=hours))


def _steps(*, hours: bool) -> Iterator[None]:
    now = timezone.now()
    yield from _minutes(minute_of(now))
    if hours:
        yield from _hours(hour_of(now) - timedelta(hours=1))
        yield from _forget(hour_of(now) - settings.KEEP_TALLIES)


def _minutes(before: datetime) -> Iterator[None]:
    """By connection, and of all connections of a provider."""
    yield from _in_batches(Tally.objects.filter(span=Span.FRESH, at__lt=before), _of_minutes)


def _of_minutes(_: Span, at: datetime, alike: Alike) -> Iterator[_Place]:
    yield Span.MINUTE, at, alike
    yield Span.MINUTE, at, alike._replace(connection_id="")


def _hours(before: datetime) -> Iterator[None]:
    """And of all time, from here on, so that nothing is missing there when hours are forgotten."""
    minutes = Tally.objects.filter(span=Span.MINUTE, at__lt=before)
    for ids in _connections(minutes, 50):
        yield from _in_batches(minutes.filter(connection_id__in=ids), _of_hours)
        ever = Tally.objects.filter(span=Span.EVER, connection_id__in=ids)
        again_on_conflict(partial(_put_together, ever.order_by("connection_id"), _of_hours))
        yield


def _of_hours(span: Span, at: datetime, alike: Alike) -> Iterator[_Place]:
    if span == Span.MINUTE:
        yield Span.HOUR, hour_of(at), alike
    yield Span.EVER, EVER_SINCE, alike


def _forget(before: datetime) -> Iterator[None]:
    """Hours that are kept no longer; of a connection that is gone all that is its own."""
    ever = Tally.objects.filter(span=Span.EVER)
    rolled = Tally.objects.filter(span__in=[Span.HOUR, Span.EVER])
    for ids in _connections(ever, 500):
        rolled.filter(span=Span.HOUR, connection_id__in=ids, at__lt=before).delete()
        there = Connection.objects.filter(pk__in=ids).values_list("pk", flat=True)
        rolled.filter(connection_id__in={*ids} - {*there, ""}).delete()
        yield


def _connections(tallies: TallyQuerySet, size: int) -> Iterator[list[str]]:
    """The ids that these are of, `size` at once, in the database's own order."""
    after: dict[str, str] = {}
    ids = tallies.order_by("connection_id").values_list("connection_id", flat=True).distinct()
    while some := list(ids.filter(**after)[:size]):
        yield some
        after = {"connection_id__gt": some[-1]}


def _in_batches(chosen: TallyQuerySet, places: _Places) -> Iterator[None]:
    """Put all of these together, however many there are."""
    some = chosen.order_by("connection_id", "at")[:BATCH]
    while again_on_conflict(partial(_put_together, some, places)):
        yield


def _put_together(chosen: TallyQuerySet, places: _Places) -> int:
    """Take these and put their sums in the places that each has a part in; gives how many."""
    using = router.db_for_write(Tally)
    skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        # What another process puts together at this moment is left to it.
        rows = list(chosen.select_for_update(skip_locked=skip).values_list(*_COLUMNS))
        sums: defaultdict[_Place, list[int]] = defaultdict(lambda: [0, 0])
        for _, span, at, *alike, count, milliseconds in rows:
            for place in places(Span(span), at, Alike(*alike)):
                total = sums[place]
                total[0] += count
                total[1] += milliseconds
        for some in chunks([row[0] for row in rows], BATCH):
            Tally.objects.using(using).filter(pk__in=some)._raw_delete(using)
        for wanted in Span:
            write(
                wanted,
                {
                    (at, alike): (count, milliseconds)
                    for (span, at, alike), (count, milliseconds) in sums.items()
                    if span == wanted
                },
            )
    return len(rows)
