"""Schemas against the rules of Xkit-flavored JSON: every mistake at once, each with its path.

Models, definitions and the admin call `check` before a schema is stored. It takes any JSON
whatsoever, and works in two steps: each keyword for itself, then whether those that are right
agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.utils.functional import Promise

from xkit_crm.exceptions import Problem
from xkit_crm.schema.language import (
    FORMAT_SPELLINGS,
    FORMATS,
    KEYWORDS,
    MAX_DEPTH,
    MAX_KEYS,
    SCALARS,
    TEXT,
    TYPES,
    enum_values,
    exact,
    format_of,
    limits,
)
from xkit_crm.schema.translation import description_schema
from xkit_crm.schema.validator import Validator
from xkit_crm.schema.values import is_json
from xkit_crm.schema.wording import (
    MAX_SLUG_LENGTH,
    at,
    is_key,
    listed,
    noun,
    quoted,
    unknown,
)

_FORMAT_NAMES = (*FORMATS, TEXT)


def check(schema: object, *, path: str = "payloadSchema") -> list[Problem]:
    """Every mistake of a schema with its path, such as `payloadSchema.updated_at.format`.

    Takes any value; none is found where it is a schema. Never raises.
    """
    if (keys := _count_keys(schema, MAX_DEPTH)) > MAX_KEYS:
        return [Problem(path, f"holds {keys} keys, but at most {MAX_KEYS} are allowed")]
    return list(_keys(schema, path, 1))


def _count_keys(schema: object, depth: int) -> int:
    if not isinstance(schema, Mapping) or depth == 0:
        return 0
    below = (_count_below(description, depth) for description in schema.values())
    return len(schema) + sum(below)


def _count_below(description: object, depth: int) -> int:
    if not isinstance(description, Mapping) or depth == 0:
        return 0
    inside = _count_keys(description.get("properties"), depth - 1)
    return inside + _count_below(description.get("items"), depth - 1)


def _keys(schema: object, path: str, depth: int) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        yield Problem(path, f"must be an object of keys and descriptions, but is {noun(schema)}")
        return
    for key, description in schema.items():
        below = at(path, key)
        if not is_key(key):
            yield Problem(
                below,
                "is no key: use letters, digits, _ and -, begin with a letter or _, "
                f"and take at most {MAX_SLUG_LENGTH} characters",
            )
        yield from _description(description, below, depth)


def _description(description: object, path: str, depth: int) -> Iterator[Problem]:
    if depth > MAX_DEPTH:
        yield Problem(path, f"is nested more than {MAX_DEPTH} deep")
        return
    if not isinstance(description, Mapping):
        yield Problem(
            path, f'must be an object such as {{"type": "string"}}, not {noun(description)}'
        )
        return
    problems: list[Problem] = []
    sound: dict[str, Any] = {}
    if "type" not in description:
        problems.append(Problem(at(path, "type"), f"is required; known are {listed(TYPES)}"))
    for keyword, value in description.items():
        found = list(_keyword(keyword, value, description.get("type"), at(path, keyword), depth))
        problems += found
        if not found:
            sound[keyword] = value
    # What is right is compared even where something else is wrong; only what a value may hold
    # can't be guessed.
    if "type" in sound and sound.keys() >= description.keys() & {"properties", "items"}:
        problems += _agreement(sound, path)
    yield from problems


# -- each keyword for itself -----------------------------------------------------------------------


def _keyword(
    keyword: object, value: object, kind: object, path: str, depth: int
) -> Iterator[Problem]:
    allowed = KEYWORDS.get(keyword) if isinstance(keyword, str) else None
    if allowed is None:
        yield Problem(path, unknown("keyword", keyword, KEYWORDS))
    elif kind in TYPES and kind not in allowed:
        yield Problem(path, f"is for {' or '.join(allowed)} only, not for {kind}")
    elif keyword == "properties":
        yield from _keys(value, path, depth + 1)
    elif keyword == "items":
        yield from _description(value, path, depth + 1)
    elif keyword == "enum":
        yield from _enum(value, path)
    elif (rule := _RULES.get(str(keyword))) and (error := rule(value)):
        yield Problem(path, error)


def text_error(value: object) -> str | None:
    """What is wrong with a text for people, such as a label; lazily translated ones are fine."""
    if isinstance(value, Promise):
        return None
    if not isinstance(value, str):
        return f"must be a string, but is {noun(value)}"
    return None if _is_storable(value) else "has characters that no database can hold"


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _flag_error(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, but is {quoted(value)}"


def _type_error(value: object) -> str | None:
    return None if value in TYPES else _unknown_name("type", value, TYPES)


def _format_error(value: object) -> str | None:
    known = isinstance(value, str) and (value in _FORMAT_NAMES or value in FORMAT_SPELLINGS)
    return None if known else _unknown_name("format", value, _FORMAT_NAMES)


def _unknown_name(what: str, value: object, known: tuple[str, ...]) -> str:
    return unknown(f"{what} {quoted(value)}", value, known)


def _length_error(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return None
    return f"must be a positive integer, but is {quoted(value)}"


def _number_error(value: object) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and is_json(value):
        return None
    return f"must be a finite number, but is {quoted(value)}"


_RULES: dict[str, Callable[[object], str | None]] = {
    "type": _type_error,
    "format": _format_error,
    "label": text_error,
    "description": text_error,
    "required": _flag_error,
    "nullable": _flag_error,
    "maxLength": _length_error,
    "minimum": _number_error,
    "maximum": _number_error,
}


def _enum(entries: object, path: str) -> Iterator[Problem]:
    if not isinstance(entries, list | tuple):
        yield Problem(path, f"must be a list of values, but is {noun(entries)}")
        return
    if not entries:
        yield Problem(path, "is empty; leave it out or list the values")
    seen = set()
    for index, entry in enumerate(entries):
        value, below = entry, at(path, index)
        if isinstance(entry, Mapping):
            yield from _labelled_value(entry, below)
            if "value" not in entry:
                continue
            value, below = entry["value"], at(below, "value")
        if value is None:
            yield Problem(below, "null is no choice: whether it is allowed is what `nullable` says")
        elif not isinstance(value, str | int | float):
            yield Problem(below, f"must be {listed(SCALARS)} or {{value, label}}")
        # A boolean equals 0 or 1 in Python, but not in JSON.
        elif (identity := (isinstance(value, bool), value)) in seen:
            yield Problem(below, f"{quoted(value)} is listed twice")
        else:
            seen.add(identity)


def _labelled_value(entry: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    for keyword in entry:
        if keyword not in ("value", "label"):
            yield Problem(at(path, keyword), unknown("keyword", keyword, ("value", "label")))
    if "value" not in entry:
        yield Problem(at(path, "value"), "is required")
    if "label" in entry and (error := text_error(entry["label"])):
        yield Problem(at(path, "label"), error)


# -- whether they agree ----------------------------------------------------------------------------


def _agreement(description: Mapping[str, Any], path: str) -> Iterator[Problem]:
    problems = list(_room(description, path))
    if not problems:
        problems += _enum_fits(description, path)
    if not problems:
        problems += _defaults_fit(description, path)
    yield from problems


def _room(description: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """That the limits leave room for a value."""
    if description["type"] in ("integer", "number"):
        low, high = limits(description)
        if low is not None and high is not None and exact(low) > exact(high):
            minimum, maximum = description["minimum"], description["maximum"]
            none = (
                "is over the maximum"
                if exact(minimum) > exact(maximum)
                else "leaves no integer below the maximum"
            )
            yield Problem(at(path, "minimum"), f"{none} of {quoted(maximum)}")
    wanted = format_of(description)
    if wanted and description.get("maxLength", len(wanted.example)) < len(wanted.example):
        yield Problem(
            at(path, "maxLength"), f"leaves no room for {wanted.noun}, such as {wanted.example}"
        )


def _enum_fits(description: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if "enum" not in description:
        return
    bare = {keyword: value for keyword, value in description.items() if keyword != "enum"}
    validator = _validator(bare)
    for index, value in enumerate(enum_values(description)):
        below = at(path, "enum", index)
        if isinstance(description["enum"][index], Mapping):
            below = at(below, "value")
        yield from validator.validate(value, path=below)


def _defaults_fit(description: Mapping[str, Any], path: str) -> Iterator[Problem]:
    given = [keyword for keyword in ("default", "example") if keyword in description]
    if given:
        validator = _validator(description)
        for keyword in given:
            yield from validator.validate(description[keyword], path=at(path, keyword))


def _validator(description: Mapping[str, Any]) -> Validator:
    """For the values of one description, which are what is being checked: they are left out."""
    bare = {
        keyword: value
        for keyword, value in description.items()
        if keyword not in ("default", "example")
    }
    return Validator(description_schema(bare))
