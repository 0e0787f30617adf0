"""Values of columns: kept as they are now, and told apart as a database tells them apart."""

from __future__ import annotations

import copy
import datetime as dt
import enum
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import models
from django.db.models.fields.files import FieldFile

#: What nobody can change in place: keeping a reference is keeping the value.
_IMMUTABLE: Final = (
    str,
    int,
    float,
    type(None),
    Decimal,
    dt.date,
    dt.time,
    dt.timedelta,
    UUID,
    bytes,
    enum.Enum,
)
#: Where Django has its columns of nothing but such values.
_SIMPLE: Final = ("django.db.models.fields", "django.db.models.fields.related")


def is_simple(field: models.Field) -> bool:
    """Whether the column holds only what nobody can change in place and `==` compares."""
    return type(field).__module__ in _SIMPLE


def kept(value: Any) -> Any:
    """The value as it is now, whatever becomes of it."""
    if isinstance(value, _IMMUTABLE):
        return value
    if isinstance(value, FieldFile):
        return value.name  # a file knows its row, which is no value
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - of a value of somebody else's; no row may fail to load for it
        return value


def same(one: Any, other: Any) -> bool:
    """Whether a column that holds one would hold the other just so. JSON tells true from 1, and
    arrays say of each item whether it is equal."""
    if one is other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    try:
        equal = one == other
        return all(equal) if isinstance(equal, Iterable) else bool(equal)
    except Exception:  # noqa: BLE001 - of values of somebody else's: what can't be compared differs
        return False
