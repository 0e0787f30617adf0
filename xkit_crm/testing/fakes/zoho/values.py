"""Which values Zoho CRM takes, and how it keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

#: Datetimes are answered in the zone of the person who signed in.
ZONE = timezone(timedelta(hours=5, minutes=30))
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "double": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "currency": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "date": lambda v: isinstance(v, str) and _DATE.fullmatch(v),
    "datetime": lambda v: isinstance(v, str) and DATETIME.fullmatch(v),
    "email": lambda v: isinstance(v, str) and _EMAIL.fullmatch(v),
    "lookup": lambda v: isinstance(v, dict),
    "ownerlookup": lambda v: isinstance(v, dict),
    "multiselectpicklist": lambda v: isinstance(v, list),
}


def held(value: Any, kind: str) -> Any:
    if isinstance(value, dict):
        return {"id": value["id"], "name": f"Record {value['id']}"}
    if kind == "datetime" and isinstance(value, str):
        moment = datetime.fromisoformat(value).astimezone(UTC)
        return moment.astimezone(ZONE).isoformat(timespec="seconds")
    return [] if kind == "multiselectpicklist" and value is None else value
