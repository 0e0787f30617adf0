"""Load and dump an `objects` document: the seed's `linkCRM` shape <-> CRM objects and events.

`manage.py xkit_load` and `xkit_dump`, `xkit_crm.define` and the admin call this. Loading is all or
nothing and says what it changed; what history points at is deactivated, never deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import models, router, transaction

from xkit_crm import schema, states, usage
from xkit_crm.differences import Change, same
from xkit_crm.exceptions import DefinitionInUse, DefinitionInvalid, Problem
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.definition_version import changed_by
from xkit_crm.sync import following


def define(
    objects: Mapping[str, Any], *, prune: bool = False, dry_run: bool = False
) -> list[Change]:
    """Make the rows what the document says. Gives the changes; none where it already was so.

    `prune` deactivates the objects and events that the document doesn't have. `dry_run` changes
    nothing and gives what would change. Raises `DefinitionInvalid` with every mistake and its path,
    or `DefinitionInUse` where an event that others rely on would become another type, and changes
    nothing then.
    """
    if problems := schema.check_objects(objects):
        raise DefinitionInvalid(
            "The objects document has mistakes; nothing was changed.",
            hint="Correct them all and load it again.",
            errors=problems,
        )
    document, using = schema.canonical(objects), router.db_for_write(CRMObject)

    def load() -> list[Change]:
        with transaction.atomic(using=using), changed_by(reason="xkit_crm.define()"):
            before = states.now()
            _apply(document, prune=prune)
            edits = states.edits(before, states.now())
            if dry_run:
                transaction.set_rollback(True, using=using)
        return [change for edit in edits for change in states.changes(edit)]

    try:
        return again_on_conflict(load)
    finally:
        if dry_run:
            following.read_again()  # what it would have been may have been remembered


def add(objects: Mapping[str, Any]) -> list[Change]:
    """The same of a document that says only a part: what it leaves out stays as it is."""
    known = dump()
    return define({slug: _over(known.get(slug, {}), given) for slug, given in objects.items()})


def _over(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An object or event with what is given of it; keys of schemas are added, none is removed."""
    merged = {**before, **given}
    if "name" in given and "label" not in given:
        merged["label"] = given["name"]
    for part in ("fields", "payloadSchema"):
        if part in merged:
            merged[part] = {**before.get(part, {}), **given.get(part, {})}
    if "events" in merged:
        old, new = before.get("events", {}), given.get("events", {})
        merged["events"] = {
            **old,
            **{slug: _over(old.get(slug, {}), event) for slug, event in new.items()},
        }
    return merged


def _apply(document: Mapping[str, Any], *, prune: bool) -> None:
    rows = {row.slug: row for row in CRMObject.objects.prefetch_related("events__crm_object")}
    _require_types(document, rows)
    for slug, given in document.items():
        known = rows.pop(slug, None)
        events = {event.slug: event for event in known.events.all()} if known else {}
        crm_object = known or CRMObject(slug=slug)
        _write(crm_object, {name: given[name] for name in ("label", "description", "fields")})
        for name, event in given["events"].items():
            row = events.pop(name, None) or EventDefinition(crm_object=crm_object, slug=name)
            _write(row, {_FIELDS.get(key, key): value for key, value in event.items()})
        if prune:
            _deactivate(events.values())
    if prune:
        _deactivate(rows.values())


#: What the document calls otherwise than the row does.
_FIELDS = {"payloadSchema": "payload_schema"}


def _require_types(document: Mapping[str, Any], rows: Mapping[str, CRMObject]) -> None:
    """Raise `DefinitionInUse` with every event that can't be of the type that the document says."""
    if problems := list(_wrong_types(document, rows)):
        raise DefinitionInUse(
            "Events that others rely on can't become another type; nothing was changed.",
            hint="Define others beside them, under slugs of their own.",
            errors=problems,
        )


def _wrong_types(document: Mapping[str, Any], rows: Mapping[str, CRMObject]) -> Iterator[Problem]:
    for slug, crm_object in rows.items():
        given = document.get(slug, {}).get("events", {})
        for event in crm_object.events.all():
            kind = given.get(event.slug, {}).get("type", event.type)
            changed = EventDefinition(crm_object=crm_object, slug=event.slug, type=kind)
            for problem in usage.refusals(event, changed):
                yield Problem(f"objects.{slug}.events.{event.slug}.type", problem.error)


def _write(row: CRMObject | EventDefinition, values: Mapping[str, Any]) -> None:
    wanted = {**values, "active": True}
    # The order of keys is what customers see, so it counts as a change.
    changed = [name for name, value in wanted.items() if not same(getattr(row, name), value)]
    for name in changed:
        setattr(row, name, wanted[name])
    if row._state.adding:
        row.save()
    elif changed:
        row.save(update_fields=[*changed, "updated_at"])


def _deactivate(rows: Iterable[CRMObject | EventDefinition]) -> None:
    for row in rows:
        if row.active:
            row.active = False
            row.save(update_fields=["active", "updated_at"])


def with_events(row: CRMObject | EventDefinition) -> list[CRMObject | EventDefinition]:
    """The row, and what goes with it: the events of an object."""
    return [row, *row.events.select_related("crm_object")] if isinstance(row, CRMObject) else [row]


def remove(row: CRMObject | EventDefinition) -> None:
    """Delete an object with its events, or one event. Raises `DefinitionInUse` where others rely on
    it or the log speaks of it."""
    with transaction.atomic(using=router.db_for_write(CRMObject)):
        usage.require_unused(row)
        try:
            for each in reversed(with_events(row)):
                each.delete()
        except models.ProtectedError:
            usage.require_unused(row)  # somebody began to use it at this moment
            raise


def dump(slugs: Iterable[str] | None = None) -> dict[str, Any]:
    """The active objects and events as an `objects` document, of all objects or of these; loading
    it changes nothing."""
    rows = CRMObject.objects.filter(active=True).prefetch_related("events")
    return {
        row.slug: {
            "label": row.label,
            "description": row.description,
            "fields": row.fields,
            "events": {
                event.slug: {
                    "type": event.type,
                    "label": event.label,
                    "description": event.description,
                    "payloadSchema": event.payload_schema,
                }
                for event in row.events.all()
                if event.active
            },
        }
        for row in (rows if slugs is None else rows.filter(slug__in=slugs))
    }
