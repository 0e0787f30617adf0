"""The statements that look for work, written out.

They run for every turn in a lane, and again and again where nothing waits: each leaps through the
indexes rather than read a backlog or the log, and none is composed anew. Every database takes them
as they stand; conditions on the status are literal, so that each of them recognises its partial
index. Parameters are by name.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from django.db import connections, router

from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import OPEN_STATUSES, InvocationStatus, Priority

_INVOCATION = Invocation._meta.db_table
_CONNECTION = Connection._meta.db_table
_LANE = Lane._meta.db_table
_PENDING = f"status = '{InvocationStatus.PENDING.value}'"
_OPEN = "status IN ({})".format(", ".join(f"'{status.value}'" for status in OPEN_STATUSES))
_ENABLED = f"status = '{ConnectionStatus.ENABLED.value}'"


def _due(connection: str, priority: Priority) -> str:
    """What is due in a lane with this priority, in the order of the index."""
    return (
        f"FROM {_INVOCATION} WHERE {_PENDING} AND connection_id = {connection} "
        f"AND priority = {priority.value} AND due_at <= %(now)s"
    )


def _any_due(connection: str) -> str:
    # Of each priority the one that is due first, rather than any: only the index knows which that
    # is, so no database takes it for cheaper to read rows until it meets one.
    firsts = (
        f"(SELECT due_at FROM {_INVOCATION} WHERE {_PENDING} AND connection_id = {connection} "  # noqa: S608
        f"AND priority = {priority.value} ORDER BY due_at LIMIT 1) <= %(now)s"
        for priority in Priority
    )
    return f"({' OR '.join(firsts)})"


def _waiting(condition: str = "") -> str:
    """The first connection for which anything waits."""
    # In the order of the index that holds what waits and nothing else, for the same reason.
    return (
        f"(SELECT connection_id FROM {_INVOCATION} WHERE {_PENDING}{condition} "  # noqa: S608
        "ORDER BY connection_id, priority, due_at, id LIMIT 1)"
    )


#: The connections for which anything waits, and NULL, as a table `waiting`. Leaps from one to the
#: next: DISTINCT would read all of the backlog.
WAITING = f"""waiting (id) AS (
    SELECT {_waiting()}
    UNION ALL
    SELECT {_waiting(" AND connection_id > waiting.id")} FROM waiting WHERE waiting.id IS NOT NULL
)"""  # noqa: S608

_WITH_WORK = f"""
WITH RECURSIVE {WAITING}
SELECT c.id FROM waiting JOIN {_CONNECTION} c ON c.id = waiting.id
LEFT JOIN {_LANE} l ON l.connection_id = c.id
WHERE c.{_ENABLED} AND (l.paused_until IS NULL OR l.paused_until <= %(now)s)
    AND (l.leased_until IS NULL OR l.leased_until < %(now)s) AND {_any_due("c.id")}
UNION
SELECT connection_id FROM {_LANE} WHERE leased_until < %(now)s
"""  # noqa: S608 - our own names only

_HAS_WORK = f"""
SELECT 1 FROM {_CONNECTION} c LEFT JOIN {_LANE} l ON l.connection_id = c.id
WHERE c.id = %(connection)s
    AND (l.leased_until < %(now)s OR (c.{_ENABLED} AND {_any_due("c.id")}))
"""  # noqa: S608


@cache
def _next_due(*, of_one: bool) -> str:
    """Each priority by itself, so that the index gives the rows in order and nothing is sorted;
    and whether more than one waits for the row's record."""
    shared = (
        f"EXISTS (SELECT 1 FROM {_INVOCATION} o WHERE o.{_OPEN} "  # noqa: S608
        "AND o.connection_id = i.connection_id AND o.record_key = i.record_key AND o.id <> i.id)"
    )
    record = " AND record_key = %(record_key)s" if of_one else ""
    parts = (
        f"SELECT * FROM (SELECT * {_due('%(connection)s', priority)}{record} "  # noqa: S608
        f"ORDER BY due_at, id LIMIT %(size)s) p{priority.value}"
        for priority in Priority
    )
    return (
        f"SELECT i.*, {shared} AS shared FROM "  # noqa: S608
        f"({' UNION ALL '.join(parts)} LIMIT %(size)s) i"
    )


def with_work(now: datetime) -> list[str]:
    """The connections in whose lanes something can be done now: something is due, and nobody
    holds the lane; or its holder is dead. Costs some steps in indexes for each lane where anything
    waits."""
    return [row[0] for row in _rows(_WITH_WORK, now=now)]


def has_work(connection_id: str, now: datetime) -> bool:
    """Whether something is due in this lane, or a dead worker holds it."""
    return bool(_rows(_HAS_WORK, now=now, connection=connection_id))


def next_due(
    connection_id: str, now: datetime, *, size: int, record_key: str | None = None
) -> tuple[list[Invocation], set[str]]:
    """The next `size` of a lane, of one record if that is named, in order of priority, then of
    time; and the keys of the records for which more than one waits."""
    statement = _next_due(of_one=record_key is not None)
    parameters = {"connection": connection_id, "now": now, "size": size, "record_key": record_key}
    found = list(Invocation.objects.raw(statement, parameters))
    found.sort(key=lambda row: (row.priority, row.due_at, row.pk))
    return found, {row.record_key for row in found if row.shared}  # type: ignore[attr-defined]


def _rows(statement: str, *, now: datetime, **parameters: Any) -> list[tuple[Any, ...]]:
    connection = connections[router.db_for_read(Invocation)]
    named = {"now": connection.ops.adapt_datetimefield_value(now), **parameters}
    with connection.cursor() as cursor:
        cursor.execute(statement, named)
        return list(cursor.fetchall())
