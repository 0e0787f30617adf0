"""What waits: how much, how old it is, and since when it is overdue, for who watches.

Reads the index of what waits from its beginning, and no further than it has to: a backlog of a
million costs what one of a hundred does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections, router
from django.utils import timezone

from xkit_crm.delivery import statements
from xkit_crm.models import Connection, Invocation
from xkit_crm.models.invocation import InvocationStatus, Priority

#: How many of a lane, and of all lanes, are looked at: where more wait, it is "or more".
MANY = 100
MANY_IN_ALL = 10_000

_TABLE = Invocation._meta.db_table
_CONNECTION = Connection._meta.db_table
_PENDING = f"status = '{InvocationStatus.PENDING.value}'"


def _overdue(priority: Priority) -> str:
    """Of each lane what is due first."""
    return (
        f"SELECT waiting.id, (SELECT due_at FROM {_TABLE} WHERE {_PENDING} "  # noqa: S608
        f"AND connection_id = waiting.id AND priority = {priority.value} "
        "AND due_at <= %(now)s ORDER BY due_at, id LIMIT 1) FROM waiting"
    )


# Backfill waits for its turn on purpose, so it is never late.
_OVERDUE = f"{_overdue(Priority.WAITED_FOR)} UNION ALL {_overdue(Priority.NORMAL)}"

_FIRST = (
    f"SELECT * FROM (SELECT connection_id, created_at FROM {_TABLE} WHERE {_PENDING} "  # noqa: S608
    "AND connection_id = %(c{number})s ORDER BY priority, due_at, id LIMIT {most}) p{number}"
)
_FIRST_OF_ALL = (
    f"SELECT COUNT(*) FROM (SELECT 1 FROM {_TABLE} WHERE {_PENDING} "  # noqa: S608
    f"ORDER BY connection_id, priority, due_at, id LIMIT {MANY_IN_ALL + 1}) p"
)


@dataclass(frozen=True, slots=True)
class Amount:
    """How many wait; `count` or more, where there are too many to count them. `oldest` is when
    the oldest of those that were counted was made."""

    count: int = 0
    or_more: bool = False
    oldest: datetime | None = None


def overdue_since(connection_ids: Sequence[str] | None = None) -> dict[str, datetime]:
    """Since when something is due in each of these lanes and not sent, by connection; in all lanes
    where none are named. What waits on purpose is not due: for its next try, for the customer to
    decide, for its connection to go live. Costs one query, and some steps in indexes for each lane
    in which anything waits."""
    lanes = statements.waiting(connections[router.db_for_read(Invocation)].vendor)
    parameters = {"now": _written(timezone.now())}
    if connection_ids is not None:
        if not connection_ids:
            return {}
        named = _named(connection_ids)
        ids = ", ".join(f"%({name})s" for name in named)
        lanes = f"waiting (id) AS (SELECT id FROM {_CONNECTION} WHERE id IN ({ids}))"  # noqa: S608
        parameters |= named
    found: dict[str, datetime] = {}
    for connection_id, due_at in _rows(f"WITH RECURSIVE {lanes} {_OVERDUE}", parameters):
        if due_at is not None:
            since = _read(due_at)
            found[connection_id] = min(found.get(connection_id, since), since)
    return found


def in_each(connection_ids: Sequence[str]) -> dict[str, Amount]:
    """How many wait in each of these lanes, in one query; `MANY` are looked at."""
    if not connection_ids:
        return {}
    named = _named(connection_ids)
    parts = (_FIRST.format(most=MANY + 1, number=number) for number, _ in enumerate(named))
    statement = (
        f"SELECT connection_id, COUNT(*), MIN(created_at) FROM ({' UNION ALL '.join(parts)}) w "  # noqa: S608
        "GROUP BY connection_id"
    )
    found = dict.fromkeys(connection_ids, Amount())
    for connection_id, count, oldest in _rows(statement, named):
        found[connection_id] = Amount(min(count, MANY), count > MANY, _read(oldest))
    return found


def in_all() -> Amount:
    """How many wait in all lanes; `MANY_IN_ALL` are counted at most."""
    ((count,),) = _rows(_FIRST_OF_ALL, {})
    return Amount(min(count, MANY_IN_ALL), count > MANY_IN_ALL)


def _named(connection_ids: Sequence[str]) -> dict[str, Any]:
    return {f"c{number}": pk for number, pk in enumerate(connection_ids)}


def _rows(statement: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    with connections[router.db_for_read(Invocation)].cursor() as cursor:
        cursor.execute(statement, parameters)
        yield from cursor.fetchall()


def _written(moment: datetime) -> Any:
    """A time as the database is told it."""
    return connections[router.db_for_read(Invocation)].ops.adapt_datetimefield_value(moment)


def _read(moment: Any) -> datetime:
    """A time as the database says it."""
    database = connections[router.db_for_read(Invocation)]
    column = Invocation._meta.get_field("due_at").cached_col
    for convert in database.ops.get_db_converters(column):
        moment = convert(moment, column, database)
    found: datetime = moment
    return found
