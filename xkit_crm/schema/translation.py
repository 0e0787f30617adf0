"""From Xkit-flavored JSON to JSON Schema 2020-12.

Payloads are validated with what this gives, and the API documents events with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm.schema.language import enum_values, format_of, is_nullable, label_for

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: What a user-defined object or an array without `items` holds.
SCALAR_TYPES = ["string", "number", "boolean", "null"]


def json_schema(schema: Mapping[str, Any], *, title: str | None = None) -> dict[str, Any]:
    """The JSON Schema of payloads.

    Takes a schema without problems (see `check`), gives `{"$schema", "type": "object",
    "properties", "required", "additionalProperties": False}`, with `title` where one is given.
    """
    head = {"$schema": DIALECT} if title is None else {"$schema": DIALECT, "title": title}
    return {**head, "type": "object", **_closed(schema)}


def description_schema(description: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
    """The JSON Schema of one description's values; `key` gives the title where no label does."""
    kind = description["type"]
    nullable = is_nullable(description)
    translated: dict[str, Any] = {}
    if key or description.get("label"):
        translated["title"] = label_for(key or "", description)
    if description.get("description"):
        translated["description"] = str(description["description"])
    translated["type"] = [kind, "null"] if nullable else kind
    if wanted := format_of(description):
        translated["format"] = wanted.json_schema
    if values := enum_values(description):
        translated["enum"] = [*values, None] if nullable else values
    for keyword in ("maxLength", "minimum", "maximum", "default"):
        if keyword in description:
            translated[keyword] = description[keyword]
    if "example" in description:
        translated["examples"] = [description["example"]]
    if kind == "object":
        translated |= _below_object(description)
    if kind == "array":
        items = description.get("items")
        translated["items"] = description_schema(items) if items else {"type": SCALAR_TYPES}
    return translated


def _below_object(description: Mapping[str, Any]) -> dict[str, Any]:
    if properties := description.get("properties"):
        return _closed(properties)
    return {"additionalProperties": {"type": SCALAR_TYPES}}


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    closed: dict[str, Any] = {
        "properties": {
            key: description_schema(description, key=key) for key, description in schema.items()
        }
    }
    if required := [key for key, description in schema.items() if description.get("required")]:
        closed["required"] = required
    closed["additionalProperties"] = False
    return closed
