"""Previewing a binding on one row: what it would fire, whether that is valid, and where it goes.

The admin asks while an operator edits, so a binding may be as unfinished as it likes: whatever the
row can't give is told and stops nothing else. Nothing is written, whatever the product's own code
does when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction

from xkit_crm import catalogue
from xkit_crm.exceptions import Problem, XkitError
from xkit_crm.models import Connection, RecordLink
from xkit_crm.sync import walking
from xkit_crm.sync.bindings import MOMENTS, Binding
from xkit_crm.sync.capture import muted
from xkit_crm.sync.conditions import Rule
from xkit_crm.sync.findings import Decided, State


@dataclass(frozen=True, slots=True)
class EventPreview:
    """One event of the binding, as this row would fire it."""

    moment: str
    slug: str
    label: str
    #: Whether it was switched off, so that nothing is fired.
    is_off: bool
    payload: dict[str, Any]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """One connection that the row names. `connection` None: there is none of that id yet."""

    id: str
    connection: Connection | None
    #: The record that the row is in this CRM, empty where it is none yet.
    record_id: str
    #: Events that would do nothing there, each with why: opted out, or not decided yet.
    hindered: tuple[tuple[str, State], ...]

    @property
    def is_ready(self) -> bool:
        return bool(self.connection and self.connection.is_enabled and not self.hindered)


@dataclass(frozen=True, slots=True)
class RowPreview:
    """What a binding makes of one row."""

    row: models.Model
    #: Whether the row meets the condition; None where that can't be told.
    is_synced: bool | None
    rules: tuple[tuple[Rule, bool], ...]
    events: tuple[EventPreview, ...]
    destinations: tuple[Destination, ...]
    #: What could not be read at all.
    problems: tuple[Problem, ...]


def preview(binding: Binding, row: models.Model) -> RowPreview:
    """What the binding makes of the row as it is. A handful of queries."""
    using = router.db_for_write(binding.model)
    with muted(), transaction.atomic(using=using):
        try:
            return _preview(binding, row)
        finally:
            transaction.set_rollback(True, using=using)


def _preview(binding: Binding, row: models.Model) -> RowPreview:
    problems: list[Problem] = []
    is_synced: bool | None = None
    rules: list[tuple[Rule, bool]] = []
    try:
        rules = [(rule, rule.holds(row)) for rule in binding.rules]
        is_synced = binding.takes(row)
    except Exception as error:  # noqa: BLE001 - it runs the product's code, on any row there is
        problems.append(Problem("condition", f"can't be asked: {_told(error)}"))
    ids: list[str] = []
    try:
        ids = binding.connections_of(row)
    except Exception as error:  # noqa: BLE001 - see above
        problems.append(Problem("connection_path", f"can't be read: {_told(error)}"))
    events = {moment: event for moment in MOMENTS if (event := _event(binding, moment))}
    shown = tuple(_shown(binding, moment, row) for moment in MOMENTS if getattr(binding, moment))
    return RowPreview(
        row,
        is_synced,
        tuple(rules),
        shown,
        tuple(_destinations(binding, row, ids, list(events.values()))),
        tuple(problems),
    )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, XkitError) else f"{type(error).__name__}: {error}"


def _event(binding: Binding, moment: str) -> catalogue.Event | None:
    try:
        return walking.event_of(binding, moment)
    except XkitError:
        return None  # deleted or renamed at this very moment


def _shown(binding: Binding, moment: str, row: models.Model) -> EventPreview:
    slug = getattr(binding, moment)
    event = _event(binding, moment)
    if event is None:
        return EventPreview(moment, slug, slug, is_off=True, payload={}, problems=())
    payload, problems = walking.payload_of(binding, event, row)
    return EventPreview(
        moment,
        slug,
        event.definition.label,
        is_off=False,
        payload=payload,
        problems=tuple(problems),
    )


def _destinations(
    binding: Binding, row: models.Model, ids: Sequence[str], events: Sequence[catalogue.Event]
) -> Iterator[Destination]:
    crm_object = catalogue.objects().get(binding.crm_object)
    if not ids or crm_object is None:
        return
    connections = Connection.objects.in_bulk(ids)
    decided = Decided(crm_object.id)
    decided.read(connections)
    links = dict(
        RecordLink.objects.filter(
            content_type=ContentType.objects.get_for_model(binding.model),
            object_pk=str(row.pk),
            crm_object_id=crm_object.id,
        ).values_list("connection_id", "record_id")
    )
    for connection_id in ids:
        connection = connections.get(connection_id)
        hindered = [
            (event.definition.label, why)
            for event in (events if connection else ())
            if (why := decided.hindrance(connection_id, event)) is not None
        ]
        yield Destination(connection_id, connection, links.get(connection_id, ""), tuple(hindered))
