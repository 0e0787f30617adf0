"""Previewing a binding on one row: what it would fire, whether that is valid, and where it goes.

The admin asks while an operator edits, so a binding may be as unfinished as it likes: whatever the
row can't give is told and stops nothing else. Nothing is written, whatever the product's own code
does when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, router, transaction

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.exceptions import Problem, XkitError
from xkit_crm.models import Connection, RecordLink
from xkit_crm.sync import payloads, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.capture import muted
from xkit_crm.sync.conditions import Rule
from xkit_crm.sync.findings import Decided, State

_T = TypeVar("_T")


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


@dataclass(frozen=True, slots=True)
class RowPreview:
    """What a binding makes of one row."""

    #: Whether the row meets the condition; None where that can't be told.
    is_synced: bool | None
    rules: tuple[tuple[Rule, bool], ...]
    events: tuple[EventPreview, ...]
    destinations: tuple[Destination, ...]
    #: What could not be read at all.
    problems: tuple[Problem, ...]

    @property
    def updates(self) -> bool:
        """Whether the row's next change is told, so that it changes the record that there is."""
        return "on_update" in self._fired

    @property
    def creates(self) -> bool:
        """Whether the row's next change makes the record that there isn't yet."""
        return self._fired >= {"on_create", "on_update"}

    @property
    def _fired(self) -> set[str]:
        return {event.moment for event in self.events if not event.is_off}


def preview(binding: Binding, row: models.Model) -> RowPreview:
    """What the binding makes of the row as it is. A handful of queries."""
    using = router.db_for_write(binding.model)
    events = {moment: _event(binding, moment) for moment in binding.events}
    with muted(), transaction.atomic(using=using):
        asking = _Asking(using)
        try:
            condition = asking.ask("condition", "asked", lambda: _condition(binding, row))
            ids = asking.ask("connection_path", "read", lambda: binding.connections_of(row))
            shown = [_shown(binding, m, event, row, asking) for m, event in events.items()]
        finally:
            transaction.set_rollback(True, using=using)
    rules, is_synced = ((), None) if isinstance(condition, Problem) else condition
    named = [] if isinstance(ids, Problem) else ids
    fired = [event for event in events.values() if event is not None]
    return RowPreview(
        is_synced,
        rules,
        tuple(shown),
        tuple(_destinations(binding, row, named, fired)),
        tuple(one for one in (condition, ids) if isinstance(one, Problem)),
    )


class _Asking:
    """Asks the product's code, which may fail, on any row there is. On PostgreSQL a query that
    failed would take whatever is asked next with it, but for the savepoint."""

    def __init__(self, using: str) -> None:
        self._database = connections[using]
        self._start = str(self._database.savepoint())

    def ask(self, path: str, done: str, read: Callable[[], _T]) -> _T | Problem:
        """What it gives, or why that can't be `done`."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - it runs the product's code
            self._database.set_rollback(False)
            self._database.savepoint_rollback(self._start)
            told = error if isinstance(error, XkitError) else f"{type(error).__name__}: {error}"
            return Problem(path, f"can't be {done}: {told}")


def _condition(binding: Binding, row: models.Model) -> tuple[tuple[tuple[Rule, bool], ...], bool]:
    """What each rule says of the row, and whether it is synced."""
    return tuple((rule, rule.holds(row)) for rule in binding.rules), binding.takes(row)


def _event(binding: Binding, moment: str) -> Event | None:
    try:
        return walking.event_of(binding, moment)
    except XkitError:
        return None  # deleted or renamed at this very moment


def _shown(
    binding: Binding, moment: str, event: Event | None, row: models.Model, asking: _Asking
) -> EventPreview:
    slug = binding.events[moment]
    if event is None:
        return EventPreview(moment, slug, slug, is_off=True, payload={}, problems=())
    built = asking.ask("", "read", lambda: payloads.build(event, binding.payload, row))
    payload, problems = ({}, [built]) if isinstance(built, Problem) else built
    label = event.definition.label
    return EventPreview(
        moment, slug, label, is_off=False, payload=payload, problems=tuple(problems)
    )


def _destinations(
    binding: Binding, row: models.Model, ids: Sequence[str], events: Sequence[Event]
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
