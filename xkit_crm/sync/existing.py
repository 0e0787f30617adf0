"""Records that a customer has already: found in their CRM while a person types, and linked.

The admin calls it. Each call asks the CRM, so it is made only where the connection is enabled and
its CRM didn't ask to be left alone, once, and so often in a minute at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from django.core.cache import cache
from django.db import models, router, transaction
from django.utils import timezone

from xkit_crm import catalogue, mappings
from xkit_crm.delivery.decisions import record_of
from xkit_crm.exceptions import (
    AlreadyLinked,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.invoking import require_enabled, require_open_lane
from xkit_crm.mapping import recognising, resolving
from xkit_crm.mapping.transformations import parse_object_map
from xkit_crm.models import Connection, EventAction, ObjectMapping, RecordLink
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Criterion, Operator, RecordRef, RemoteRecord
from xkit_crm.records import mapping_of, record_url
from xkit_crm.sync.calling import Caller
from xkit_crm.sync.links import kept_of, link

#: Records that a search gives at most.
LIMIT: Final = 10
#: Characters below which a text finds too much to be asked for.
SHORTEST: Final = 2
#: Searches in one connection's CRM in a minute, whoever makes them.
PER_MINUTE: Final = 60

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Existing:
    """A record of the customer's. `values` are label and value of what it is recognised by."""

    record_id: str
    name: str
    values: tuple[tuple[str, Any], ...]
    url: str
    #: Of the row that stands for it already.
    link: RecordLink | None


class _Asker:
    """Asks one connection's CRM for records of one CRM object."""

    def __init__(self, connection: Connection, crm_object: str) -> None:
        require_enabled(connection)
        require_open_lane(connection)
        self.connection = connection
        self.crm_object = catalogue.crm_object(crm_object)
        self.mapping = mapping_of(connection, self.crm_object)
        self.remote_object: str = self.mapping.remote_object
        self.caller = Caller(connection, tries=1)
        self.provider = self.caller.provider

    def ask(self, call: Callable[[], _Answer]) -> _Answer:
        return self.caller(partial(descriptions.understood, self.provider, call))

    def features(self) -> recognising.Features:
        fields = self.ask(partial(descriptions.fields, self.provider, self.remote_object))
        own = (self.crm_object.slug, self.crm_object.label, self.remote_object)
        return recognising.features(fields.values(), written=_mapped(self.mapping), own=own)

    def get(self, ref: RecordRef, features: recognising.Features) -> RemoteRecord:
        names = [field.name for field in features.all]
        return self.ask(partial(self.provider.get, ref, names))

    def read(self, ref: RecordRef, features: recognising.Features) -> RemoteRecord | None:
        """The record, where there is one and it could have such an id at all."""
        try:
            return self.get(ref, features)
        except (RemoteRecordNotFound, RejectedByCRM):
            return None


def find(connection: Connection, crm_object: str, text: str) -> list[Existing]:
    """The customer's records whose name, email or id is this text, or holds it; newest first, and
    `LIMIT` at most. None for a text that is too short.

    Raises `ConnectionNotEnabled`, `UnknownObject` where the customer mapped the CRM object to
    nothing, and the `CRMError` branch: `RateLimited` too where so much is asked for that it would
    burden the CRM.
    """
    text = text.strip()
    if len(text) < SHORTEST and not text.isdecimal():
        return []
    asker = _Asker(connection, crm_object)
    _keep_pace(connection)
    features = asker.features()
    found = {str(record.ref): record for record in _found(asker, features, text)}
    links = {
        link.record_id: link
        for link in RecordLink.objects.filter(
            connection_id=connection.pk, record_id__in=found
        ).select_related("content_type")
    }
    return [
        _existing(asker, features, record, links.get(record_id))
        for record_id, record in list(found.items())[:LIMIT]
    ]


def free_record(
    instance: models.Model, connection: Connection, record_id: str, *, crm_object: str
) -> str:
    """The id, as the CRM spells it, of a record of the customer's that the row may be linked to.

    Raises what `find` raises, `UnknownRecord` for an id that is none or of another object's
    record, `RemoteRecordNotFound` where there is no such record, and `AlreadyLinked` where another
    row stands for it: they would overwrite each other.
    """
    known = _known(connection, record_id, crm_object)
    _require_free(instance, connection, known)
    return known


def link_existing(
    instance: models.Model, connection: Connection, record_id: str, *, crm_object: str
) -> RecordLink:
    """Link the row to a record that the customer has, in place of the one that it had. Raises what
    `free_record` raises."""
    known = _known(connection, record_id, crm_object)
    with transaction.atomic(using=router.db_for_write(RecordLink)):
        mappings.lock(connection)  # so that no two rows are linked to it at the same moment
        _require_free(instance, connection, known)
        return link(instance, connection, known, crm_object=crm_object)


def _known(connection: Connection, record_id: str, crm_object: str) -> str:
    """The record's id as the CRM spells it: the same record may be known by several."""
    asker = _Asker(connection, crm_object)
    ref = record_of(record_id.strip(), crm_object, asker.remote_object)
    return str(asker.get(ref, asker.features()).ref)


def _require_free(instance: models.Model, connection: Connection, record_id: str) -> None:
    links = RecordLink.objects.filter(connection_id=connection.pk, record_id=record_id)
    other = links.exclude(kept_of(instance)).select_related("content_type").first()
    if other is not None:
        raise AlreadyLinked(
            f"{record_id} is linked to {other.content_type.name} {other.object_pk} already.",
            hint="Two rows would overwrite each other in it: unlink that one first.",
        )


def _keep_pace(connection: Connection) -> None:
    """Raise `RateLimited` where this minute's searches are used up."""
    name = hashlib.sha256(connection.pk.encode()).hexdigest()
    key = f"xkit_crm.search.{name}.{timezone.now():%H%M}"
    cache.add(key, 0, timeout=120)
    with suppress(ValueError):  # a cache that keeps nothing
        if cache.incr(key) > PER_MINUTE:
            raise RateLimited(
                "There were too many searches in this CRM within a minute.",
                hint="Wait a moment, then search again.",
                retry_after=60,
            )


def _mapped(mapping: ObjectMapping) -> set[str]:
    """The remote fields that the mapping writes or reads."""
    given = {"remote_object": mapping.remote_object, "fields": mapping.fields}
    read = resolving.remote_fields(parse_object_map(given))
    actions = EventAction.objects.filter(mapping=mapping, action__in=["create", "update"])
    rows = (row for rows in actions.values_list("transformations", flat=True) for row in rows)
    return {*read, *(row["field"] for row in rows)}


def _found(asker: _Asker, features: recognising.Features, text: str) -> Iterator[RemoteRecord]:
    ref = _ref(asker, text)
    by_id = asker.read(ref, features) if ref is not None else None
    if by_id is not None:
        yield by_id
    if ref is None or ref.crm_id == text:
        yield from _named(asker, features, text, refuse=by_id is None)


def _ref(asker: _Asker, text: str) -> RecordRef | None:
    """The record that the text may be the id of, with or without its object."""
    prefix, separator, _ = text.partition(":")
    if separator and prefix == asker.remote_object:
        return RecordRef.parse(text)
    # Names mostly have no digit, and ids no blank.
    is_id = "@" not in text and not text.split()[1:] and any(map(str.isdigit, text))
    return RecordRef(asker.remote_object, text) if is_id else None


def _named(
    asker: _Asker, features: recognising.Features, text: str, *, refuse: bool
) -> Iterator[RemoteRecord]:
    """Records that have the text in their name or email; with `refuse` it raises where the CRM
    can't look for it in any of these fields."""
    names = [field.name for field in features.all]
    refused: list[RejectedByCRM] = []
    fields = features.searched_for(text)
    for field in fields:
        criteria = [Criterion(field.name, Operator.CONTAINS, text)]
        search = partial(asker.provider.search, asker.remote_object, criteria, names, limit=LIMIT)
        try:
            yield from asker.ask(search)
        except RejectedByCRM as error:
            refused.append(error)
    if refuse and fields and len(refused) == len(fields):
        raise refused[0]


def _existing(
    asker: _Asker,
    features: recognising.Features,
    record: RemoteRecord,
    link: RecordLink | None,
) -> Existing:
    filled = [f for f in features.all if record.values.get(f.name) not in (None, "", [])]
    name = next((field for field in filled if field in features.names), None)
    return Existing(
        record_id=str(record.ref),
        name=str(record.values[name.name]) if name else "",
        values=tuple((f.label, record.values[f.name]) for f in filled if f is not name),
        url=record_url(asker.provider, str(record.ref)),
        link=link,
    )
