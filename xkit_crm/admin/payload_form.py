"""A form made of a payload schema, whatever it describes: typed boxes, groups and lists.

What is in the boxes is kept flat, by names such as `p.address.city` and `p.tags.0`, as a browser
sends it. `flat` makes it of a payload, `payload_of` makes the payload of it; an empty box is left
out. What is wrong with the payload is told by the event's validator, and shown at its box.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from xkit_crm import schema
from xkit_crm.exceptions import Problem
from xkit_crm.schema.wording import at

#: What every name begins with, and how paths of problems do.
ROOT: Final = "p"
PATH: Final = "payload"
#: Entries of a list that the form shows.
MAX_ENTRIES: Final = 100
#: Says that a value is null, and that a list is sent though it is empty.
_NULL: Final = ":null"
_GIVEN: Final = ":given"

Flat = Mapping[str, str]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Box:
    """One value of the payload, or a group or list of them."""

    name: str
    label: str
    #: `group`, `list`, `select`, `textarea`, or the type of an input.
    kind: str
    value: str = ""
    placeholder: str = ""
    description: str = ""
    required: bool = False
    #: Whether null can be sent, and whether it is.
    nullable: bool = False
    is_null: bool = False
    #: Whether a list is sent though it is empty.
    is_given: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    max_length: int | None = None
    inside: tuple[Box, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return "id_" + self.name.replace(".", "_")


# -- from a payload to boxes ----------------------------------------------------------------------


def flat(described: Schema, payload: Mapping[str, Any]) -> dict[str, str]:
    """A payload as the boxes of the form hold it."""
    found: dict[str, str] = {}
    for key, description in described.items():
        if key in payload:
            found |= _flat(f"{ROOT}.{key}", description, payload[key])
    return found


def _flat(name: str, description: Schema, value: Any) -> dict[str, str]:
    if value is None:
        return {name + _NULL: "on"}
    found: dict[str, str] = {}
    if _is_group(description) and isinstance(value, Mapping):
        for key, below in description["properties"].items():
            if key in value:
                found |= _flat(f"{name}.{key}", below, value[key])
        return found
    if _is_list(description) and isinstance(value, list):
        for index, item in enumerate(value[:MAX_ENTRIES]):
            found[f"{name}.{index}"] = ""
            found |= _flat(f"{name}.{index}", description["items"], item)
        return found | {name + _GIVEN: "on"}
    return {name: _text(description, value)}


def _text(description: Schema, value: Any) -> str:
    if description.get("enum") or not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if description.get("format") == "datetime" and (moment := _moment(value)):
        there = timezone.make_naive(moment)
        return there.isoformat(timespec="milliseconds" if there.microsecond else "seconds")
    return value


def _moment(text: str) -> Any:
    """An aware moment, or None; one without a zone is of the current one."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def boxes(
    described: Schema, given: Flat, problems: Sequence[Problem] = ()
) -> tuple[tuple[Box, ...], list[Problem]]:
    """The form's boxes with what is in them, each with what is wrong with it; and the problems that
    none of them shows."""
    known = _Problems(list(problems))
    found = tuple(
        _box(f"{ROOT}.{key}", at(PATH, key), key, description, given, known)
        for key, description in described.items()
    )
    return found, known.left


@dataclass(frozen=True, slots=True)
class _Problems:
    #: Those that no box has shown yet.
    left: list[Problem]

    def take(self, path: str, *, below: bool) -> tuple[str, ...]:
        """Those at this path, or also below it; a box shows them now."""
        found = [p for p in self.left if (p.is_at(path) if below else p.path == path)]
        self.left[:] = [p for p in self.left if p not in found]
        return tuple(p.error for p in found)


def _box(name: str, path: str, key: str, description: Schema, given: Flat, known: _Problems) -> Box:
    inside: tuple[Box, ...] = ()
    kind, choices = _kind(description)
    if kind == "group":
        inside = tuple(
            _box(f"{name}.{one}", at(path, one), one, below, given, known)
            for one, below in description["properties"].items()
        )
    elif kind == "list":
        items = description["items"]
        inside = tuple(
            _box(f"{name}.{index}", at(path, place), str(place + 1), items, given, known)
            for place, index in enumerate(_indexes(given, name))
        )
    return Box(
        name,
        schema.label_for(key, description),
        kind,
        value=given.get(name, ""),
        placeholder=_placeholder(key, description) if kind not in ("group", "list") else "",
        description=str(description.get("description", "")),
        required=bool(description.get("required")),
        nullable=bool(description.get("nullable", True)),
        is_null=name + _NULL in given,
        is_given=name + _GIVEN in given,
        choices=choices,
        max_length=description.get("maxLength"),
        inside=inside,
        errors=known.take(path, below=not inside),
    )


def _is_group(description: Schema) -> bool:
    return description["type"] == "object" and bool(description.get("properties"))


def _is_list(description: Schema) -> bool:
    return description["type"] == "array" and bool(description.get("items"))


_INPUTS: Final = {"date": "date", "datetime": "datetime-local", "email": "email", "uri": "url"}


def _kind(description: Schema) -> tuple[str, tuple[tuple[str, str], ...]]:
    if entries := description.get("enum"):
        return "select", tuple(map(_choice, entries))
    match description["type"]:
        case "boolean":
            return "select", (("true", "true"), ("false", "false"))
        case "integer" | "number":
            return "number", ()
        case "object":
            return ("group" if _is_group(description) else "textarea"), ()
        case "array":
            return ("list" if _is_list(description) else "textarea"), ()
    as_format = description.get("format", "")
    return "textarea" if as_format == "text" else _INPUTS.get(as_format, "text"), ()


def _choice(entry: Any) -> tuple[str, str]:
    value = entry["value"] if isinstance(entry, Mapping) else entry
    label = entry.get("label") if isinstance(entry, Mapping) else None
    return json.dumps(value, ensure_ascii=False), str(label or value)


def _placeholder(key: str, description: Schema) -> str:
    """What could be there; the sample of an event is made of the same."""
    value = schema.sample({key: description})[key]
    if isinstance(value, str):
        return value
    return json.dumps(value or ({} if description["type"] == "object" else []), ensure_ascii=False)


# -- from boxes to a payload ----------------------------------------------------------------------

_LEFT_OUT: Final = object()


def payload_of(described: Schema, given: Flat) -> dict[str, Any]:
    """The payload that was filled in. What can't be read is kept as its text, of which the event's
    validator says what it should be."""
    found = {key: _read(f"{ROOT}.{key}", below, given) for key, below in described.items()}
    return {key: value for key, value in found.items() if value is not _LEFT_OUT}


def _read(name: str, description: Schema, given: Flat) -> Any:
    if name + _NULL in given:
        return None
    if _is_group(description):
        return _group(name, description, given)
    if _is_list(description):
        entries = [
            _read(f"{name}.{index}", description["items"], given) for index in _indexes(given, name)
        ]
        entries = [entry for entry in entries if entry is not _LEFT_OUT]
        return entries if entries or name + _GIVEN in given else _LEFT_OUT
    text = given.get(name, "")
    return _value(text, description) if text.strip() else _LEFT_OUT


def _group(name: str, description: Schema, given: Flat) -> Any:
    found = {
        key: _read(f"{name}.{key}", below, given)
        for key, below in description["properties"].items()
    }
    values = {key: value for key, value in found.items() if value is not _LEFT_OUT}
    return values or _LEFT_OUT


def _value(text: str, description: Schema) -> Any:
    if description.get("enum") or description["type"] in ("boolean", "object", "array"):
        return _json(text)
    if description["type"] in ("integer", "number"):
        number = _json(text.strip())
        return number if isinstance(number, int | float) else text
    if description.get("format") == "datetime" and (moment := _moment(text)):
        return schema.to_json(moment)
    return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _indexes(given: Flat, name: str) -> list[int]:
    """The entries of a list that are there, in order."""
    begin = f"{name}."
    rests = (one[len(begin) :] for one in given if one.startswith(begin))
    heads = {re.split("[.:]", rest, maxsplit=1)[0] for rest in rests}
    return sorted(int(head) for head in heads if head.isdecimal() and len(head) < 6)[:MAX_ENTRIES]


# -- lists that grow and shrink -------------------------------------------------------------------


def sent(data: Mapping[str, Any]) -> dict[str, str]:
    """The boxes among what was sent. `_add` names a list that gets one entry more, `_remove` an
    entry that goes."""
    found = {name: str(data[name]) for name in data if name.startswith(f"{ROOT}.")}
    if (name := str(data.get("_add", ""))).startswith(f"{ROOT}."):
        found[f"{name}.{max(_indexes(found, name), default=-1) + 1}"] = ""
    if (name := str(data.get("_remove", ""))).startswith(f"{ROOT}."):
        gone = (f"{name}.", f"{name}:")
        found = {one: v for one, v in found.items() if one != name and not one.startswith(gone)}
    return found
