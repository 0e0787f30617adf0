"""Salesforce's fields and the inputs of its flows, and how their values are spelt there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm.mapping.conversion import as_datetime
from xkit_crm.providers.base import Choice, RemoteField, RemoteType
from xkit_crm.providers.http import KEY_FIELD
from xkit_crm.providers.salesforce import soql

_TYPES = {
    "textarea": RemoteType.TEXT,
    "int": RemoteType.INTEGER,
    "integer": RemoteType.INTEGER,
    "long": RemoteType.INTEGER,
    "double": RemoteType.NUMBER,
    "number": RemoteType.NUMBER,
    "currency": RemoteType.NUMBER,
    "percent": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "email": RemoteType.EMAIL,
    "url": RemoteType.URL,
    "phone": RemoteType.PHONE,
    "picklist": RemoteType.PICKLIST,
    "combobox": RemoteType.PICKLIST,
    "multipicklist": RemoteType.MULTIPICKLIST,
    "reference": RemoteType.REFERENCE,
}
#: Their values are no single ones; what an address is made of has fields of its own.
COMPOUND = frozenset({"address", "location", "base64", "complexvalue", "json", "anyType"})
_PICKS = (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
_TEXTS = frozenset({"string", "textarea", "email", "url", "phone", "encryptedstring"})

#: An input of a flow that is filled with the id of the record that the event is about.
RECORD_INPUTS = ("recordId", "sObjectId")


def field_of(found: Mapping[str, Any]) -> RemoteField:
    kind = _TYPES.get(found["type"], RemoteType.STRING)
    needed = found["createable"] and not (found["nillable"] or found["defaultedOnCreate"])
    return RemoteField(
        name=found["name"],
        label=found["label"] or found["name"],
        type=kind,
        required=needed and kind is not RemoteType.BOOLEAN,
        createable=found["createable"],
        updateable=found["updateable"],
        searchable=found["filterable"],
        choices=_choices(found) if kind in _PICKS else (),
        references=tuple(found.get("referenceTo") or ()) if kind is RemoteType.REFERENCE else (),
        max_length=(found.get("length") or None) if found["type"] in _TEXTS else None,
        unique=bool(found.get("unique")),
    )


def _choices(found: Mapping[str, Any]) -> tuple[Choice, ...]:
    return tuple(
        Choice(one["value"], one["label"] or one["value"])
        for one in found.get("picklistValues") or ()
        if one.get("active", True)
    )


_AS_ONE = {RemoteType.MULTIPICKLIST: RemoteType.STRING}


def input_of(found: Mapping[str, Any]) -> RemoteField:
    """An input of a flow."""
    name, several = found["name"], (found.get("maxOccurs") or 1) > 1
    kind = _TYPES.get(found["type"].lower(), RemoteType.STRING)
    return RemoteField(
        name=name,
        label=found.get("label") or name,
        # Only a collection takes a list; a picklist of several is one text.
        type=RemoteType.MULTIPICKLIST if several else _AS_ONE.get(kind, kind),
        required=bool(found.get("required")) and name not in (KEY_FIELD, *RECORD_INPUTS),
    )


def fits(value: Any, kind: RemoteType) -> bool:
    return value in (None, "") or soql.literal(value, kind) is not None


def spelt(value: Any, field: RemoteField | None) -> Any:
    """As it goes out: several are one text, and a checkbox never holds nothing."""
    kind = field.type if field else None
    if kind is RemoteType.MULTIPICKLIST and isinstance(value, list):
        return soql.joined(value) or None
    if kind is RemoteType.BOOLEAN and value in (None, ""):
        return False
    if kind is RemoteType.DATETIME and value:
        return soql.moment(value) or value
    return value


def handed(value: Any, field: RemoteField | None) -> Any:
    """As it is handed to a flow."""
    is_one = field is None or field.type is not RemoteType.MULTIPICKLIST
    return soql.joined(value) if is_one and isinstance(value, list) else value


def value_of(value: Any, field: RemoteField | None) -> Any:
    """As it comes in."""
    if field is None or value is None:
        return value
    if isinstance(value, str) and field.type is RemoteType.MULTIPICKLIST:
        return value.split(";")
    if field.type is RemoteType.DATETIME:
        return as_datetime(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
