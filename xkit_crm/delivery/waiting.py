"""What waits: how much, and since when, for who watches.

Reads the index of what waits from its beginning, and no further than it has to: a backlog of a
million costs what one of a hundred does. Parameters are by name or one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections, router

from xkit_crm.delivery import statements
from xkit_crm.models import Connection, Invocation
from xkit_crm.models.invocation import NEVER, InvocationStatus, Priority

#: How many of a lane, and of all lanes, are counted: who waits behind them makes it "or more".
MANY = 100
MANY_IN_ALL = 10_000

_TABLE = Invocation._meta.db_table
_CONNECTION = Connection._meta.db_table
_PENDING = f"status = '{InvocationStatus.PENDING.value}'"


def _next_of(priority: Priority) -> str:
    """Of each lane the one that is due first; what waits for its connection to go live is not."""
    return (
        "SELECT i.id, i.connection_id, i.created_at "  # noqa: S608 - our own names only
        f"FROM waiting JOIN {_TABLE} i ON i.id = "
        f"(SELECT id FROM {_TABLE} WHERE {_PENDING} AND connection_id = waiting.id "
        f"AND priority = {priority.value} AND due_at < %(never)s ORDER BY due_at, id LIMIT 1)"
    )


# Backfill waits for its turn on purpose, so it is never late.
_NEXT = f"{_next_of(Priority.WAITED_FOR)} UNION ALL {_next_of(Priority.NORMAL)}"

_FIRST = (
    f"SELECT * FROM (SELECT connection_id FROM {_TABLE} WHERE {_PENDING} "  # noqa: S608
    "AND connection_id = %s ORDER BY priority, due_at, id LIMIT {most}) p{number}"
)
_FIRST_OF_ALL = (
    f"SELECT COUNT(*) FROM (SELECT 1 FROM {_TABLE} WHERE {_PENDING} "  # noqa: S608
    f"ORDER BY connection_id, priority, due_at, id LIMIT {MANY_IN_ALL + 1}) p"
)


@dataclass(frozen=True, slots=True)
class Amount:
    """How many wait; `count` or more, where there are too many to count them."""

    count: int
    or_more: bool = False

    @classmethod
    def of(cls, found: int, most: int) -> Amount:
        return cls(min(found, most), found > most)


def next_in_line(connection_ids: Sequence[str] | None = None) -> dict[str, datetime]:
    """When that was made which is next in each of these lanes, by connection; in all lanes where
    none are named. Costs one query, and some steps in indexes for each in which anything waits.
    """
    database = connections[router.db_for_read(Invocation)]
    parameters: dict[str, Any] = {"never": database.ops.adapt_datetimefield_value(NEVER)}
    lanes = statements.WAITING
    if connection_ids is not None:
        if not connection_ids:
            return {}
        parameters |= {f"c{number}": pk for number, pk in enumerate(connection_ids)}
        names = ", ".join(f"%(c{number})s" for number, _ in enumerate(connection_ids))
        lanes = f"waiting (id) AS (SELECT id FROM {_CONNECTION} WHERE id IN ({names}))"  # noqa: S608
    found: dict[str, datetime] = {}
    for one in Invocation.objects.raw(f"WITH RECURSIVE {lanes} {_NEXT}", parameters):
        known = found.get(one.connection_id, one.created_at)
        found[one.connection_id] = min(known, one.created_at)
    return found


def in_each(connection_ids: Sequence[str]) -> dict[str, Amount]:
    """How many wait in each of these lanes, in one query; `MANY` are counted at most."""
    if not connection_ids:
        return {}
    parts = [_FIRST.format(most=MANY + 1, number=number) for number, _ in enumerate(connection_ids)]
    statement = (
        f"SELECT connection_id, COUNT(*) FROM ({' UNION ALL '.join(parts)}) w "  # noqa: S608
        "GROUP BY connection_id"
    )
    with connections[router.db_for_read(Invocation)].cursor() as cursor:
        cursor.execute(statement, list(connection_ids))
        found = dict(cursor.fetchall())
    return {pk: Amount.of(found.get(pk, 0), MANY) for pk in connection_ids}


def in_all() -> Amount:
    """How many wait in all lanes; `MANY_IN_ALL` are counted at most."""
    with connections[router.db_for_read(Invocation)].cursor() as cursor:
        cursor.execute(_FIRST_OF_ALL)
        (found,) = cursor.fetchone() or (0,)
    return Amount.of(found, MANY_IN_ALL)
