"""CRM objects and events as the hot paths need them: looked up in memory, validators compiled.

`invoking.py`, `sync/` and `api/` ask here; `definitions.py` and the admin write rows. What is in
memory is dropped when a row changes in this process, and looked at again every few seconds for
changes made by others (`refresh_if_stale`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django.db.models import Count, Max
from django.db.models.signals import post_delete, post_save

from xkit_crm import schema
from xkit_crm.conf import settings
from xkit_crm.exceptions import DefinitionInvalid, UnknownEvent, UnknownObject
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.models.event_definition import EventType

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """An event definition, ready to validate. `definition` is the row with its CRM object: shared,
    so not to be changed."""

    id: int
    crm_object: str
    slug: str
    type: EventType
    payload_schema: dict[str, Any]
    validator: schema.Validator
    definition: EventDefinition


@dataclass(frozen=True, slots=True)
class Object:
    """A CRM object with its active events, by slug."""

    id: int
    slug: str
    label: str
    fields: dict[str, Any]
    events: dict[str, Event]


_lock = threading.Lock()
_objects: dict[str, Object] | None = None
#: Every event definition by its id, those switched off too.
_definitions: dict[int, EventDefinition] = {}
#: Object and event slugs of what is defined and was switched off.
_switched_off: frozenset[tuple[str, str]] = frozenset()
_stamp: object = None
_looked_at = 0.0


def forget(**_: object) -> None:
    """Drop what is in memory; the next look-up reads the rows again."""
    global _objects
    _objects = None


for _model in (CRMObject, EventDefinition):
    post_save.connect(forget, sender=_model, dispatch_uid="xkit_crm.catalogue")
    post_delete.connect(forget, sender=_model, dispatch_uid="xkit_crm.catalogue")


def _current_stamp() -> object:
    newest, count = Max("updated_at"), Count("id")
    return [model.objects.aggregate(newest, count) for model in (CRMObject, EventDefinition)]


def refresh_if_stale(**_: object) -> None:
    """Forget what is in memory where another process changed it. Looks every few seconds only."""
    global _looked_at, _stamp
    interval = settings.REFRESH_INTERVAL
    if _objects is None or interval is None or time.monotonic() - _looked_at < interval:
        return
    _looked_at = time.monotonic()
    if _current_stamp() != _stamp:
        forget()


def _load(*, again: bool = True) -> dict[str, Object]:
    """Read the rows; without `again` not where another thread has, while this one waited."""
    global _objects, _definitions, _switched_off, _stamp, _looked_at
    with _lock:
        if _objects is not None and not again:
            return _objects
        stamp = _current_stamp()
        definitions: dict[int, EventDefinition] = {}
        events: dict[int, dict[str, Event]] = {}
        switched_off: set[tuple[str, str]] = set()
        for row in EventDefinition.objects.select_related("crm_object"):
            crm_object = row.crm_object
            definitions[row.pk] = row
            if not (row.active and crm_object.active):
                switched_off.add((crm_object.slug, row.slug))
                continue
            try:
                validator = schema.compile(row.payload_schema)
            except DefinitionInvalid as error:
                # Written past every check: the others must go on.
                logger.error("Event %s.%s is left out: %s", crm_object.slug, row.slug, error)
                continue
            events.setdefault(crm_object.pk, {})[row.slug] = Event(
                id=row.pk,
                crm_object=crm_object.slug,
                slug=row.slug,
                type=EventType(row.type),
                payload_schema=row.payload_schema,
                validator=validator,
                definition=row,
            )
        loaded = {
            row.slug: Object(row.pk, row.slug, row.label, row.fields, events.get(row.pk, {}))
            for row in CRMObject.objects.filter(active=True)
        }
        _objects, _definitions = loaded, definitions
        _switched_off = frozenset(switched_off)
        _stamp, _looked_at = stamp, time.monotonic()
        return loaded


def objects() -> dict[str, Object]:
    """Every active CRM object, by slug."""
    found = _objects
    return _load(again=False) if found is None else found


def crm_object(slug: str) -> Object:
    """The active CRM object with this slug; raises `UnknownObject`."""
    found = objects().get(slug) or _load().get(slug)
    if found is None:
        raise _unknown_object(slug)
    return found


def event(object_slug: str, event_slug: str) -> Event:
    """The active event of a CRM object; raises `UnknownObject` or `UnknownEvent`."""
    found = crm_object(object_slug)
    if event_slug not in found.events and not is_switched_off(object_slug, event_slug):
        _load()  # perhaps somebody defined it a moment ago
    return known_event(object_slug, event_slug)


def known_event(object_slug: str, event_slug: str) -> Event:
    """The same as far as it is in memory: for who looks many up, of which some may be none."""
    crm_object = objects().get(object_slug)
    if crm_object is None:
        raise _unknown_object(object_slug)
    found = crm_object.events.get(event_slug)
    if found is None:
        raise UnknownEvent(
            f"The CRM object {object_slug!r} has no event {event_slug!r}.",
            hint=_known("Its events", event_slug, crm_object.events),
        )
    return found


def definitions(ids: Collection[int]) -> dict[int, EventDefinition]:
    """The event definitions with these ids, each with its CRM object: shared, so not to be
    changed. Those of what was switched off too."""
    objects()
    if not _definitions.keys() >= set(ids):
        _load()  # somebody defined it a moment ago
    return {event_id: _definitions[event_id] for event_id in ids}


def is_switched_off(object_slug: str, event_slug: str) -> bool:
    """Whether the event is defined, and an operator made it or its object inactive."""
    objects()
    return (object_slug, event_slug) in _switched_off


def _unknown_object(slug: str) -> UnknownObject:
    return UnknownObject(
        f"There is no CRM object {slug!r}.", hint=_known("CRM objects", slug, objects())
    )


def _known(what: str, slug: str, known: dict[str, Any]) -> str:
    if near := get_close_matches(slug, known, n=1):
        return f"Did you mean {near[0]!r}?"
    names = ", ".join(sorted(known))
    return (
        f"{what}: {names}." if names else f"{what}: none yet. Load some with manage.py xkit_load."
    )
