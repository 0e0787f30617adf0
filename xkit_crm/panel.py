"""Where rows stand in their customers' CRMs: what the panel of a row's records shows.

Drawn in the admin and by the template tag `crm_records`. Read for many rows at once, with the same
few queries whatever there is of them. Asks no CRM, and writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from django.db import models
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext_lazy as _

from xkit_crm import catalogue, records
from xkit_crm.exceptions import Problem, XkitError
from xkit_crm.models import Attempt, Connection, Invocation, ObjectMapping, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.providers.registry import provider_class
from xkit_crm.sync import walking
from xkit_crm.sync.bindings import bindings_for
from xkit_crm.sync.links import keys_of

#: CRMs of one row that are shown.
MOST: Final = 20
#: Tries that are looked through for one that wrote something.
_TRIES = 3


class Standing(models.TextChoices):
    """How a row stands in one CRM."""

    LINKED = "linked", _("in the CRM")
    WAITING = "waiting", _("waiting to be sent")
    TROUBLE = "trouble", _("needs attention")
    HANDED_OVER = "handed_over", _("handed over to a workflow")
    ABSENT = "absent", _("not in the CRM yet")
    UNCONNECTED = "unconnected", _("no CRM connected")


@dataclass(frozen=True, slots=True)
class Written:
    """What was sent last, by remote field."""

    values: Mapping[str, Any]
    at: datetime
    invocation_id: int
    record_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """One CRM in which a row has a record of a CRM object, or is to have one."""

    connection_id: str
    #: None where the customer has connected no CRM yet.
    connection: Connection | None
    #: What the CRM is called.
    crm: str
    crm_object: str
    label: str
    #: What the customer mapped it to; empty: to nothing.
    remote_object: str
    link: RecordLink | None
    #: The record's page in the CRM; empty where there is none.
    url: str
    #: Whether the row's changes go there.
    goes: bool
    #: Events that are not settled, and of them those that only a person can settle.
    waiting: int
    unknown: int
    #: The newest events, without their payloads.
    events: tuple[Invocation, ...]
    written: Written | None

    @property
    def standing(self) -> Standing:
        last = self.events[0].status if self.events else ""
        if self.connection is None:
            return Standing.UNCONNECTED
        if self.unknown or last == InvocationStatus.FAILED:
            return Standing.TROUBLE
        if self.waiting:
            return Standing.WAITING
        if self.link is not None:
            return Standing.LINKED
        return Standing.HANDED_OVER if last == InvocationStatus.DEFERRED else Standing.ABSENT

    @property
    def moves(self) -> bool:
        """Whether something is about to happen there by itself."""
        live = self.connection is not None and self.connection.is_enabled
        held = self.connection is not None and self.connection.shadow
        return live and not held and self.waiting > self.unknown


@dataclass(frozen=True, slots=True)
class Records:
    """All of a row. `problems` say why nobody can tell where it goes, `more` counts CRMs that are
    not shown."""

    places: tuple[Place, ...] = ()
    problems: tuple[str, ...] = ()
    more: int = 0

    def place(self, connection_id: str, crm_object: str) -> Place | None:
        """The one of this connection and CRM object."""
        named = (connection_id, crm_object)
        return next((p for p in self.places if (p.connection_id, p.crm_object) == named), None)


def records_of(instance: models.Model, *, events: int = 1, values: bool = False) -> Records:
    """Where one row stands, with the newest `events` of each CRM, and the `values` written last.

    Of a row that is deleted by now, give `Model(pk=...)`.
    """
    return records_of_rows([instance], events=events, values=values)[instance.pk]


def records_of_rows(
    rows: Sequence[models.Model], *, events: int = 1, values: bool = False
) -> dict[Any, Records]:
    """The same of rows of one model, by primary key."""
    if not rows:
        return {}
    reading = _Reading(rows, events, values)
    return {row.pk: reading.records(str(row.pk)) for row in rows}


class _Key(NamedTuple):
    """Names a place: row, connection, CRM object."""

    pk: str
    connection_id: str
    crm_object: str


class _Reading:
    """What is known of some rows, each kind of it read once."""

    def __init__(self, rows: Sequence[models.Model], events: int, values: bool) -> None:
        self.rows, self.events_wanted, self.values_wanted = rows, events, values
        self.problems: defaultdict[str, list[str]] = defaultdict(list)
        #: The rows by what names them in the log: a content type, and the key that they have there.
        self.pks: dict[tuple[int, str], str] = {}
        for row in rows:
            for key, content_types in keys_of(row).items():
                self.pks |= {(one.pk, key): str(row.pk) for one in content_types}
        self.links = self._links()
        self.goes = self._goes()

    def records(self, pk: str) -> Records:
        keys = [key for key in dict.fromkeys((*self.goes, *self.links)) if key.pk == pk]
        return Records(
            tuple(self._place(key) for key in keys[:MOST]),
            tuple(self.problems[pk]),
            max(len(keys) - MOST, 0),
        )

    def _place(self, key: _Key) -> Place:
        link = self.links.get(key)
        connection = self.connections.get(key.connection_id)
        waiting, unknown = self.waiting.get(key, (0, 0))
        return Place(
            connection_id=key.connection_id,
            connection=connection,
            crm=_crm(connection) if connection is not None else "",
            crm_object=key.crm_object,
            label=self._label(key),
            remote_object=self.mapped.get((key.connection_id, key.crm_object), ""),
            link=link,
            url=records.url_of(link.connection, link.record_id) if link is not None else "",
            goes=key in self.goes,
            waiting=waiting,
            unknown=unknown,
            events=tuple(self.events.get(key, ())),
            written=self._written(key, link),
        )

    def _written(self, key: _Key, link: RecordLink | None) -> Written | None:
        """What was written last to this very record: the row may have been another's before."""
        written = self.written.get(key)
        is_its = written is not None and (link is None or written.record_id == link.record_id)
        return written if is_its else None

    def _label(self, key: _Key) -> str:
        known = catalogue.objects().get(key.crm_object)
        link = self.links.get(key)
        return known.label if known else link.crm_object.label if link else key.crm_object

    # -- where they go

    def _links(self) -> dict[_Key, RecordLink]:
        links = RecordLink.objects.filter(self._named()).order_by("id")
        return {
            _Key(self._pk_of(link), link.connection_id, link.crm_object.slug): link
            for link in links.select_related("connection", "crm_object")
        }

    def _goes(self) -> dict[_Key, None]:
        found: dict[_Key, None] = {}
        for binding in bindings_for(type(self.rows[0])):
            if len(self.rows) > 1:
                walking.Relations(binding).fetch(self.rows, binding.connection_ids)
            for row in self.rows:
                if row._state.adding:  # it is gone, and goes nowhere
                    continue
                ids = walking.connection_ids_of(binding, row)
                if isinstance(ids, Problem):
                    self.problems[str(row.pk)].append(str(ids))
                else:
                    found |= {_Key(str(row.pk), name, binding.crm_object): None for name in ids}
        return found

    @cached_property
    def connections(self) -> dict[str, Connection]:
        known = {link.connection_id: link.connection for link in self.links.values()}
        others = {key.connection_id for key in self.goes} - known.keys()
        return known | (Connection.objects.in_bulk(others) if others else {})

    @cached_property
    def mapped(self) -> dict[tuple[str, str], str]:
        mappings = ObjectMapping.objects.filter(connection_id__in=self.connections)
        rows = mappings.values_list("connection_id", "crm_object__slug", "remote_object")
        return {(name, slug): remote_object for name, slug, remote_object in rows.order_by()}

    # -- what happened

    @cached_property
    def waiting(self) -> dict[_Key, tuple[int, int]]:
        rows = (
            Invocation.objects.filter(self._named())
            .open()
            .order_by()
            .values_list("content_type", "object_pk", "connection_id", "event__crm_object__slug")
            .annotate(all=Count("id"), unknown=Count("id", filter=Q(status="unknown")))
        )
        found: dict[_Key, tuple[int, int]] = {}
        for content_type_id, pk, connection_id, slug, count, unknown in rows:
            key = _Key(self.pks[content_type_id, pk], connection_id, slug)
            before = found.get(key, (0, 0))
            found[key] = (before[0] + count, before[1] + unknown)
        return found

    @cached_property
    def events(self) -> dict[_Key, list[Invocation]]:
        newest = _newest(Invocation.objects.filter(self._named()), "", self.events_wanted)
        rows = (
            Invocation.objects.filter(pk__in=newest)
            .select_related("event__crm_object")
            .defer("payload", "folded", "result", "event__payload_schema")
            .order_by("-id")
        )
        found: defaultdict[_Key, list[Invocation]] = defaultdict(list)
        for row in rows:
            found[self._key_of(row)].append(row)
        return {key: events[: self.events_wanted] for key, events in found.items()}

    @cached_property
    def written(self) -> dict[_Key, Written]:
        if not self.values_wanted:
            return {}
        wrote = Attempt.objects.filter(
            self._named("invocation__"),
            outcome=Outcome.SUCCEEDED,
            operation__in=["create", "update"],
        )
        rows = (
            Attempt.objects.filter(pk__in=_newest(wrote, "invocation__", _TRIES))
            .select_related("invocation__event__crm_object")
            .only(
                "sent",
                "started_at",
                "invocation__content_type",
                "invocation__object_pk",
                "invocation__record_id",
                "invocation__connection",
                "invocation__event__crm_object__slug",
            )
            .order_by("id")
        )
        return {
            self._key_of(row.invocation): Written(
                row.sent, row.started_at, row.invocation_id, row.invocation.record_id
            )
            for row in rows
            if row.sent
        }

    def _named(self, prefix: str = "") -> Q:
        """What finds whatever is kept of the rows."""
        pks: defaultdict[int, list[str]] = defaultdict(list)
        for content_type_id, pk in self.pks:
            pks[content_type_id].append(pk)
        alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for content_type_id, found in pks.items():
            alike[tuple(found)].append(content_type_id)
        named = Q()
        for keys, content_types in alike.items():
            place = {"content_type__in": content_types, "object_pk__in": keys}
            named |= Q(**{f"{prefix}{name}": value for name, value in place.items()})
        return named

    def _pk_of(self, kept: RecordLink | Invocation) -> str:
        """The key of the row that a link or an invocation is of."""
        assert kept.content_type_id is not None, "it was found by it"
        return self.pks[kept.content_type_id, str(kept.object_pk)]

    def _key_of(self, invocation: Invocation) -> _Key:
        return _Key(
            self._pk_of(invocation), invocation.connection_id, invocation.event.crm_object.slug
        )


def _newest(rows: QuerySet[Any], prefix: str, count: int) -> list[int]:
    """The ids of the newest rows of each place, so many at most."""
    names = ("content_type", "object_pk", "connection", "event__crm_object")
    place = [F(f"{prefix}{name}") for name in names]
    rank = Window(RowNumber(), partition_by=place, order_by=F("id").desc())
    return list(
        rows.order_by().annotate(rank=rank).filter(rank__lte=count).values_list("id", flat=True)
    )


def _crm(connection: Connection) -> str:
    try:
        return provider_class(connection.provider).label
    except XkitError:
        return connection.provider
