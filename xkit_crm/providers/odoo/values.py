"""Values as Odoo has them, and as CRMs have them here.

Nothing is false, moments are in UTC without saying so, and lists of records are commands.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType
from xkit_crm.providers.relational import literally


def written(value: Any, field: RemoteField | None) -> Any:
    """As Odoo takes it: nothing is false, a moment is in UTC without saying so, and the records of
    a list are replaced by a command. Raises one of `relational.UNSAYABLE` for what can't be said
    so."""
    if field is not None and field.type is RemoteType.MULTIPICKLIST:
        return [[6, 0, [int(one) for one in _list(value)]]]
    if value is None or field is None:
        return False if value is None else value
    match field.type:
        case RemoteType.DATE:
            return date.fromisoformat(value).isoformat()
        case RemoteType.DATETIME:
            moment = datetime.fromisoformat(value)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment
            return moment.strftime("%Y-%m-%d %H:%M:%S")
        case RemoteType.NUMBER | RemoteType.INTEGER:
            return _as_number(value, whole=field.type is RemoteType.INTEGER)
        case RemoteType.REFERENCE:
            return _pointer(str(value), field)
    return value


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _as_number(value: Any, *, whole: bool) -> int | float:
    if isinstance(value, bool) or (whole and int(value) != float(value)):
        raise ValueError(value)
    return int(value) if whole else value if isinstance(value, int) else float(value)


def _pointer(text: str, field: RemoteField) -> int | str:
    """An id, or a record id; where a field points to several models, the model goes before it."""
    model, separator, number = text.replace(":", ",").rpartition(",")
    if separator and model not in field.references:
        raise ValueError(text)
    if len(field.references) == 1:
        return int(number)
    if not separator:
        raise ValueError(text)
    return f"{model},{int(number)}"


def plain(value: Any, field: RemoteField | None) -> Any:
    """What such a value says."""
    if field is None or value is None:
        return value
    if value is False and field.type is not RemoteType.BOOLEAN:
        return None
    match field.type:
        case RemoteType.DATETIME:
            return f"{str(value).replace(' ', 'T')}Z"
        case RemoteType.MULTIPICKLIST:
            return [str(one) for one in value]
        case RemoteType.REFERENCE:
            return str(value[0] if isinstance(value, list) else value)
    return value


def clause(one: Criterion, field: RemoteField | None) -> list[Any]:
    """A part of a search domain; a text to look for is no pattern."""
    if one.operator is Operator.CONTAINS:
        return [one.field, "ilike", literally(str(one.value))]
    value = written(one.value, field)
    if field is not None and field.type is RemoteType.MULTIPICKLIST:
        return [one.field, "in", value[0][2]]
    return [one.field, "=", value]
