"""The outbox: how invocations get into the database.

`sync/capture.py` puts what models fire, with one raw INSERT on the hot path; `invoking.py` puts
what callers ask for. Knows nothing of providers or mappings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.base import new_uuid
from xkit_crm.models.invocation import InvocationStatus, Priority, Source

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
        if pk is None:
            raise ConfigurationError(
                f"The {model._meta.verbose_name} is not saved yet, so nothing can be about it.",
                hint="Save it first.",
            )
        # As the database has it: a row made with pk="007" is row 7.
        text = str(model._meta.pk.to_python(pk))
        content_type = ContentType.objects.get_for_model(model)
        return cls(content_type.pk, text, record_key(content_type, text, crm_object))


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

    INSERT ... SELECT looks the connection up in the same round trip, so that a row whose customer
    has not connected a CRM yet makes none. With `error` they are made as failed.
    """
    connection = connections[using]
    now = _prepare("created_at")(timezone.now(), connection)
    values: dict[str, Any] = {
        "payload": _prepare("payload")(payload, connection),
        "event": event_id,
        "record_key": row.key,
        "content_type": row.content_type_id,
        "object_pk": row.pk,
        "due_at": now,
        "created_at": now,
    }
    if error is not None:
        values |= {
            "status": InvocationStatus.FAILED.value,
            "error_code": error.code,
            "error_detail": _prepare("error_detail")(error.as_dict(), connection),
            "finished_at": now,
        }
    statement = _insert(using, tuple(values))
    there = []
    with connection.cursor() as cursor:
        for connection_id in connection_ids:
            uuid = _prepare("uuid")(new_uuid(), connection)
            cursor.execute(statement, [*values.values(), uuid, connection_id])
            if cursor.rowcount:
                there.append(connection_id)
    return there


@dataclass(frozen=True, slots=True)
class Captured:
    """One event of one local row, to be put for each of these connections."""

    event_id: int
    payload: Mapping[str, Any]
    connection_ids: Sequence[str]
    row: Row
    error: PayloadInvalid | None = None


def put_many(
    captured: Sequence[Captured], *, using: str, priority: Priority = Priority.NORMAL
) -> list[str]:
    """Insert the invocations of many rows, in this order, with one INSERT for each chunk; gives
    the connections that have work by it. Connections that don't exist get none."""
    wanted = {connection_id for item in captured for connection_id in item.connection_ids}
    there = set(Connection.objects.using(using).filter(pk__in=wanted).values_list("pk", flat=True))
    now = timezone.now()
    rows = [
        Invocation(
            event_id=item.event_id,
            payload=item.payload,
            connection_id=connection_id,
            source=Source.MODEL,
            record_key=item.row.key,
            content_type_id=item.row.content_type_id,
            object_pk=item.row.pk,
            priority=priority,
            due_at=now,
            created_at=now,
            status=InvocationStatus.FAILED if item.error else InvocationStatus.PENDING,
            error_code=item.error.code if item.error else "",
            error_detail=item.error.as_dict() if item.error else None,
            finished_at=now if item.error else None,
        )
        for item in captured
        for connection_id in item.connection_ids
        if connection_id in there
    ]
    Invocation.objects.using(using).bulk_create(rows, batch_size=CHUNK)
    return sorted({row.connection_id for row in rows})


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
def _insert(using: str, names: tuple[str, ...]) -> str:
    """The statement that gives values to these fields, then to the uuid.

    The other columns have defaults in the database, which are those of a captured invocation.
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    fields = [_field(name) for name in (*names, "uuid")]
    # PostgreSQL reads a parameter in a SELECT list as text, and wants to be told otherwise.
    cast = connection.vendor == "postgresql"
    values = ", ".join(
        f"CAST(%s AS {field.rel_db_type(connection)})" if cast else "%s" for field in fields
    )
    columns = ", ".join(quote(str(field.column)) for field in fields)
    link = quote(str(_field("connection").column))
    table, source = quote(Invocation._meta.db_table), quote(Connection._meta.db_table)
    key = quote(str(Connection._meta.pk.column))
    return (
        f"INSERT INTO {table} ({columns}, {link}) "  # noqa: S608 - names of our own columns only
        f"SELECT {values}, {key} FROM {source} WHERE {key} = %s"
    )
