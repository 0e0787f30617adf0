"""Load and dump an `objects` document: the seed's `linkCRM` shape <-> CRM objects and events.

`manage.py xkit_load` and `xkit_dump` and `xkit_crm.define` call this. Loading is all or nothing
and says what it changed; what history points at is deactivated, never deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import router, transaction

from xkit_crm import schema
from xkit_crm.exceptions import DefinitionInvalid
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.models.base import again_on_conflict


@dataclass(frozen=True, slots=True)
class Change:
    """One thing a load did (or would do): `sign` is + (new), ~ (changed) or - (deactivated)."""

    sign: str
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        if self.sign != "~":
            return f"{self.sign} {self.path}"
        return f"~ {self.path}: {_short(self.before)} -> {_short(self.after)}"


def _short(value: Any, limit: int = 100) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def define(
    objects: Mapping[str, Any], *, prune: bool = False, dry_run: bool = False
) -> list[Change]:
    """Make the rows what the document says. Gives the changes; none where it already was so.

    `prune` deactivates the objects and events that the document doesn't have. `dry_run` changes
    nothing and gives what would change. Raises `DefinitionInvalid` with every mistake and its
    path, and changes nothing then.
    """
    if problems := schema.check_objects(objects):
        raise DefinitionInvalid(
            "The objects document has mistakes; nothing was changed.",
            hint="Correct them all and load it again.",
            errors=problems,
        )
    document, using = schema.canonical(objects), router.db_for_write(CRMObject)

    def load() -> list[Change]:
        with transaction.atomic(using=using):
            changes = list(_apply(document, prune=prune))
            if dry_run:
                transaction.set_rollback(True, using=using)
        return changes

    return again_on_conflict(load)


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


def _apply(document: Mapping[str, Any], *, prune: bool) -> Iterator[Change]:
    rows = {row.slug: row for row in CRMObject.objects.all()}
    for slug, given in document.items():
        values = {name: given[name] for name in ("label", "description", "fields")}
        row = rows.pop(slug, None)
        yield from _write(row, CRMObject, slug, slug, values)
        crm_object = row or CRMObject.objects.get(slug=slug)
        yield from _apply_events(crm_object, given["events"], prune=prune)
    if prune:
        for slug, row in rows.items():
            yield from _deactivate(row, slug)


def _apply_events(
    crm_object: CRMObject, events: Mapping[str, Any], *, prune: bool
) -> Iterator[Change]:
    rows = {row.slug: row for row in crm_object.events.all()}
    for slug, given in events.items():
        values = {
            "type": given["type"],
            "label": given["label"],
            "description": given["description"],
            "payload_schema": given["payloadSchema"],
        }
        path = f"{crm_object.slug}.{slug}"
        row = rows.pop(slug, None)
        yield from _write(row, EventDefinition, slug, path, values, crm_object=crm_object)
    if prune:
        for slug, row in rows.items():
            yield from _deactivate(row, f"{crm_object.slug}.{slug}")


def _write(
    row: CRMObject | EventDefinition | None,
    model: type[CRMObject | EventDefinition],
    slug: str,
    path: str,
    values: dict[str, Any],
    **parent: CRMObject,
) -> Iterator[Change]:
    if row is None:
        model._default_manager.create(slug=slug, **parent, **values)
        yield Change("+", path)
        return
    wanted = {**values, "active": True}
    # Compared as text: the order of keys is what customers see, so it counts as a change.
    changed = [name for name in wanted if _text(getattr(row, name)) != _text(wanted[name])]
    for name in changed:
        yield from _differences(f"{path}.{name}", getattr(row, name), wanted[name])
        setattr(row, name, wanted[name])
    if changed:
        row.save(update_fields=[*changed, "updated_at"])


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if before != after:
            yield Change("~", path, before, after)
        return
    for key in {**before, **after}:
        if key not in before:
            yield Change("+", f"{path}.{key}")
        elif key not in after:
            yield Change("-", f"{path}.{key}")
    for key in after:
        if key in before:
            yield from _differences(f"{path}.{key}", before[key], after[key])
    if list(before) != list(after) and before.keys() == after.keys():
        yield Change("~", f"{path} (order)", list(before), list(after))


def _deactivate(row: CRMObject | EventDefinition, path: str) -> Iterator[Change]:
    if row.active:
        row.active = False
        row.save(update_fields=["active", "updated_at"])
        yield Change("-", path)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, sort_keys=False)


def dump() -> dict[str, Any]:
    """The active objects and events as an `objects` document; loading it changes nothing."""
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
        for row in CRMObject.objects.filter(active=True).prefetch_related("events")
    }
