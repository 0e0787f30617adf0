"""Which values Salesforce takes, and how it keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from xkit_crm.testing.fakes.salesforce import objects


def checksum(five: str) -> str:
    bits = sum(1 << n for n, character in enumerate(five) if character.isupper())
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits]


def moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def is_readable(kind: str, value: Any) -> bool:
    if value is None:
        return kind != "boolean"
    if kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if kind in ("double", "int", "currency"):
        return isinstance(value, int | float) or bool(re.fullmatch(r"-?\d+(\.\d+)?", value))
    if kind == "date":
        return bool(_parsed(date.fromisoformat, value))
    if kind == "datetime":
        return "T" in str(value) and bool(_parsed(datetime.fromisoformat, value))
    return isinstance(value, str)


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    try:
        return parse(value)
    except (TypeError, ValueError):
        return None


def wrong(field: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    name, kind = field["name"], field["type"]
    if isinstance(value, str) and field["length"] and len(value) > field["length"]:
        said = f"{field['label']}: data value too large: (max length={field['length']})"
        return "STRING_TOO_LONG", said
    if kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        return "INVALID_EMAIL_ADDRESS", f"{field['label']}: invalid email address: {value}"
    if kind in ("picklist", "multipicklist"):
        known = {one["value"] for one in field["picklistValues"] if one["active"]}
        if not set(str(value).split(";")) <= known:
            said = f"{field['label']}: bad value for restricted picklist field: {value}"
            return "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", said
    if kind == "reference" and not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", value):
        return "MALFORMED_ID", f"{field['label']}: id value of incorrect type: {name}"
    return None


def held(sobject: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """As they are kept: numbers with a fraction, moments in the one spelling."""
    fields = {one["name"]: one["type"] for one in objects.FIELDS[sobject]}
    held: dict[str, Any] = {}
    for name, value in values.items():
        kind = fields[name]
        if value == "":
            value = None
        elif value is not None and kind in ("double", "currency"):
            value = float(value)
        elif value is not None and kind == "datetime":
            value = moment(datetime.fromisoformat(value).astimezone(UTC))
        held[name] = value
    return held
