"""Echo: what a CRM tells us of our own writes, and what we would tell it of its own.

A product that applies a CRM's changes to its models asks `changes_from_crm` what is news, and
saves inside `applying`, so that nothing bounces. `capture.py` asks `without_origin` before it
fires; the pipeline asks `ours` for protected fields. Digests of what was last written are kept on
record links by `delivery/linking.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

from xkit_crm.delivery.outbox import record_key
from xkit_crm.exceptions import InProgress, UnknownConnection
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import NEVER, InvocationStatus
from xkit_crm.providers.base import RecordRef
from xkit_crm.sync.digests import fingerprint

_EMPTY = fingerprint(None)
_origins: ContextVar[frozenset[str]] = ContextVar("xkit_crm_origins", default=frozenset())


@contextmanager
def applying(connection: Connection | str) -> Iterator[None]:
    """Saves and deletes in this block come from this connection's CRM: they fire to every other
    connection, and not to this one.

    It holds for this thread or task and what it awaits, not for threads that it starts. Blocks
    nest: what is saved then comes from all of them.
    """
    token = _origins.set(_origins.get() | {_id_of(connection)})
    try:
        yield
    finally:
        _origins.reset(token)


def origins() -> frozenset[str]:
    """The connections that what is saved and deleted now comes from."""
    return _origins.get()


def is_applying() -> bool:
    """Whether an `applying()` block is around."""
    return bool(_origins.get())


def without_origin(connection_ids: list[str]) -> list[str]:
    """Those connections that what is saved now doesn't come from."""
    origins = _origins.get()
    return [name for name in connection_ids if name not in origins] if origins else connection_ids


def changes_from_crm(
    connection: Connection | str, record_id: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """What is news in what the CRM says of a record: `{}` for an echo of our own writes.

    `values` are by remote field, as its webhook or a poll gives them; those come back that aren't
    what we last wrote, however the CRM spells it. Of a record that no row is linked to, and of a
    field that we never wrote, everything is news.

    Raises `UnknownConnection`, `UnknownRecord` for what is no record id, and `InProgress` while a
    write to the record is under way, since nobody can tell yet whose the values are: ask again.
    """
    RecordRef.parse(record_id)
    connection_id = _id_of(connection)
    links = _links(connection_id, record_id)
    if not links and not Connection.objects.filter(pk=connection_id).exists():
        raise UnknownConnection(f"There is no connection {connection_id!r}.")
    _require_settled(connection_id, record_id, links)
    # Read again: a write that was under way may have ended before it was looked for.
    written = _written(_links(connection_id, record_id))
    return {field: value for field, value in values.items() if _news(field, value, written)}


def ours(written: Mapping[str, str], current: Mapping[str, Any]) -> set[str]:
    """The fields among `current` that nobody but us has filled: they have what we last wrote
    (`written`, a link's fingerprints), or we never wrote them and they are empty."""
    return {
        field
        for field, value in current.items()
        if fingerprint(value) == written.get(field, _EMPTY)
    }


def written_to(connection: Connection | str, record_id: str) -> dict[str, str]:
    """The fingerprints of what we last wrote to a record, by remote field."""
    return _written(_links(_id_of(connection), record_id))


def under_way(connection_id: str) -> models.QuerySet[Invocation]:
    """The connection's writes that its CRM may have and that we have no answer to: they run, or it
    was lost and they are yet to be tried again."""
    lost = Q(status=InvocationStatus.PENDING, doubtful=True, due_at__lt=NEVER)
    return Invocation.objects.filter(
        Q(status=InvocationStatus.RUNNING) | lost, connection_id=connection_id
    )


def making() -> Q:
    """Invocations that may be making a record: a change of a row that has none is sent as its
    creation."""
    link = RecordLink.objects.filter(
        content_type=OuterRef("content_type"),
        object_pk=OuterRef("object_pk"),
        connection=OuterRef("connection"),
        crm_object=OuterRef("event__crm_object"),
    )
    change = Q(~Exists(link), event__type=EventType.UPDATE, object_pk__isnull=False)
    return Q(event__type=EventType.CREATE) | change


def _id_of(connection: Connection | str) -> str:
    return connection.pk if isinstance(connection, Connection) else connection


def _news(field: str, value: Any, written: Mapping[str, str]) -> bool:
    return field not in written or fingerprint(value) != written[field]


def _links(connection_id: str, record_id: str) -> list[RecordLink]:
    """The links to the record, the one that was written last at the end."""
    found = RecordLink.objects.filter(connection_id=connection_id, record_id=record_id)
    return list(found.select_related("content_type", "crm_object").order_by("updated_at", "id"))


def _written(links: Iterable[RecordLink]) -> dict[str, str]:
    """Several rows may write to one record; then the last one's word counts."""
    return {field: mark for link in links for field, mark in link.written.items()}


def _require_settled(connection_id: str, record_id: str, links: list[RecordLink]) -> None:
    """The CRM may tell of a write before we have its answer, or where that was lost. A record that
    nobody knows yet may even be the one that a create is making."""
    keys = [record_key(k.content_type, k.object_pk, k.crm_object.slug) for k in links]
    of_it = Q(record_key__in=[record_id, *keys])
    if not links:
        of_it |= making()
    if under_way(connection_id).filter(of_it).exists():
        raise InProgress(
            f"A write to {record_id} is under way, so nobody can tell whose these values are.",
            hint="Ask again in a moment; a webhook is answered with 503 and Retry-After.",
            retry_after=1,
        )
