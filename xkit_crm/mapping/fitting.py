"""Whether what an action writes can ever be what a remote field's type takes.

`completeness.py` asks, so that a field which the CRM has made another type of is told before
anything is sent. Only what can't be is told: where it depends on the value, or on the CRM, the CRM
says what it thinks of it. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm.mapping.conversion import to_remote
from xkit_crm.mapping.transformations import KEYED, Kind, Transformation
from xkit_crm.providers.base import RemoteField, RemoteType

_NUMBERS = frozenset({RemoteType.INTEGER, RemoteType.NUMBER})
_MOMENTS = frozenset({RemoteType.DATE, RemoteType.DATETIME})
_ONE = _NUMBERS | _MOMENTS | {RemoteType.BOOLEAN, RemoteType.REFERENCE}

#: What a payload's type, or its format, never becomes.
_NEVER: dict[str, frozenset[RemoteType]] = {
    "array": _ONE,
    "object": _ONE,
    "boolean": _NUMBERS | _MOMENTS | {RemoteType.REFERENCE, RemoteType.MULTIPICKLIST},
    "number": _MOMENTS | {RemoteType.MULTIPICKLIST},
    "integer": _MOMENTS | {RemoteType.MULTIPICKLIST},
    "date": _NUMBERS | {RemoteType.BOOLEAN, RemoteType.REFERENCE},
    "datetime": _NUMBERS | {RemoteType.BOOLEAN, RemoteType.REFERENCE},
    "email": _NUMBERS | _MOMENTS | {RemoteType.BOOLEAN},
    "uri": _NUMBERS | _MOMENTS | {RemoteType.BOOLEAN},
}


def misfit(
    transformation: Transformation, field: RemoteField, payload_schema: Mapping[str, Any]
) -> str:
    """Why the field can't take what is written there; empty where it may."""
    if transformation.kind in (Kind.STATIC, Kind.DEFAULT) and (
        error := _of_value(transformation.value, field)
    ):
        return error
    if transformation.kind not in KEYED or transformation.kind is Kind.VALUE_MAP:
        return ""  # its text may be anything
    description = described(payload_schema, transformation.key)
    for word in ("format", "type"):
        kind = description.get(word, "")
        if field.type in _NEVER.get(kind, ()):
            return f"{field.label} is of type {field.type}, which {transformation.key} never is"
    return ""


def _of_value(value: Any, field: RemoteField) -> str:
    """The same of one value, which is what it is; none clears the field."""
    given = to_remote(value, field.type)
    choices = [choice.value for choice in field.choices]
    if given is None:
        return ""
    if choices and field.type in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST):
        every = given if isinstance(given, list) else [given]
        wrong = [one for one in every if one not in choices]
        return f"{value!r} is none of {', '.join(choices)}" if wrong else ""
    return f"{value!r} is no {field.type}" if given != "" and _is_other(given, field.type) else ""


def _is_other(value: Any, wanted: RemoteType) -> bool:
    if wanted in _NUMBERS:
        return isinstance(value, bool) or not isinstance(value, int | float)
    if wanted is RemoteType.BOOLEAN:
        return not isinstance(value, int)
    if wanted in _MOMENTS:
        # A text that says a moment has become one.
        return not isinstance(value, str) or not value[:1].isdigit()
    return False


def described(payload_schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The description of a (dotted) payload key; empty where the schema has none."""
    below: Mapping[str, Any] = payload_schema
    found: Mapping[str, Any] = {}
    for step in key.split("."):
        found = below.get(step) or {}
        below = found.get("properties") or {}
    return found
