"""The statements that look for work, written out.

They run for every turn in a lane, and again and again where nothing waits: each leaps through the
indexes rather than read a backlog or the log, and none is composed anew. But for `waiting`, every
database takes them as they stand; conditions on the status are literal, so that each of them
recognises its partial index. Parameters are by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connections, router

from xkit_crm.delivery import cursors, rate
from xkit_crm.delivery.rows import MANY, columns, made, one_of, read
from xkit_crm.models import Connection, EventAction, Invocation, Lane, ObjectMapping, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import OPEN_STATUSES, InvocationStatus, Priority

_INVOCATION = Invocation._meta.db_table
_CONNECTION = Connection._meta.db_table
_LANE = Lane._meta.db_table
_LINK = RecordLink._meta.db_table
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


# Leaps from one connection to the next: DISTINCT would read all of the backlog.
_LEAPING = f"""waiting (id) AS (
    SELECT {_waiting()}
    UNION ALL
    SELECT {_waiting(" AND connection_id > waiting.id")} FROM waiting WHERE waiting.id IS NOT NULL
)"""  # noqa: S608

# MariaDB and MySQL would read all of the backlog for each leap, since it starts at what another row
# holds. They leap by themselves for DISTINCT, where it names what an index begins with.
_DISTINCT = (
    f"waiting (status, id) AS (SELECT DISTINCT status, connection_id FROM {_INVOCATION} "  # noqa: S608
    f"WHERE {_PENDING})"
)


def waiting(vendor: str) -> str:
    """The connections for which anything waits, and perhaps NULL, as a table `waiting`."""
    return _DISTINCT if vendor == "mysql" else _LEAPING


@cache
def _with_work(vendor: str) -> str:
    return f"""
WITH RECURSIVE {waiting(vendor)}
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
        f"SELECT {columns(Invocation, 'i')}, {shared} FROM "  # noqa: S608
        f"({' UNION ALL '.join(parts)} LIMIT %(size)s) i"
    )


# Which versions of which rows say what the customer decided: where each lies and who wrote it is
# known to PostgreSQL, however it was written.
_STAMP = f"""(
    SELECT md5(string_agg(
        concat(m.id, m.ctid, m.xmin, ' ', a.id, a.ctid, a.xmin), ',' ORDER BY m.id, a.id
    ))
    FROM {ObjectMapping._meta.db_table} m
    LEFT JOIN {EventAction._meta.db_table} a ON a.mapping_id = m.id WHERE m.connection_id = c.id
)"""  # noqa: S608


#: A connection, and a stamp that changes with everything that its customer decided; None instead
#: where the database can't say.
Found = tuple[Connection, str | None]


@cache
def _connection(vendor: str) -> str:
    stamp = _STAMP if vendor == "postgresql" else "NULL"
    return (
        f"SELECT {columns(Connection, 'c')}, {stamp} FROM {_CONNECTION} c "  # noqa: S608
        "WHERE c.id = %(connection)s"
    )


def connection(connection_id: str) -> Found | None:
    """The connection as it is now; None where it was deleted."""
    statement = _connection(connections[router.db_for_read(Connection)].vendor)
    for found, (stamp,) in read(Connection, statement, {"connection": connection_id}):
        return found, stamp
    return None


_ACTION = f"""
SELECT {columns(EventAction, "a")}, {columns(ObjectMapping, "m")}
FROM {ObjectMapping._meta.db_table} m
JOIN {EventAction._meta.db_table} a ON a.mapping_id = m.id
WHERE m.connection_id = %(connection)s AND a.event_id = %(event)s ORDER BY a.id LIMIT 1
"""  # noqa: S608


def action(connection_id: str, event_id: int) -> EventAction | None:
    """What the customer decided for an event, with its mapping; None where nothing yet."""
    parameters = {"connection": connection_id, "event": event_id}
    for found, mapping in read(EventAction, _ACTION, parameters):
        found.mapping = made(ObjectMapping, router.db_for_read(EventAction))(mapping)
        return found
    return None


def links_of_rows(
    connection_id: str, content_type_id: int, crm_object_id: int, pks: Collection[str]
) -> list[RecordLink]:
    """The links of these rows of a model, as this CRM object."""
    of_model = {"content_type": content_type_id, "crm_object": crm_object_id}
    return _links(
        "content_type_id = %(content_type)s AND crm_object_id = %(crm_object)s AND object_pk",
        {"connection": connection_id, **of_model},
        pks,
    )


def links_of_records(connection_id: str, record_ids: Collection[str]) -> list[RecordLink]:
    """The links of rows to these records."""
    return _links("record_id", {"connection": connection_id}, record_ids)


def _links(condition: str, parameters: dict[str, Any], those: Collection[str]) -> list[RecordLink]:
    among, named = one_of(those, using=router.db_for_read(RecordLink))
    statement = (
        f"SELECT {columns(RecordLink, 'l')} FROM {_LINK} l "  # noqa: S608
        f"WHERE l.connection_id = %(connection)s AND {condition} {among}"
    )
    found = read(RecordLink, statement, parameters | named, many=len(those) >= MANY)
    return [link for link, _ in found]


@dataclass(frozen=True, slots=True)
class Taken:
    """A lane that was taken."""

    #: Who held it and gave no sign of life; "": nobody.
    before: str
    #: How often somebody said that the CRM is well.
    resumed: int
    #: What was learned of the CRM's limits, by `rate.COLUMNS`.
    gauge: tuple[Any, ...]
    #: The connection as it was then; None: it is to be asked for.
    found: Found | None = None


# Its own row joined once more, since only so it is told what it was; locked there, so that this is
# what it was when it was changed. A lane that somebody is taking at this very moment is theirs:
# nobody waits for the row.
_TAKE = f"""
UPDATE {_LANE} l SET holder = %(holder)s, leased_until = %(until)s
FROM (
    SELECT connection_id, holder FROM {_LANE} WHERE connection_id = %(connection)s
        AND (paused_until IS NULL OR paused_until <= %(now)s)
        AND (holder = '' OR leased_until < %(now)s)
    FOR UPDATE SKIP LOCKED
) was
JOIN {_CONNECTION} c ON c.id = was.connection_id
WHERE l.connection_id = was.connection_id
RETURNING {columns(Connection, "c")}, {_STAMP}, was.holder, l.resumed,
    {", ".join(f"l.{name}" for name in rate.COLUMNS)}
"""  # noqa: S608


def can_take() -> bool:
    """Whether the database takes a lane in one statement; others need a transaction."""
    return connections[router.db_for_write(Lane)].vendor == "postgresql"


def take(connection_id: str, holder: str, *, now: datetime, until: datetime) -> Taken | None:
    """Take the lane, where nobody holds it and it is not to be left alone; None otherwise."""
    parameters = {"connection": connection_id, "holder": holder, "now": now, "until": until}
    using = router.db_for_write(Lane)
    for connection, (stamp, before, resumed, *gauge) in read(
        Connection, _TAKE, parameters, using=using
    ):
        return Taken(before, resumed, tuple(gauge), (connection, stamp))
    return None


def with_work(now: datetime) -> list[str]:
    """The connections in whose lanes something can be done now: something is due, and nobody
    holds the lane; or its holder is dead. Costs some steps in indexes for each lane where anything
    waits."""
    statement = _with_work(connections[router.db_for_read(Invocation)].vendor)
    return [row[0] for row in _rows(statement, now=now)]


def has_work(connection_id: str, now: datetime) -> bool:
    """Whether something is due in this lane, or a dead worker holds it."""
    return bool(_rows(_HAS_WORK, now=now, connection=connection_id))


def next_due(
    connection_id: str,
    now: datetime,
    *,
    size: int,
    record_key: str | None = None,
    many: bool = False,
) -> tuple[list[Invocation], set[str]]:
    """The next `size` of a lane, of one record if that is named, in order of priority, then of
    time; and the keys of the records for which more than one waits. `many`, where so many are
    there, as far as anybody knows."""
    statement = _next_due(of_one=record_key is not None)
    parameters = {"connection": connection_id, "now": now, "size": size, "record_key": record_key}
    found = read(Invocation, statement, parameters, many=many and size >= MANY)
    rows = [row for row, _ in found]
    rows.sort(key=lambda row: (row.priority, row.due_at, row.pk))
    return rows, {row.record_key for row, (shared,) in found if shared}


def _rows(statement: str, *, now: datetime, **parameters: Any) -> list[tuple[Any, ...]]:
    using = router.db_for_read(Invocation)
    named = {"now": connections[using].ops.adapt_datetimefield_value(now), **parameters}
    with cursors.cursor(using) as cursor:
        cursor.execute(statement, named)
        return list(cursor.fetchall())
