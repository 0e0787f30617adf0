"""Kinds of values: what a column or a computed attribute of a model gives, in a payload's terms.

`readable.py` asks, to offer for a payload key what fits it. Reads classes only, and no row.
"""

from __future__ import annotations

import datetime as dt
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property as functools_cached
from typing import Any, Final
from uuid import UUID

from django.db import models
from django.utils.functional import cached_property


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of JSON value a path gives: a type and format as a payload schema has them.
    Without a type nobody can tell."""

    type: str = ""
    format: str = ""

    def fits(self, description: Mapping[str, Any]) -> bool:
        """Whether such a value can be right for a payload key of this description."""
        wanted, as_format = description.get("type", ""), description.get("format", "text")
        if not self.type:
            return True
        if self.type == "json":
            return wanted in ("object", "array")
        if wanted == "number":
            return self.type in ("number", "integer")
        if wanted != "string" or as_format == "text":
            return bool(self.type == wanted)
        # A plain text may hold an address; no text is a moment.
        may_be_text = as_format in ("email", "uri", "uuid")
        return self.type == "string" and (
            self.format == as_format or (may_be_text and self.format == "")
        )


UNKNOWN: Final = Kind()

#: The first that fits is taken: a datetime is a date to Django, and an address a text.
_KINDS: Final[tuple[tuple[type[models.Field], Kind | None], ...]] = (
    (models.BinaryField, None),
    (models.EmailField, Kind("string", "email")),
    (models.URLField, Kind("string", "uri")),
    (models.UUIDField, Kind("string", "uuid")),
    (models.DateTimeField, Kind("string", "datetime")),
    (models.DateField, Kind("string", "date")),
    (models.TimeField, Kind("string", "time")),
    (models.DurationField, Kind("string", "duration")),
    (models.BooleanField, Kind("boolean")),
    (models.IntegerField, Kind("integer")),
    (models.FloatField, Kind("number")),
    (models.DecimalField, Kind("number")),
    (models.JSONField, Kind("json")),
    (models.TextField, Kind("string", "text")),
    (models.CharField, Kind("string")),
    (models.GenericIPAddressField, Kind("string")),
    (models.FileField, Kind("string")),
)


def kind_of(field: models.Field) -> Kind | None:
    """What a column gives; None where JSON can't hold it."""
    if isinstance(field, models.GeneratedField):
        return kind_of(field.output_field)  # type: ignore[arg-type]
    for cls, kind in _KINDS:
        if isinstance(field, cls):
            return kind
    is_array = any(base.__name__ == "ArrayField" for base in type(field).__mro__)
    return Kind("array") if is_array else UNKNOWN


# -- what is computed -----------------------------------------------------------------------------

#: Methods are offered whose names say that they only read.
_READS: Final = ("get_", "is_", "has_")
#: Those that Django makes for each date go to other rows.
_ELSEWHERE: Final = ("get_next_by_", "get_previous_by_")

_ANNOTATED: Final[tuple[tuple[type, Kind], ...]] = (
    (bool, Kind("boolean")),
    (int, Kind("integer")),
    (float, Kind("number")),
    (Decimal, Kind("number")),
    (dt.datetime, Kind("string", "datetime")),
    (dt.date, Kind("string", "date")),
    (dt.time, Kind("string", "time")),
    (dt.timedelta, Kind("string", "duration")),
    (UUID, Kind("string", "uuid")),
    (str, Kind("string")),
    (Mapping, Kind("object")),
    (Sequence, Kind("array")),
    (set, Kind("array")),
)


def kind_of_attribute(name: str, attribute: Any) -> Kind | None:
    """What is computed there; None where nothing is that could be offered."""
    if isinstance(attribute, property):
        return _returned_by(attribute.fget)
    if isinstance(attribute, cached_property | functools_cached):
        return _returned_by(attribute.func)
    if not name.startswith(_READS) or name.startswith(_ELSEWHERE):
        return None
    if getattr(attribute, "alters_data", False):
        return None
    if hasattr(attribute, "keywords") and name.endswith("_display"):
        return Kind("string")  # Django's own, for a column with choices
    if not inspect.isfunction(attribute):
        return None
    _self, *others = inspect.signature(attribute).parameters.values()
    needs_more = any(
        one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in others
    )
    return None if needs_more else _returned_by(attribute)


def _returned_by(function: Any) -> Kind:
    """What its annotation says that it returns."""
    try:
        returned = typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 - it evaluates the product's own annotations
        return UNKNOWN
    if typing.get_origin(returned) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(returned) if one is not type(None)]
        returned = others[0] if len(others) == 1 else None
    cls = typing.get_origin(returned) or returned
    if not isinstance(cls, type):
        return UNKNOWN
    return next((kind for base, kind in _ANNOTATED if issubclass(cls, base)), UNKNOWN)
