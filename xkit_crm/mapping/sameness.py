"""When two spellings are one value: what we wrote, and what a CRM makes of it.

A CRM gives back `10.0` for `10`, a datetime in its own zone and format, a null for an empty text.
`resolving.py` and the digests of `sync/` compare by this. Plain data in, plain data out; what a
field's type is, it doesn't know, so it takes for equal what is equal for some type.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

#: A number as a CRM spells it; `007` is no number, and nor is a telephone number.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:.*)?", re.ASCII)
_STARTS = frozenset("-0123456789")


def normal(value: Any) -> Any:
    """The one spelling of a value: a text, a sorted list of such, or an object of such.

    Equal are: null, an empty text, list and object; a number, however many zeros follow its point,
    and its text; a truth and its text; datetimes of one moment to the second, and a date and its
    midnight in UTC; texts but for blanks around them and how their lines end; picklist values in
    any order, in a list or with semicolons between them, and one value and a list of only that.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, int | Decimal):
        return _text(format(value, "f" if isinstance(value, Decimal) else "d"))
    if isinstance(value, Mapping):
        entries = {str(key): normal(entry) for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if entry != ""} or ""
    if isinstance(value, list | tuple | set | frozenset):
        return _picked(value)
    return _text(value.isoformat() if isinstance(value, date) else str(value))


def same(one: Any, other: Any) -> bool:
    """Whether both are spellings of one value."""
    return bool(normal(one) == normal(other))


def is_empty(value: Any) -> bool:
    """Whether the value is a spelling of nothing."""
    return bool(normal(value) == "")


def _text(text: str) -> Any:
    text = text.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if text[:1] in _STARTS:
        if found := _NUMBER.fullmatch(text):
            return _number(text, found[2])
        if _MOMENT.fullmatch(text):
            return _moment(text)
    if len(text) in (4, 5) and (lower := text.lower()) in ("true", "false"):
        return lower
    if ";" in text and all(parts := [part.strip() for part in text.split(";")]):
        return _picked(parts)
    return "\n".join(text.splitlines()) if "\r" in text else text


def _number(text: str, fraction: str | None) -> str:
    text = text.rstrip("0").rstrip(".") if fraction else text
    return "0" if text == "-0" else text


def _moment(text: str) -> str:
    """In UTC, to the second: more than that is lost in many CRMs."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return text
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _picked(values: Iterable[Any]) -> Any:
    found = {json.dumps(entry): entry for value in values if (entry := normal(value)) != ""}
    if len(found) <= 1:
        return next(iter(found.values()), "")
    return [found[key] for key in sorted(found)]
