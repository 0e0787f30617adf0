"""Whether what an action writes can ever be what a remote field's type takes.

`completeness.py` asks, so that a field which the CRM has made another type of is told before
anything is sent. Only what can't be is told: where it depends on the value, or on the CRM, the CRM
says what it thinks of it. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_noop as _

from xkit_crm.mapping.conversion import as_text, to_remote
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.mapping.transformations import KEYED, MISSING, Kind, Transformation
from xkit_crm.providers.base import RemoteField, RemoteType
from xkit_crm.schema.language import enum_values

_NUMBERS = frozenset({RemoteType.INTEGER, RemoteType.NUMBER})
_MOMENTS = frozenset({RemoteType.DATE, RemoteType.DATETIME})
_LISTS = frozenset({RemoteType.PICKLIST, RemoteType.MULTIPICKLIST})
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
            text = _("%(field)s is of type %(type)s, which %(key)s never is")
            return Phrase(text, field=field.label, type=field.type, key=transformation.key)
    return ""


def unfilled(transformation: Transformation, field: RemoteField) -> str:
    """That nobody has said which fixed value it is; empty where they have. None is one: it clears
    the field."""
    if is_unfilled(transformation):
        return Phrase(_("%(field)s: the value is not filled in yet"), field=field.label)
    return ""


def is_unfilled(transformation: Transformation) -> bool:
    """Whether it has a fixed value that nobody has given."""
    return transformation.kind in (Kind.STATIC, Kind.DEFAULT) and transformation.value in ("", [])


def untranslated(
    transformation: Transformation, field: RemoteField, payload_schema: Mapping[str, Any]
) -> str:
    """What is wrong with some of the values that a payload key may have; empty where nothing is."""
    kind, known, otherwise = transformation.kind, transformation.values, transformation.fallback
    if kind in KEYED and not transformation.key:
        return ""  # first of all it has to be chosen
    if kind is Kind.VALUE_MAP:
        if otherwise == "" or (not known and otherwise is MISSING):
            return Phrase(_("%(field)s: say what the values become"), field=field.label)
        for value in (*known.values(), *(() if otherwise is MISSING else (otherwise,))):
            if error := _of_value(value, field):
                return error
    elif kind not in (Kind.DIRECT, Kind.DEFAULT):
        return ""
    choices = {choice.value for choice in field.choices}
    if not choices or otherwise is not MISSING or field.type not in _LISTS:
        return ""
    asked = enum_values(described(payload_schema, transformation.key))
    left = [text for text in map(as_text, asked) if text not in known and text not in choices]
    if not left:
        return ""
    text = _("%(field)s doesn't know these values: %(values)s")
    return Phrase(text, field=field.label, values=", ".join(left))


def _of_value(value: Any, field: RemoteField) -> str:
    """The same of one value, which is what it is; an empty one clears the field."""
    given = to_remote(value, field.type)
    choices = [choice.value for choice in field.choices]
    if given in (None, "", []):
        return ""
    if choices and field.type in _LISTS:
        every = given if isinstance(given, list) else [given]
        wrong = ", ".join(as_text(one) for one in every if one not in choices)
        text, known = _("“%(value)s” is no choice of %(field)s: %(choices)s"), ", ".join(choices)
        return Phrase(text, value=wrong, field=field.label, choices=known) if wrong else ""
    if not _is_other(given, field.type):
        return ""
    text = _("%(field)s is of type %(type)s, which “%(value)s” is not")
    return Phrase(text, field=field.label, type=field.type, value=as_text(value))


def _is_other(value: Any, wanted: RemoteType) -> bool:
    if wanted is RemoteType.INTEGER and isinstance(value, float):
        return not value.is_integer()
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
