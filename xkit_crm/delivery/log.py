"""The log, read by a person: the invocations that match what is asked, however many there are.

The admin asks. Every question is answered from an index, or by a look at a bounded number of rows
that says how far it went (`walking.py`). Knows nothing of screens, users or providers.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from operator import and_
from typing import Any
from uuid import UUID

from django.contrib.contenttypes.models import ContentType
from django.db import connections, router
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from xkit_crm.delivery import walking
from xkit_crm.delivery.walking import Page, Stretch, merge, walk
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus

#: What a person has to see to.
TROUBLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN)
#: Statuses of which an index has the rows in order: all that are not done.
_IN_ORDER = frozenset({*TROUBLE, InvocationStatus.PENDING, InvocationStatus.RUNNING})
#: Rows looked at for a page, where an index brings them together from all over the table; and
#: errors in which words are looked for, since reading one takes a while.
SCATTERED_REACH = 20_000
WORDS_REACH = 10_000
#: Invocations that one id may name.
NAMED = 1_000
#: It is counted so far.
COUNTED = 10_000
_LARGE = ("payload", "folded", "result")
#: So much may the times of making be out of step with the ids.
_OUT_OF_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the log is asked for; what is empty doesn't matter."""

    #: One of these.
    statuses: tuple[str, ...] = ()
    error_code: str = ""
    connection_id: str = ""
    event_ids: tuple[int, ...] | None = None
    source: str = ""
    #: Made at this time or later, and before that one.
    since: datetime | None = None
    until: datetime | None = None
    #: A row of the product: its content type and primary key.
    row: tuple[int, str] | None = None
    #: Words of its error, or their beginnings.
    words: tuple[str, ...] = ()
    #: These and no others.
    ids: tuple[int, ...] | None = None


def search(asked: Asked, text: str) -> Asked:
    """The same, and found by a text that somebody typed: those that it names, or else those with
    its words in their errors. A few look-ups in indexes.

    It names an invocation by its id or its request's, by its record's id (of which the beginning
    will do, from the colon on), or by its row's key.
    """
    text = text.strip()
    if not text:
        return asked
    for named in _named(text):
        if ids := tuple(named.values_list("pk", flat=True)[:NAMED]):
            return replace(asked, ids=ids)
    words = tuple(re.findall(r"\w+", text))
    return replace(asked, words=words) if words else replace(asked, ids=())


def _named(text: str) -> Iterator[QuerySet[Invocation]]:
    rows = Invocation.objects.order_by()
    with contextlib.suppress(ValueError):
        yield rows.filter(uuid=UUID(text))
    # The empty ones are in none of these indexes, and the planner has to be told.
    yield rows.filter(request_id=text).exclude(request_id="")
    of_records = rows.exclude(record_id="")
    yield of_records.filter(record_id=text)
    if ":" in text:
        begins = of_records.filter(record_id__startswith=text)
        if connections[rows.db].vendor == "sqlite":  # which uses no index for LIKE
            begins = begins.filter(record_id__gte=text, record_id__lt=f"{text}\U0010ffff")
        yield begins
    content_types = list(ContentType.objects.values_list("pk", flat=True))
    yield rows.filter(content_type__in=content_types, object_pk=text)


# -- reading --------------------------------------------------------------------------------------


def page(
    asked: Asked,
    *,
    before: int | None = None,
    after: int | None = None,
    with_payloads: bool = False,
) -> Page:
    """The newest that match, or those just older than the id `before` or newer than `after`.

    The columns that may be large are read as they are asked for. A few queries, none of which reads
    much.
    """
    rows = Invocation.objects.defer(*(["result"] if with_payloads else _LARGE))
    return walking.page(_reader(asked, rows), before=before, after=after)


def batches(
    asked: Asked, *, after: int, upto: int, size: int
) -> Iterator[tuple[list[int], int | None]]:
    """The ids of all that match, from one id (not included) to another, oldest first: lists of
    `size` at most, and to which id each of them comes; None: to the end.

    What is done to one list meanwhile doesn't disturb the next.
    """
    read = _reader(asked, Invocation.objects.filter(pk__lte=upto).only("pk"), size=size)
    reached: int | None = after
    while reached is not None:
        found = read(reached, False)
        reached = found.upto
        yield [row.pk for row in found.rows], reached


def newest_of(asked: Asked, rows: QuerySet[Any], *, size: int) -> Stretch:
    """The newest of these rows that match, `size` at most."""
    return _reader(asked, rows, size=size)(None, True)


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; more than that where it could not be told at a bounded cost."""

    number: int
    is_all: bool = True

    def __add__(self, other: Count) -> Count:
        return Count(self.number + other.number, self.is_all and other.is_all)


def count(asked: Asked, *, upto: int | None = None) -> Count:
    """How many match, up to an id: as far as a bounded number of rows tells."""
    rows = Invocation.objects.order_by("-pk")
    if upto is not None:
        rows = rows.filter(pk__lte=upto)
    found = Count(0)
    for one in _each(asked):
        prepared, by, where, reach = _prepared(one, rows)
        wanted, edge = walking.within(prepared, by=by, where=where, reach=reach)
        number = wanted[: COUNTED + 1].count()
        found += Count(min(number, COUNTED), edge is None and number <= COUNTED)
    return found


def newest() -> int:
    """The id of what was made last; 0 where there is nothing."""
    last = Invocation.objects.order_by("-pk").values_list("pk", flat=True).first()
    return last or 0


def _each(asked: Asked) -> list[Asked]:
    """The same for each status by itself, as indexes have them."""
    if asked.words and not asked.statuses:
        asked = replace(asked, statuses=tuple(TROUBLE))
    return [replace(asked, statuses=(status,)) for status in asked.statuses] or [asked]


def _reader(
    asked: Asked, rows: QuerySet[Any], *, size: int = walking.SIZE
) -> Callable[[int | None, bool], Stretch]:
    """What walks through those of the rows that match."""

    def read(start: int | None, down: bool) -> Stretch:
        found = []
        for one in _each(_from(start, asked, down=down, size=size)):
            some, by, where, reach = _prepared(one, rows)
            found.append(
                walk(some, by=by, where=where, start=start, down=down, size=size, reach=reach)
            )
        return merge(found, down=down, size=size)

    return read


def _from(start: int | None, asked: Asked, *, down: bool, size: int) -> Asked:
    """The same, and of ids that are named only those that can be on this page."""
    if asked.ids is None:
        return asked
    ids = sorted(asked.ids, reverse=down)
    if start is not None:
        ids = [one for one in ids if (one < start if down else one > start)]
    alone = asked == Asked(ids=asked.ids)
    return replace(asked, ids=tuple(ids[: size + 1] if alone else ids))


_Prepared = tuple[QuerySet[Any], list[Q], Q, int]


def _prepared(asked: Asked, rows: QuerySet[Any]) -> _Prepared:
    """The rows among which those are, what indexes have in order, everything else, and how many
    rows may be looked at."""
    by, where = _conditions(asked)
    rows, between = _made(asked, rows)
    if not asked.words:
        return rows, by, where & between, SCATTERED_REACH if by else walking.REACH
    rows, said = _saying(asked.words, rows)
    return rows, by, where & between & said, WORDS_REACH


def _conditions(asked: Asked) -> tuple[list[Q], Q]:
    by, where = [], Q()
    if asked.ids is not None:
        by.append(Q(pk__in=asked.ids))
    if asked.row is not None:
        by.append(Q(content_type_id=asked.row[0], object_pk=asked.row[1]))
    if asked.error_code:
        by.append(Q(error_code=asked.error_code))
    if asked.connection_id:
        by.append(Q(connection_id=asked.connection_id))
    for status in asked.statuses:
        if status in _IN_ORDER:
            by.append(Q(status=status))
        else:
            where &= Q(status=status)
    if asked.event_ids is not None:
        where &= Q(event__in=asked.event_ids)
    if asked.source:
        where &= Q(source=asked.source)
    return by, where


def _saying(words: tuple[str, ...], rows: QuerySet[Any]) -> tuple[QuerySet[Any], Q]:
    """The rows with the words of their errors, and those words as a condition."""
    rows = rows.alias(said=Cast("error_detail", TextField()))
    if connections[rows.db].vendor != "postgresql":
        # As JSON is stored there, letters beyond ASCII are escaped.
        return rows, reduce(and_, (Q(said__icontains=json.dumps(word)[1:-1]) for word in words))
    from django.contrib.postgres.search import SearchQuery, SearchVector  # needs its driver

    # What is quick to find out comes first, and leaves few for the rest.
    parts = reduce(and_, (Q(said__icontains=word) for word in words))
    query = SearchQuery(
        " & ".join(f"{word}:*" for word in words), search_type="raw", config="simple"
    )
    return rows.alias(lexemes=SearchVector("said", config="simple")), parts & Q(lexemes=query)


# -- time -----------------------------------------------------------------------------------------


def _made(asked: Asked, rows: QuerySet[Any]) -> tuple[QuerySet[Any], Q]:
    """The rows of about that time, by their ids, and the time itself as a condition."""
    exactly = Q()
    if asked.since is not None:
        exactly &= Q(created_at__gte=asked.since)
        first = _first_made(asked.since - _OUT_OF_STEP)
        rows = rows.filter(pk__gte=first) if first is not None else rows
    if asked.until is not None:
        exactly &= Q(created_at__lt=asked.until)
        last = _first_made(asked.until + _OUT_OF_STEP)
        rows = rows.filter(pk__lt=last) if last is not None else rows
    return rows, exactly


#: Ids are in the order of making, so halving what lies between two of them soon finds a time.
_FIRST_MADE = """
WITH RECURSIVE halved (low, high) AS (
    SELECT MIN(id), MAX(id) + 1 FROM {table}
    UNION ALL
    SELECT CASE WHEN {made} < %(time)s THEN ((low + high) >> 1) + 1 ELSE low END,
           CASE WHEN {made} < %(time)s THEN high ELSE (low + high) >> 1 END
    FROM halved WHERE low < high
)
SELECT low FROM halved WHERE low = high
"""
_MADE = "(SELECT created_at FROM {table} WHERE id >= (low + high) >> 1 ORDER BY id LIMIT 1)"


def _first_made(time: datetime) -> int | None:
    """The id of the first one that was made then or later, or the next id; None where there are
    none at all. One query, of some twenty steps in the primary key."""
    connection = connections[router.db_for_read(Invocation)]
    table = connection.ops.quote_name(Invocation._meta.db_table)
    statement = _FIRST_MADE.format(table=table, made=_MADE.format(table=table))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"time": connection.ops.adapt_datetimefield_value(time)})
        row = cursor.fetchone()
    return row[0] if row else None
