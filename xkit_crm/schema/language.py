"""The words of Xkit-flavored JSON: types, formats, keywords and limits, in one place.

The other modules of this package read them here; nothing here looks at a payload.

A schema is an object of keys to descriptions, a description is `{type, label, ...}`:

- Every description has a `type`.
- A key is optional unless `required`, and its value may be null unless `nullable` is false.
- An object without `properties`, or with none in them, is user-defined: any keys, each with a
  string, number, boolean or null.
- An array without `items` holds any of these too.
- `required` and `default` describe; nobody fills a default in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

MAX_DEPTH = 8
MAX_KEYS = 500

SCALARS = ("string", "number", "integer", "boolean")
TYPES = (*SCALARS, "object", "array")

#: Keyword -> the types that it may describe.
KEYWORDS: dict[str, tuple[str, ...]] = {
    "type": TYPES,
    "label": TYPES,
    "description": TYPES,
    "format": ("string",),
    "properties": ("object",),
    "items": ("array",),
    "enum": SCALARS,
    "required": TYPES,
    "nullable": TYPES,
    "default": TYPES,
    "example": TYPES,
    "maxLength": ("string",),
    "minimum": ("number", "integer"),
    "maximum": ("number", "integer"),
}


@dataclass(frozen=True, slots=True)
class Format:
    """A format of strings: what people call it, an example, and its name in JSON Schema."""

    noun: str
    example: str
    json_schema: str


#: Without `text`, which is any string and only says that it has many lines.
FORMATS = {
    "date": Format("an ISO 8601 date", "2022-05-17", "date"),
    "datetime": Format("an ISO 8601 date-time", "2022-05-17T23:17:53Z", "date-time"),
    "email": Format("an email address", "ada@example.com", "email"),
    "uri": Format("a URI", "https://example.com", "uri"),
    "uuid": Format("a UUID", "0190163d-8694-739b-aea5-966c26f8ad91", "uuid"),
}
TEXT = "text"
#: Other spellings that are read, and what is written for them.
FORMAT_SPELLINGS = {"date-time": "datetime"}


def format_of(description: Mapping[str, Any]) -> Format | None:
    """The format of a string, or None where any string will do."""
    name = description.get("format", TEXT)
    return FORMATS.get(FORMAT_SPELLINGS.get(name, name))


def is_nullable(description: Mapping[str, Any]) -> bool:
    """Whether the value may be null; it may unless the description says otherwise."""
    return bool(description.get("nullable", True))


def enum_values(description: Mapping[str, Any]) -> list[Any]:
    """The values of an `enum` without their labels; empty where there is none."""
    return [
        entry["value"] if isinstance(entry, Mapping) else entry
        for entry in description.get("enum", ())
    ]


def exact(number: float) -> Decimal:
    """A number as its digits say, which is how JSON and the validator compare.

    The float 1e23 is 99999999999999991611392 to Python, and a one with 23 zeros to JSON.
    """
    return Decimal(repr(number))


def limits(description: Mapping[str, Any]) -> tuple[Any, Any]:
    """The lowest and the highest number allowed, None where there is no limit.

    Those of an integer are integers: from 0.5 means from 1.
    """
    low, high = description.get("minimum"), description.get("maximum")
    if description["type"] == "integer":
        low = low if low is None else int(exact(low).to_integral_value(ROUND_CEILING))
        high = high if high is None else int(exact(high).to_integral_value(ROUND_FLOOR))
    return low, high


def label_for(key: str, description: Mapping[str, Any] | None = None) -> str:
    """What a customer sees for a key: its `label`, or the key made readable.

    `updated_at` and `updatedAt` become "Updated at", `externalID` becomes "External ID".
    """
    if description and description.get("label"):
        return str(description["label"])
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", key).split()
    readable = " ".join(word if word.isupper() else word.lower() for word in words)
    return readable[:1].upper() + readable[1:] or key


def normalise(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in one spelling, as it is stored: `date-time` becomes `datetime`.

    Takes a schema without problems and leaves it as it is; the order of keys is kept.
    """
    return {key: _normalise(description) for key, description in schema.items()}


def _normalise(description: Mapping[str, Any]) -> dict[str, Any]:
    normal = dict(description)
    if normal.get("format") in FORMAT_SPELLINGS:
        normal["format"] = FORMAT_SPELLINGS[normal["format"]]
    if "properties" in normal:
        normal["properties"] = normalise(normal["properties"])
    if "items" in normal:
        normal["items"] = _normalise(normal["items"])
    return normal
