"""The outbox: how invocations get into the database.

`sync/capture.py` puts what models fire, with one raw INSERT on the hot path; `invoking.py` puts
what callers ask for. Knows nothing of providers or mappings.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from xkit_crm import tracing
from xkit_crm.delivery import tallies
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.base import new_uuid
from xkit_crm.models.invocation import InvocationStatus, Priority

MAX_RECORD_KEY = 300
#: Rows of one INSERT.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A local row that invocations are about, in the bound model's own terms."""

    content_type_id: int
    pk: str
    key: str

    @classmethod
    def of(cls, model: type[models.Model], pk: Any, *, crm_object: str) -> Row:
        """The row of this (bound) model; raises `ConfigurationError` where it is not saved yet."""
        return rows_of(model, crm_object=crm_object)(pk)


def rows_of(model: type[models.Model], *, crm_object: str) -> Callable[[Any], Row]:
    """What names rows of this (bound) model by their primary keys; for many of them at once.

    It raises `ConfigurationError` for a row that is not saved yet.
    """
    content_type = ContentType.objects.get_for_model(model)
    # As the database has it: a row made with pk="007" is row 7.
    to_python = model._meta.pk.to_python

    def row_of(pk: Any) -> Row:
        if pk is None:
            raise ConfigurationError(
                f"The {model._meta.verbose_name} is not saved yet, so nothing can be about it.",
                hint="Save it first.",
            )
        text = str(to_python(pk))
        return Row(content_type.pk, text, record_key(content_type, text, crm_object))

    return row_of


def record_key(content_type: ContentType, pk: str, crm_object: str) -> str:
    """What orders the invocations of a local row: the same for every way to name its record."""
    key = f"{content_type.app_label}.{content_type.model}:{pk}:{crm_object}"
    return key if len(key) <= MAX_RECORD_KEY else hashlib.sha256(key.encode()).hexdigest()


def record_key_of(connection_id: str, record_id: str) -> str:
    """What orders the invocations of a CRM record: its row's key where a row is linked to it."""
    link = (
        RecordLink.objects.select_related("content_type", "crm_object")
        .filter(connection_id=connection_id, record_id=record_id)
        .first()
    )
    if link is None:
        return record_id
    return record_key(link.content_type, link.object_pk, link.crm_object.slug)


def put_captured(
    event_id: int,
    payload: Mapping[str, Any],
    connection_ids: Iterable[str],
    *,
    row: Row,
    using: str,
    error: PayloadInvalid | None = None,
) -> list[str]:
    """Insert one invocation for each connection that exists, with one statement each; gives those.

    INSERT ... SELECT looks the connection up in the same round trip (but in MariaDB, see
    `_insert`), so that a row whose customer has not connected a CRM yet makes none. With `error`
    they are made as failed.
    """
    connection = connections[using]
    if not _inserts_by_select(connection):
        connection_ids = sorted(_existing(connection_ids, connection))
    values = _columns_of(event_id, payload, row, connection)
    now = values["created_at"]
    if error is not None:
        values |= {
            "status": InvocationStatus.FAILED.value,
            "error_code": error.code,
            "error_detail": _prepare("error_detail")(error.as_dict(), connection),
            "finished_at": now,
        }
    there = []
    with (
        tracing.making("capture", 1) as traceparent,
        connection.cursor() as cursor,
    ):
        values |= {"traceparent": traceparent} if traceparent else {}
        statement = _insert(using, tuple(values))
        for connection_id in connection_ids:
            uuid = _prepare("uuid")(new_uuid(), connection)
            cursor.execute(statement, [*values.values(), uuid, connection_id])
            if cursor.rowcount:
                there.append(connection_id)
    if error is not None:
        _count_failed(there, error)
    return there


def _columns_of(
    event_id: int, payload: Mapping[str, Any], row: Row, connection: BaseDatabaseWrapper
) -> dict[str, Any]:
    """What a captured invocation has in its columns, by field."""
    now = _prepare("created_at")(timezone.now(), connection)
    return {
        "payload": _prepare("payload")(payload, connection),
        "event": event_id,
        "record_key": row.key,
        "content_type": row.content_type_id,
        "object_pk": row.pk,
        "due_at": now,
        "created_at": now,
    }


#: Stands for the primary key of a row that gets one as it is inserted.
KEY: Final = "{}"


def keyless(model: type[models.Model], *, crm_object: str) -> Row | None:
    """A row of this (bound) model that is about to get its primary key, a number; None where its
    record key would be too long to be told without that."""
    content_type = ContentType.objects.get_for_model(model)
    key = record_key(content_type, KEY, crm_object)
    has_room = KEY in key and len(key) + 20 <= MAX_RECORD_KEY
    return Row(content_type.pk, KEY, key) if has_room else None


def written_with(
    statement: str, captured: Captured, *, key: str, using: str, traceparent: str
) -> tuple[str, list[Any]]:
    """PostgreSQL's statement that runs this one, which writes a row, and makes its invocation in
    the one connection; and what it takes after what the other takes.

    `key` is the column of a primary key that the row gets by it; "" where it has one. It gives what
    the other gives, and last whether the connection exists; nothing where that met no row. One that
    gives nothing of a new row gives that alone: a trigger may have put the row somewhere else.
    """
    connection = connections[using]
    values = _columns_of(captured.event_id, captured.payload, captured.row, connection)
    values |= {"traceparent": traceparent} if traceparent else {}
    gives = " RETURNING " in statement
    # A comment may be the last of the statement.
    if not gives and statement.startswith("INSERT "):
        whole = f"WITH saved AS ({statement}\n) {_insert(using, tuple(values))} RETURNING true"
    else:
        statement += "" if gives else "\nRETURNING 1"
        insert = _insert(using, tuple(values), saved=key)
        whole = (
            f"WITH saved AS ({statement}\n), made AS ({insert} RETURNING 1) "  # noqa: S608
            "SELECT saved.*, EXISTS (SELECT 1 FROM made) FROM saved"
        )
    uuid = _prepare("uuid")(new_uuid(), connection)
    return whole, [*values.values(), uuid, *captured.connection_ids]


def _count_failed(connection_ids: Iterable[str], error: PayloadInvalid) -> None:
    tallies.ended(
        Counter((one, InvocationStatus.FAILED.value) for one in connection_ids), code=error.code
    )


@dataclass(frozen=True, slots=True)
class Captured:
    """One event of one local row, to be put for each of these connections."""

    event_id: int
    payload: Mapping[str, Any]
    connection_ids: Sequence[str]
    row: Row
    error: PayloadInvalid | None = None
    #: Whether it is only of interest to a CRM that has a record of the row, or is to get one.
    if_known: bool = False


def put_many(
    captured: Sequence[Captured], *, using: str, priority: Priority = Priority.NORMAL
) -> list[str]:
    """Insert the invocations of many rows, in this order, with one INSERT for each chunk; gives
    the connections that have work by it. Connections that don't exist get none.

    What is put with an error comes after the others of its chunk: it is not carried out anyway.
    """
    pairs = [(item, name) for item in captured for name in item.connection_ids]
    there: set[str] = set()
    for begin in range(0, len(pairs), CHUNK):
        chunk = pairs[begin : begin + CHUNK]
        good = [pair for pair in chunk if pair[0].error is None]
        bad = [pair for pair in chunk if pair[0].error is not None]
        for part in (good, bad):
            if part:
                there |= _put_chunk(part, using=using, priority=priority)
    return sorted(there)


def _put_chunk(
    pairs: Sequence[tuple[Captured, str]], *, using: str, priority: Priority
) -> set[str]:
    """Insert these, which have all an error or none; gives the connections that exist."""
    connection, now = connections[using], timezone.now()
    failed = pairs[0][0].error is not None
    shared = {"priority": int(priority), "due_at": now, "created_at": now}
    if failed:
        shared |= {"status": InvocationStatus.FAILED.value, "finished_at": now}
    columns = (*_EACH, *(_EACH_FAILED if failed else ()))
    put = _put_as_json if connection.vendor == "postgresql" else _put_one_by_one
    with tracing.making("capture", len(pairs)) as traceparent:
        shared |= {"traceparent": traceparent} if traceparent else {}
        there = put(pairs, columns, shared, connection)
    if pairs[0][0].error is not None:
        _count_failed((name for _, name in pairs if name in there), pairs[0][0].error)
    return there


#: What differs from one invocation of a chunk to the next, in the order of `_values`.
_EACH = ("uuid", "event", "payload", "record_key", "content_type", "object_pk")
_EACH_FAILED = ("error_code", "error_detail")


def _values(item: Captured) -> list[Any]:
    row, error = item.row, item.error
    values = [new_uuid(), item.event_id, item.payload, row.key, row.content_type_id, row.pk]
    return values if error is None else [*values, error.code, error.as_dict()]


def _put_as_json(
    pairs: Sequence[tuple[Captured, str]],
    columns: tuple[str, ...],
    shared: Mapping[str, Any],
    connection: BaseDatabaseWrapper,
) -> set[str]:
    """One statement, with all rows in one parameter: twice as fast as a parameter for each value.

    The database takes the document apart, looks the connections up, and tells which are there.
    """
    rows = []
    for item, connection_id in pairs:
        uuid, *others = _values(item)
        rows.append([connection_id, str(uuid), *others])
    with connection.cursor() as cursor:
        cursor.execute(
            _insert_json(connection.alias, columns, tuple(shared)),
            [*shared.values(), json.dumps(rows)],
        )
        return {connection_id for (connection_id,) in cursor.fetchall()}


def _put_one_by_one(
    pairs: Sequence[tuple[Captured, str]],
    columns: tuple[str, ...],
    shared: Mapping[str, Any],
    connection: BaseDatabaseWrapper,
) -> set[str]:
    """One prepared statement, run for each row inside the driver."""
    there = _existing((connection_id for _, connection_id in pairs), connection)
    # uuid comes last in `_insert`, in front of the connection.
    same = [_prepare(name)(value, connection) for name, value in shared.items()]
    each = [(_prepare(name), position) for position, name in enumerate(columns)][1:]
    uuid = _prepare("uuid")
    rows = []
    for item, connection_id in pairs:
        if connection_id in there:
            values = _values(item)
            prepared = [prepare(values[position], connection) for prepare, position in each]
            rows.append([*same, *prepared, uuid(values[0], connection), connection_id])
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_insert(connection.alias, (*shared, *columns[1:])), rows)
    return there


@contextmanager
def referring(connection_id: str, using: str) -> Iterator[None]:
    """An invocation of this connection is inserted in this block. Who changes the connection is
    waited for beforehand, where the database would have them wait for what was inserted."""
    if _inserts_by_select(connections[using]):
        yield
        return
    with transaction.atomic(using=using):
        _existing([connection_id], connections[using])
        yield


def _existing(connection_ids: Iterable[str], connection: BaseDatabaseWrapper) -> set[str]:
    """Those of these connections that exist."""
    wanted = set(connection_ids)
    if _inserts_by_select(connection):
        known = Connection.objects.using(connection.alias).filter(pk__in=wanted)
        return set(known.values_list("pk", flat=True))
    if not wanted:
        return set()
    quote = connection.ops.quote_name
    table, key = quote(Connection._meta.db_table), quote(str(Connection._meta.pk.column))
    each = ", ".join(["%s"] * len(wanted))
    with connection.cursor() as cursor:
        # As they are now, whatever the transaction's isolation. An INSERT locks them anyway, when
        # it has locked its own row: who changes one and what waits for it would meet it halfway.
        # Another index would give their ids without locking their rows.
        cursor.execute(
            f"SELECT {key} FROM {table} FORCE INDEX (PRIMARY) WHERE {key} IN ({each}) "  # noqa: S608
            "LOCK IN SHARE MODE",
            list(wanted),
        )
        return {connection_id for (connection_id,) in cursor.fetchall()}


def _inserts_by_select(connection: BaseDatabaseWrapper) -> bool:
    """Not in MariaDB and MySQL: where they don't know beforehand how many rows they insert, they
    lock the whole table's next id until they have. One who waits for a connection that somebody
    changes would have all who save wait with them, whoever's customer it is."""
    return connection.vendor != "mysql"


@cache
def _field(name: str) -> models.Field:
    field = Invocation._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field


@cache
def _prepare(name: str) -> Callable[[Any, BaseDatabaseWrapper], Any]:
    """How a value is handed to a database; numbers and texts need nothing."""
    return _field(name).get_db_prep_save


@cache
def _insert(using: str, names: tuple[str, ...], *, saved: str | None = None) -> str:
    """The statement that gives values to these fields, then to the uuid, and the connection, which
    has to exist; where it is looked up by the same statement, it makes none without.

    The other columns have defaults in the database, which are those of a captured invocation. With
    `saved` it makes one only where the row `saved` is, whose key stands in that column ("": is
    known).
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    fields = [_field(name) for name in (*names, "uuid")]
    # PostgreSQL reads a parameter in a SELECT list as text, and wants to be told otherwise.
    cast = connection.vendor == "postgresql"
    given = [f"CAST(%s AS {field.rel_db_type(connection)})" if cast else "%s" for field in fields]
    if saved:
        given = [
            f"replace({value}, '{KEY}', CAST(saved.{quote(saved)} AS text))"
            if field.name in ("record_key", "object_pk")
            else value
            for field, value in zip(fields, given, strict=True)
        ]
    values = ", ".join(given)
    columns = ", ".join(quote(str(field.column)) for field in fields)
    link = quote(str(_field("connection").column))
    table, source = quote(Invocation._meta.db_table), quote(Connection._meta.db_table)
    key = f"{source}.{quote(str(Connection._meta.pk.column))}"
    into = f"INSERT INTO {table} ({columns}, {link})"
    if not _inserts_by_select(connection):
        return f"{into} VALUES ({values}, %s)"
    beside = "" if saved is None else "saved, "
    return f"{into} SELECT {values}, {key} FROM {beside}{source} WHERE {key} = %s"  # noqa: S608


@cache
def _insert_json(using: str, each: tuple[str, ...], shared: tuple[str, ...]) -> str:
    """The statement that takes shared values, then a JSON array of rows: `[connection, *each]`."""
    connection = connections[using]
    quote = connection.ops.quote_name

    def column(name: str) -> str:
        return quote(str(_field(name).column))

    def cast(name: str, value: str) -> str:
        return f"CAST({value} AS {_field(name).rel_db_type(connection)})"

    values = [cast(name, "%s") for name in shared]
    for position, name in enumerate(each, start=1):
        is_json = isinstance(_field(name), models.JSONField)
        values.append(f"item -> {position}" if is_json else cast(name, f"item ->> {position}"))
    columns = ", ".join(column(name) for name in (*shared, *each, "connection"))
    table, source = quote(Invocation._meta.db_table), quote(Connection._meta.db_table)
    key, link = quote(str(Connection._meta.pk.column)), column("connection")
    return (
        f"WITH made AS (INSERT INTO {table} ({columns}) "  # noqa: S608 - names of our own columns
        f"SELECT {', '.join(values)}, {source}.{key} "
        "FROM jsonb_array_elements(CAST(%s AS jsonb)) WITH ORDINALITY AS given (item, place) "
        f"JOIN {source} ON {source}.{key} = item ->> 0 ORDER BY place RETURNING {link}) "
        f"SELECT DISTINCT {link} FROM made"
    )
