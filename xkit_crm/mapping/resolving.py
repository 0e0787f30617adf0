"""Payload -> remote values, and remote values -> the CRM object's fields.

The pipeline and previews call this for every invocation, so an action is parsed once and applied
many times. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.mapping.conversion import as_date, as_datetime, as_text, to_remote
from xkit_crm.mapping.erased import is_erased
from xkit_crm.mapping.sameness import is_empty, same
from xkit_crm.mapping.transformations import (
    KEYED,
    MISSING,
    Action,
    Kind,
    ObjectMap,
    Transformation,
    WriteMode,
)
from xkit_crm.providers.base import Criterion, Operator, RemoteField


def resolve(
    action: Action,
    payload: Mapping[str, Any],
    *,
    fields: Mapping[str, RemoteField] | None,
    creating: bool,
    current: Mapping[str, Any] | None,
    ours: Collection[str] | None = None,
) -> dict[str, Any]:
    """The remote values to write, by remote field.

    A payload key that is missing writes nothing, null clears the field. `fields` is the remote
    object's description, by which values are converted; `current` the record's values, needed
    for those of `needs_current`. `ours` names the fields that nobody but us has filled; where it
    is None, only those are taken for ours that are empty. Raises `PayloadInvalid` for a payload
    that was erased.
    """
    _refuse_erased(payload)
    values: dict[str, Any] = {}
    for transformation in action.transformations:
        updating = transformation.mode is not WriteMode.ALWAYS and not creating
        if updating and _is_skipped(transformation, current):
            continue
        value = _value(transformation, payload)
        if value is MISSING:
            continue
        value = _converted(transformation, value, fields)
        if updating and _is_theirs(transformation, value, current, ours):
            continue
        values[transformation.field] = value
    return values


def _is_skipped(transformation: Transformation, current: Mapping[str, Any] | None) -> bool:
    """Whether an update leaves the field alone whatever the payload has for it."""
    if transformation.mode is WriteMode.WHEN_EMPTY:
        return current is not None and not _is_empty(current.get(transformation.field))
    return transformation.mode is WriteMode.ON_CREATE


def _is_theirs(
    transformation: Transformation,
    value: Any,
    current: Mapping[str, Any] | None,
    ours: Collection[str] | None,
) -> bool:
    """Whether an update leaves a protected field alone, since somebody filled it in the CRM.

    Not where it has the very value already: then an earlier try wrote it whose answer was lost,
    and written again it is known to be ours again.
    """
    if transformation.mode is not WriteMode.PROTECT or current is None:
        return False
    there = current.get(transformation.field)
    mine = is_empty(there) if ours is None else transformation.field in ours
    return not mine and not same(there, value)


def _refuse_erased(payload: Mapping[str, Any]) -> None:
    if is_erased(payload):
        raise PayloadInvalid(
            "The payload of this invocation was erased, so there is nothing to send.",
            hint="Fire the event again, with what may be sent today.",
        )


def _converted(
    transformation: Transformation, value: Any, fields: Mapping[str, RemoteField] | None
) -> Any:
    field = fields.get(transformation.field) if fields is not None else None
    return to_remote(value, field.type if field else None)


def _value(transformation: Transformation, payload: Mapping[str, Any]) -> Any:
    kind = transformation.kind
    if kind is Kind.DIRECT:
        return transformation.read(payload)
    if kind is Kind.STATIC:
        return transformation.value
    if kind is Kind.EMPTY:
        return MISSING
    if kind is Kind.TEMPLATE:
        return _filled_in(transformation, payload)
    value = transformation.read(payload)
    if kind is Kind.DEFAULT:
        return transformation.value if value is MISSING or value is None else value
    if kind is Kind.DATE:
        return value
    return _mapped(transformation, value)


def _mapped(transformation: Transformation, value: Any) -> Any:
    """What the map has for the value; the fallback, or without one the value as it is."""
    if value is MISSING or value is None or isinstance(value, dict | list):
        return value
    text = as_text(value)
    if text in transformation.values:
        return transformation.values[text]
    return value if transformation.fallback is MISSING else transformation.fallback


def _filled_in(transformation: Transformation, payload: Mapping[str, Any]) -> Any:
    """The template's text; nothing where it has placeholders and none of them has a value."""
    text, asked, found = "", False, False
    for literal, read in transformation.template:
        text += literal
        if read is None:
            continue
        asked = True
        value = read(payload)
        if value is not MISSING and value is not None:
            found = True
            text += as_text(value)
    return MISSING if asked and not found else text


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == []


def needs_current(action: Action) -> tuple[str, ...]:
    """The remote fields whose values have to be known before an update can be resolved."""
    asked = (WriteMode.WHEN_EMPTY, WriteMode.PROTECT)
    return tuple(t.field for t in action.transformations if t.mode in asked)


def protected(action: Action) -> tuple[str, ...]:
    """The remote fields that are left alone once somebody edits them in the CRM."""
    return tuple(t.field for t in action.transformations if t.mode is WriteMode.PROTECT)


def sources(action: Action) -> dict[str, str]:
    """Which payload path feeds each remote field: `{"Name": "payload.name"}`."""
    return {t.field: f"payload.{t.key}" for t in action.transformations if t.kind in KEYED}


def criteria(
    action: Action,
    payload: Mapping[str, Any],
    *,
    fields: Mapping[str, RemoteField] | None = None,
) -> list[Criterion]:
    """The conditions of a search; a payload key that is missing or null makes none.

    With `fields` a value that has to be equal is converted as a written one is, or a date would
    never equal a datetime. One that has to be contained is a part of a text, and stays. Raises
    `PayloadInvalid` for a payload that was erased.
    """
    _refuse_erased(payload)
    found = ((t, _value(t, payload)) for t in action.transformations)
    return [
        Criterion(
            t.field,
            t.operator,
            _converted(t, value, fields if t.operator is Operator.EQUALS else None),
        )
        for t, value in found
        if value is not MISSING and value is not None
    ]


def remote_fields(object_map: ObjectMap) -> tuple[str, ...]:
    """Every remote field that feeds a field of the CRM object, each once."""
    names: dict[str, None] = {}
    for feed in object_map.fields.values():
        names |= dict.fromkeys([feed] if isinstance(feed, str) else feed.values())
    return tuple(names)


def read_back(
    object_map: ObjectMap, fields: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The CRM object's `fields` from a record's values.

    What is not mapped or empty is None, and a string field gives text whatever feeds it; an object
    field holds its entries that have a value, and is `{}` where there are none.
    """
    found: dict[str, Any] = {}
    for key, description in fields.items():
        feed = object_map.fields.get(key)
        if description.get("type") == "object":
            entries = feed.items() if isinstance(feed, Mapping) else [(feed, feed)] if feed else []
            read = {name: values.get(remote) for name, remote in entries}
            found[str(key)] = {str(n): v for n, v in read.items() if not _is_empty(v)}
            continue
        value = values.get(feed) if isinstance(feed, str) else None
        if value == "":
            value = None
        elif description.get("format") == "date":
            value = as_date(value)
        elif description.get("format") == "datetime":
            value = as_datetime(value)
        elif description.get("type") == "string" and value is not None:
            value = as_text(value)
        found[key] = value
    return found
