"""Which values Pipedrive takes, how it keeps them, and how it shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from xkit_crm.testing.fakes.contract import Request

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d:\d\d")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and bool(_DATE.fullmatch(value))


def _is_text(longest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= longest


def _is_object(check: Callable[[Any], bool], *parts: str) -> Callable[[Any], bool]:
    """Of a value, and perhaps some parts."""
    return lambda value: (
        isinstance(value, dict)
        and check(value.get("value"))
        and value.keys() <= {"value", *parts}
        and all(one is None or isinstance(one, str) for n, one in value.items() if n != "value")
    )


ADDRESS = (
    *("country", "admin_area_level_1", "admin_area_level_2", "locality", "sublocality"),
    *("route", "street_number", "subpremise", "postal_code"),
)
#: By type: what a custom value has to be, and Pipedrive's name for it.
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "varchar": (_is_text(255), "string", "text"),
    "text": (_is_text(65_535), "string", "large text"),
    "phone": (_is_text(255), "string", "phone"),
    "double": (_is_number, "number", "numeric"),
    "enum": (_is_number, "number", "single option"),
    "people": (_is_number, "number", "person"),
    "date": (_is_date, "date", "date"),
    "set": (lambda v: isinstance(v, list) and bool(v), "array", "multiple options"),
    "monetary": (_is_object(_is_number, "currency"), "object", "monetary"),
    "daterange": (_is_object(_is_date, "until"), "object", "date range"),
    "time": (
        _is_object(lambda v: isinstance(v, str) and bool(_TIME.fullmatch(v)), "timezone_name"),
        "object",
        "time",
    ),
    "address": (_is_object(_is_text(255), *ADDRESS), "object", "address"),
}


def problem(field: Mapping[str, Any] | None, code: str, value: Any) -> str | None:
    if field is None or not field["is_custom_field"]:
        return f"Unknown key '{code}'"
    if value is None:
        return None
    check, wanted, name = _CHECKS[field["field_type"]]
    if not check(value):
        return f"Expected '{wanted}' as value for {name} custom field '{code}'"
    known = {one["id"] for one in field["options"] or ()}
    picked = value if isinstance(value, list) else [value]
    if known and not set(picked) <= known:
        return f"Option ID '{value}' is not valid for custom field '{code}'"
    return None


def contacts(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One is the primary one, always."""
    found = [{"label": "work", "primary": False, **one} for one in given]
    if found and not any(one["primary"] for one in found):
        found[0]["primary"] = True
    return found


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record.get("custom_fields", {}), **record}


def picked(record: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """With the custom fields that were asked for, and only such as have a value."""
    held = {n: v for n, v in record["custom_fields"].items() if v is not None}
    if asked := request.query.get("custom_fields"):
        held = {name: held[name] for name in asked.split(",") if name in held}
    return {**record, "custom_fields": held}


def note(record: Mapping[str, Any]) -> dict[str, Any]:
    flags = {n: bool(v) for n, v in record.items() if n.startswith("pinned_to_")}
    return {**record, **flags}


def text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def matches(held: str, term: str, *, exact: bool) -> bool:
    return held == term if exact else term in held


def now(end: str = "Z", between: str = "T") -> str:
    return datetime.now(UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S") + end
