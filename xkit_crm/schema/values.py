"""JSON values: made from Python's, and told from what JSON can't hold.

`sync/` and the door turn what a product hands over into JSON with `to_json`; the validator asks
whether what it was given is JSON at all. A Django model instance is told by its `_meta` and `pk`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise

from xkit_crm.exceptions import PayloadInvalid, Problem
from xkit_crm.schema.wording import at, noun

_PLAIN = frozenset({str, int, float, bool, type(None)})
#: JSON has no limit, but readers hold numbers as doubles: 2 ** 1024 is the first beyond them.
_MAX_BITS = 1024
#: Far more than a schema allows; a deeper value is a mistake or an attack.
_MAX_DEPTH = 64
#: Decimals without a fraction are written out up to here: beyond, 1E+999999 would fill the memory.
_MAX_DIGITS = 40

Steps = tuple[object, ...]


# -- from Python's values --------------------------------------------------------------------------


def to_json(value: Any, *, path: str = "payload") -> Any:
    """The value as JSON; the argument is left as it is.

    - An aware datetime becomes ISO 8601 in UTC with `Z`; a naive one is of the current time zone.
    - date and time become ISO 8601, a timedelta an ISO 8601 duration (`P1DT02H03M04S`).
    - A Decimal becomes a number where that is exact (all integers, 15 digits with a fraction),
      and the text of its digits otherwise: nothing is rounded in silence.
    - UUIDs and lazy strings become strings, an Enum its value, a model instance its primary key.
    - Mappings become objects; lists, tuples, sets (sorted), querysets and generators arrays.

    Anything else, such as bytes, raises `PayloadInvalid` with the path of each.
    """
    problems: list[Problem] = []
    converted = _convert(value, (), path, problems)
    if problems:
        raise PayloadInvalid(
            "The payload has values that JSON can't hold.",
            hint="Turn them into strings, numbers, booleans, dates, lists or mappings first.",
            errors=problems,
        )
    return converted


def _convert(value: Any, steps: Steps, path: str, problems: list[Problem]) -> Any:
    if type(value) in _PLAIN:
        return value
    if len(steps) > _MAX_DEPTH:
        problems.append(Problem(at(path, *steps[:3]) + "…", "is nested too deep"))
        return None
    for kind, converted in _CONVERSIONS:
        if isinstance(value, kind):
            return _convert(converted(value), steps, path, problems)
    if isinstance(value, Mapping):
        return {
            key if type(key) is str else str(_convert(key, steps, path, problems)): item
            if type(item) in _PLAIN
            else _convert(item, (*steps, key), path, problems)
            for key, item in value.items()
        }
    if _is_array(value):
        items = [
            _convert(item, (*steps, index), path, problems) for index, item in enumerate(value)
        ]
        # The order of a set differs from process to process; a payload's must not.
        return sorted(items, key=repr) if isinstance(value, Set) else items
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return _convert(value.pk, steps, path, problems)
    problems.append(Problem(at(path, *steps), f"is {noun(value)}, which JSON can't hold"))
    return None


def _is_array(value: Any) -> bool:
    if isinstance(value, bytes | bytearray | memoryview):
        return False
    if isinstance(value, Sequence | Set | Iterator):
        return True
    return isinstance(value, Iterable) and hasattr(value, "query")  # a queryset


def _utc(value: dt.datetime) -> str:
    if timezone.is_naive(value):
        value = timezone.make_aware(value)
    try:
        value = value.astimezone(dt.UTC)
    except OverflowError:
        # The first and last hours of the calendar don't exist in UTC.
        return value.isoformat()
    return value.isoformat().removesuffix("+00:00") + "Z"


def _number(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)
    if value.adjusted() < _MAX_DIGITS and value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if isfinite(number) and Decimal(repr(number)) == value else str(value)


#: The first that fits is taken: an Enum may be a string too, and a datetime is a date.
_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda member: member.value),
    (str, str.__str__),  # a subclass, such as a template's SafeString
    (int, int),
    (float, float),
    (Decimal, _number),
    (dt.datetime, _utc),
    (dt.date, dt.date.isoformat),
    (dt.time, dt.time.isoformat),
    (dt.timedelta, duration_iso_string),
    (UUID, str),
    (Promise, str),
)


def storable(value: Any) -> Any:
    """The value of another system as JSON that every database holds. Never raises.

    What JSON doesn't know becomes text, and NUL characters and half surrogate pairs are left out.
    """
    if is_json(value):  # mostly it is
        return value
    if isinstance(value, str):
        if _is_storable(value):
            return value
        return value.encode(errors="ignore").decode().replace("\0", "")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {
            key if type(key) is str and _is_storable(key) else storable(str(key)): storable(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    try:
        return storable(to_json(value))
    except PayloadInvalid:
        return storable(str(value))


# -- told from what JSON can't hold ----------------------------------------------------------------


def is_json(value: Any) -> bool:
    """Whether every part of a value is one JSON and every database can hold. Fast.

    For values whose depth is known to be small; `json_problems` says what is wrong.
    """
    kind = type(value)
    if kind is str:
        return _is_storable(value)
    if kind is bool or value is None:
        return True
    if kind is int:
        return bool(value.bit_length() <= _MAX_BITS)
    if kind is float:
        return isfinite(value)
    if kind is dict:
        return _is_storable("".join(value)) and all(map(is_json, value.values()))
    return kind is list and all(map(is_json, value))


def json_problems(value: Any, path: str, depth: int = 0) -> Iterator[Problem]:
    """Every part of a value that JSON or a database can't hold, with its path. Never raises."""
    if depth > _MAX_DEPTH:
        yield Problem(path, "is nested too deep")
    elif isinstance(value, dict):
        for key, item in value.items():
            if error := _scalar_error(key) if type(key) is str else "has a key that is no string":
                yield Problem(at(path, key), error)
            else:
                yield from json_problems(item, at(path, key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from json_problems(item, at(path, index), depth + 1)
    elif error := _scalar_error(value):
        yield Problem(path, error)


def _scalar_error(value: Any) -> str | None:
    kind = type(value)
    if kind not in _PLAIN:
        return f"is {noun(value)}, not a JSON value"
    if kind is str and "\x00" in value:
        return "has a NUL character, which databases can't hold"
    if kind is str and not _is_storable(value):
        return "is not Unicode text: it has half of a surrogate pair"
    if (kind is int and value.bit_length() > _MAX_BITS) or (kind is float and not isfinite(value)):
        return "is not a finite number"
    return None


def _is_storable(text: str) -> bool:
    return "\x00" not in text and (text.isascii() or _is_unicode(text))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
