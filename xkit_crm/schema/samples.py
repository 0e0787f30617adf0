"""Sample payloads: what the admin, the preview and the documentation show first.

A sample always validates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm.schema.language import enum_values, format_of, label_for, limits


def sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A valid payload with every key, from a schema without problems.

    A value is the `example`, else the `default`, else the first of the `enum`, else a plausible
    one by type and format.
    """
    return {key: _value(key, description) for key, description in schema.items()}


def _value(key: str, description: Mapping[str, Any]) -> Any:
    for keyword in ("example", "default"):
        if description.get(keyword) is not None:
            return description[keyword]
    if values := enum_values(description):
        return values[0]
    match description["type"]:
        case "string":
            wanted = format_of(description)
            text = wanted.example if wanted else label_for(key, description)
            return text[: description.get("maxLength")]
        case "integer" | "number":
            return _number(description)
        case "boolean":
            return True
        case "array":
            return [_value(key, description["items"])] if description.get("items") else []
        case _:
            return sample(description.get("properties", {}))


def _number(description: Mapping[str, Any]) -> int | float:
    """1, or the number nearest to it within the limits."""
    low, high = limits(description)
    number: int | float = 1 if low is None else max(1, low)
    return number if high is None else min(number, high)
