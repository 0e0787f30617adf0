"""Salesforce's query language.

Nothing that was given stands in a query but as a name that was checked, or as a value that was
spelt here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from xkit_crm.exceptions import Problem, RejectedByCRM
from xkit_crm.mapping.conversion import as_date, as_datetime, as_text
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType

_NAME = re.compile(r"[A-Za-z]\w{0,254}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\b": "\\b",
        "\f": "\\f",
    }
)


def select(
    remote_object: str,
    fields: Sequence[str],
    where: Sequence[str],
    *,
    order: Sequence[str] = (),
    limit: int | None = None,
) -> str:
    """A query for records; `where` are conditions that all hold, `order` has the latest first."""
    parts = ["SELECT", ", ".join(map(field_name, fields)), "FROM", object_name(remote_object)]
    if where:
        parts += ["WHERE", " AND ".join(where)]
    if order:
        parts += ["ORDER BY", ", ".join(f"{field_name(one)} DESC" for one in order)]
    if limit is not None:
        parts += ["LIMIT", str(int(limit))]
    return " ".join(parts)


def object_name(name: str) -> str:
    """The name of an object, where it can be one."""
    if not _NAME.fullmatch(name):
        raise RejectedByCRM(f"Salesforce has no object {name!r}.")
    return name


def field_name(name: str) -> str:
    """The name of a field, where it can be one."""
    if not _NAME.fullmatch(name):
        raise RejectedByCRM(
            f"Salesforce has no field {name!r}.", errors=[Problem(name, "There is no such field.")]
        )
    return name


def one_of(name: str, texts: Sequence[str]) -> str:
    """That a field is one of these texts."""
    return f"{field_name(name)} IN ({', '.join(map(_quoted, texts))})"


def condition(one: Criterion, field: RemoteField | None) -> str:
    """What a criterion says, after the type of its field."""
    name, kind = field_name(one.field), field.type if field else RemoteType.STRING
    if one.operator is Operator.CONTAINS and kind is not RemoteType.MULTIPICKLIST:
        part = _escaped(as_text(one.value)).replace("%", "\\%").replace("_", "\\_")
        return f"{name} LIKE '%{part}%'"
    spelt = "null" if one.value in (None, "") else literal(one.value, kind)
    if spelt is None:
        raise RejectedByCRM(
            f"That can't be searched for in {name}.",
            errors=[Problem(name, f"The value is no {kind}.")],
        )
    return f"{name} = {spelt}" if one.operator is Operator.EQUALS else f"{name} INCLUDES ({spelt})"


def literal(value: Any, kind: RemoteType) -> str | None:
    """A value of this type, as a query has it; None where it is no such value."""
    match kind:
        case RemoteType.BOOLEAN:
            return {"true": "true", "false": "false"}.get(as_text(value))
        case RemoteType.INTEGER | RemoteType.NUMBER:
            return as_text(value) if _NUMBER.fullmatch(as_text(value)) else None
        case RemoteType.DATE:
            return day(value)
        case RemoteType.DATETIME:
            return moment(value)
        case RemoteType.MULTIPICKLIST if isinstance(value, list):
            return _quoted(joined(value))
    return None if isinstance(value, list | Mapping) else _quoted(as_text(value))


def day(value: Any) -> str | None:
    """A date as Salesforce spells it; None where it is none."""
    spelt = as_date(value)
    try:
        return spelt if date.fromisoformat(spelt).isoformat() == spelt else None
    except (TypeError, ValueError):
        return None


def moment(value: Any) -> str | None:
    """A moment as Salesforce spells it, in UTC; None where it is none."""
    spelt = as_datetime(value)
    try:
        datetime.fromisoformat(spelt)
    except (TypeError, ValueError):
        return None
    return spelt if _MOMENT.fullmatch(spelt) else None


def joined(values: Sequence[Any]) -> str:
    """Several values of a picklist, which are one text."""
    return ";".join(map(as_text, values))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _quoted(text: str) -> str:
    return f"'{_escaped(text)}'"
