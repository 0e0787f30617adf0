"""A field as Tryton defines it, and as it is for a record that is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkit_crm.providers.base import Choice, RemoteField, RemoteType
from xkit_crm.providers.tryton.pyson import conditions, holds

PARTY = "party.party"

#: Lists of records, files, and spans of time have no counterpart, and are left out.
TYPES = {
    "char": RemoteType.STRING,
    "text": RemoteType.TEXT,
    "integer": RemoteType.INTEGER,
    "float": RemoteType.NUMBER,
    "numeric": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "timestamp": RemoteType.DATETIME,
    "selection": RemoteType.PICKLIST,
    "multiselection": RemoteType.MULTIPICKLIST,
    "many2one": RemoteType.REFERENCE,
    "one2one": RemoteType.REFERENCE,
    "reference": RemoteType.REFERENCE,
}
#: Texts that say what they are by their name alone.
_NAMES = {
    "email": RemoteType.EMAIL,
    "website": RemoteType.URL,
    "phone": RemoteType.PHONE,
    "mobile": RemoteType.PHONE,
    "fax": RemoteType.PHONE,
}


def described(
    remote_object: str, found: Mapping[str, Any], values: Mapping[str, Any], options: Sequence[Any]
) -> RemoteField:
    """The field, by its definition, a new record's `values`, and its options: value and label."""
    name, kind = found["name"], TYPES[found["type"]]
    createable = not (found.get("readonly") or _is_now("readonly", found, {**values, "id": -1}))
    updateable = not (found.get("readonly") or _is_now("readonly", found, {**values, "id": 1}))
    required = _is_now("required", found, {**values, "id": -1})
    picks = kind in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
    size = found.get("size")
    return RemoteField(
        name=name,
        label=found.get("string") or name,
        type=_NAMES.get(name, kind) if found["type"] == "char" else kind,
        required=required and createable and not _is_filled(found, values),
        createable=createable,
        updateable=updateable,
        searchable=bool(found.get("searchable")) or is_contact(remote_object, name),
        choices=tuple(Choice(str(v), label) for v, label in options if v) if picks else (),
        references=_references(found, options),
        max_length=size if isinstance(size, int) else None,
    )


def is_contact(remote_object: str, name: str) -> bool:
    """Whether the field shows one of a party's contact mechanisms."""
    return remote_object == PARTY and name in _NAMES


def _is_now(state: str, found: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """By its condition, where the values tell whether that holds."""
    states = conditions(found.get("states"))
    said = holds(states[state], values) if state in states else None
    return bool(found.get(state)) if said is None else said


def _is_filled(found: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether Tryton fills it in: since it has a default, or since no person can. What is computed,
    and so isn't searched, is another way to write what is stored, and that is required itself."""
    has_default = found["type"] == "boolean" or values.get(found["name"]) is not None
    is_editable = holds(conditions(found.get("states")).get("editable", True), values)
    return has_default or is_editable is False or not found.get("searchable")


def _references(found: Mapping[str, Any], options: Sequence[Any]) -> tuple[str, ...]:
    if found["type"] == "reference":
        return tuple(str(value) for value, _ in options if value)
    return (found["relation"],) if found.get("relation") else ()
