"""What a column makes of a value on its way into the database, where the row still has the value
that it was given: `Deal(amount="12.50")`, a third in two decimal places, a time without a zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connections, models, router
from django.utils import timezone

#: Types that Django's columns read as their own; what is anything else is left as it is.
_READ: Final = frozenset(
    {str, int, float, bool, Decimal, UUID, dt.date, dt.time, dt.datetime, dt.timedelta}
)
#: The type that Django's own columns give, by how they read a value: of that type it is read.
_OWN: Final[dict[Callable[..., Any], type]] = {
    models.CharField.to_python: str,
    models.TextField.to_python: str,
    models.IntegerField.to_python: int,
    models.FloatField.to_python: float,
    models.BooleanField.to_python: bool,
    models.UUIDField.to_python: UUID,
    models.DateField.to_python: dt.date,
    models.TimeField.to_python: dt.time,
    models.DurationField.to_python: dt.timedelta,
}
#: Far more digits than a column has, so that nothing but its places is cut off.
_DIGITS: Final = 1000


def own_type(column: models.Field | None) -> type | None:
    """The type of values that need no reading; None where each has to be looked at."""
    return _OWN.get(type(column).to_python) if column is not None else None


def value_type(column: models.Field) -> type | None:
    """The type of the column's values; None where nobody can tell, as of a package's own."""
    if not type(column).__module__.startswith("django.db."):
        return None
    if isinstance(column, models.DecimalField):
        return Decimal
    if isinstance(column, models.DateTimeField):
        return dt.datetime
    return own_type(column)


def reader(column: models.Field) -> Callable[[Any, models.Model], Any]:
    """A function that gives a value of the column as the row will have it when it is loaded."""
    if isinstance(column, models.DecimalField) and column.decimal_places is not None:
        return _decimal_reader(column, Decimal(1).scaleb(-column.decimal_places))
    if isinstance(column, models.DateTimeField):
        return _moment_reader(column)
    return lambda value, _: column.to_python(value) if type(value) in _READ else value


def _decimal_reader(
    column: models.DecimalField, unit: Decimal
) -> Callable[[Any, models.Model], Any]:
    def read(value: Any, instance: models.Model) -> Any:
        if type(value) is not Decimal:
            value = column.to_python(value) if type(value) in _READ else value
        if type(value) is not Decimal or value.same_quantum(unit):  # as it is when loaded
            return value
        return _rounded(value, unit, instance)

    return read


def _rounded(value: Decimal, unit: Decimal, instance: models.Model) -> Decimal:
    if not value.is_finite() or int(value.as_tuple().exponent) > int(unit.as_tuple().exponent):
        return value
    database = connections[instance._state.db or router.db_for_write(type(instance))]
    rounding = ROUND_HALF_EVEN if database.vendor == "sqlite" else ROUND_HALF_UP
    return value.quantize(unit, context=Context(_DIGITS, rounding))


def _moment_reader(column: models.DateTimeField) -> Callable[[Any, models.Model], Any]:
    def read(value: Any, instance: models.Model) -> Any:
        if type(value) is not dt.datetime:
            value = column.to_python(value) if type(value) in _READ else value
        if type(value) is dt.datetime and value.tzinfo is None and settings.USE_TZ:
            return timezone.make_aware(value, timezone.get_default_timezone())
        return value

    return read
