"""Values between the product's JSON and what a remote field's type wants.

`resolving.py` calls it in both directions. What has no one right meaning is left as it is: then
the CRM says what it thinks of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from xkit_crm.providers.base import RemoteType
from xkit_crm.schema.language import exact

_TEXTS = frozenset({RemoteType.STRING, RemoteType.TEXT, RemoteType.PHONE, RemoteType.PICKLIST})
_NUMBERS = frozenset({RemoteType.INTEGER, RemoteType.NUMBER})
#: No more digits than a double keeps; longer ones stay the text that they are.
_NUMBER = re.compile(r"-?(?=[\d.]{1,16}$)\d{1,15}(\.\d+)?", re.ASCII)
_TRUTHS = {"true": True, "false": False}


def to_remote(value: Any, wanted: RemoteType | None) -> Any:
    """The value as a field of this type takes it; None for a type that is not known."""
    if value is None or wanted is None:
        return value
    if wanted is RemoteType.DATE:
        return as_date(value)
    if wanted is RemoteType.DATETIME:
        return as_datetime(value)
    if wanted in _TEXTS and isinstance(value, int | float) and not isinstance(value, bool):
        return as_text(value)
    return _from_text(value, wanted) if isinstance(value, str) else value


def _from_text(text: str, wanted: RemoteType) -> Any:
    """What a text says: forms and value maps hold numbers and truths as texts."""
    if wanted is RemoteType.MULTIPICKLIST:
        return [text] if text else []
    if wanted is RemoteType.BOOLEAN:
        return _TRUTHS.get(text, text)
    if wanted in _NUMBERS and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def as_date(value: Any) -> Any:
    """An ISO 8601 date from a date or datetime (its day in UTC); anything else as it is."""
    moment = _moment(value)
    if moment is None:
        return value
    return moment.date().isoformat() if isinstance(moment, datetime) else moment.isoformat()


def as_datetime(value: Any) -> Any:
    """An ISO 8601 datetime in UTC with `Z`; a date becomes its midnight; else as it is."""
    moment = _moment(value)
    if moment is None:
        return value
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.isoformat().removesuffix("+00:00") + "Z"


def as_text(value: Any) -> str:
    """The text that a person would write: `true`, `12.5`, `12`, `red, blue`, `city: Rome`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(exact(value + 0).normalize(), "f")  # + 0, for there is no minus zero
    if isinstance(value, list):
        return ", ".join(as_text(item) for item in value if item is not None)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {as_text(v)}" for k, v in value.items() if v is not None)
    return str(value)


def _moment(value: Any) -> date | datetime | None:
    """What an ISO 8601 text says, datetimes in UTC; None where it says none."""
    if not isinstance(value, str):
        return None
    try:
        if "T" not in value and " " not in value:
            return date.fromisoformat(value)
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
