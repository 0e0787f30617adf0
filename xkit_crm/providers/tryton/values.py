"""Values as Tryton's JSON-RPC has them, and back: what JSON has no type for says its class."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType
from xkit_crm.providers.relational import literally
from xkit_crm.providers.tryton.describing import is_contact

#: Of a moment.
_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def to_tryton(value: Any, field: RemoteField | None, *, names_model: bool = False) -> Any:
    """As Tryton wants it. `names_model`: a reference says the model as well. Raises one of
    `relational.UNSAYABLE` for what can't be said so."""
    if value is None or field is None:
        return value
    match field.type:
        case RemoteType.DATE:
            day = date.fromisoformat(value)
            return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}
        case RemoteType.DATETIME:
            return _tagged_moment(datetime.fromisoformat(value))
        case RemoteType.NUMBER:
            # A float field takes a decimal as well.
            number = Decimal(str(value))
            if not number.is_finite() or isinstance(value, bool):
                raise ValueError(value)
            return {"__class__": "Decimal", "decimal": format(number, "f")}
        case RemoteType.INTEGER:
            if int(value) != Decimal(str(value)):
                raise ValueError(value)
            return int(value)
        case RemoteType.REFERENCE:
            return _pointer(str(value), field, names_model=names_model)
    return value


def _tagged_moment(moment: datetime) -> dict[str, Any]:
    """Tryton's moments are in UTC, and say nothing of it."""
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return {"__class__": "datetime", **{name: getattr(moment, name) for name in _PARTS}}


def _pointer(text: str, field: RemoteField, *, names_model: bool) -> int | str:
    """From an id, or a record id."""
    model, separator, number = text.replace(":", ",").rpartition(",")
    if not separator and len(field.references) == 1:
        model = field.references[0]
    if model and field.references and model not in field.references:
        raise ValueError(text)
    if not names_model:
        return int(number)
    if not model:
        raise ValueError(text)
    return f"{model},{int(number)}"


def from_tryton(value: Any, field: RemoteField | None) -> Any:
    """What such a value says."""
    kind = field.type if field is not None else None
    if isinstance(value, int) and kind in (RemoteType.REFERENCE, RemoteType.BOOLEAN):
        # Some databases have no truths of their own.
        return bool(value) if kind is RemoteType.BOOLEAN else str(value)
    if not isinstance(value, dict):
        return value
    match value.get("__class__"):
        case "Decimal":
            return _as_number(Decimal(value["decimal"]))
        case "date":
            return date(value["year"], value["month"], value["day"]).isoformat()
        case "datetime":
            parts = (value[name] for name in _PARTS)
            return datetime(*parts).isoformat() + "Z"  # noqa: DTZ001 - it is in UTC
    return value


def _as_number(number: Decimal) -> int | float | str:
    """A number where it stays what it is, or else its text."""
    if number == number.to_integral_value():
        return int(number)
    return float(number) if Decimal(repr(float(number))) == number else str(number)


def clause(
    remote_object: str, one: Criterion, field: RemoteField | None, *, names_model: bool
) -> list[Any]:
    """A part of a search domain; a text to look for is no pattern."""
    if one.operator is Operator.CONTAINS:
        how, value = "ilike", f"%{literally(str(one.value))}%"
    else:
        how, value = "=", to_tryton(one.value, field, names_model=names_model)
    if is_contact(remote_object, one.field):
        # A party's own field shows the first of its contacts, and can't be searched.
        return ["contact_mechanisms", "where", [["type", "=", one.field], ["value", how, value]]]
    return [one.field, how, value]
