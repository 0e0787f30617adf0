"""Whether what an attribute path gives is what a payload key takes, as far as the models tell.

`impact.py` asks before a schema changes. Behind a method, a property, a column of JSON or many
rows there may be anything, and nothing is said of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from xkit_crm.schema.language import TEXT, enum_values, is_nullable
from xkit_crm.sync.payloads import names


class Fit(enum.Enum):
    """What becomes of the values."""

    ALWAYS = "always"
    #: Some may be refused.
    PERHAPS = "perhaps"
    NEVER = "never"
    UNKNOWN = "unknown"


#: What a column gives: the type of a payload, and its format where it always has one. The first
#: that fits is taken.
_GIVES: tuple[tuple[type[models.Field], str, str], ...] = (
    (models.BooleanField, "boolean", ""),
    (models.AutoField, "integer", ""),
    (models.IntegerField, "integer", ""),
    (models.FloatField, "number", ""),
    (models.DecimalField, "number", ""),
    (models.DateTimeField, "string", "datetime"),
    (models.DateField, "string", "date"),
    (models.EmailField, "string", "email"),
    (models.URLField, "string", "uri"),
    (models.UUIDField, "string", "uuid"),
    (models.TimeField, "string", ""),
    (models.DurationField, "string", ""),
    (models.CharField, "string", ""),
    (models.TextField, "string", ""),
)


def fit(path: str, model: type[models.Model], description: Mapping[str, Any]) -> Fit:
    """Whether the values behind a path are what the description of a payload key says."""
    found = _column(path, model)
    given = next((g for g in _GIVES if isinstance(found, g[0])), None) if found else None
    if found is None or given is None:
        return Fit.UNKNOWN
    _, kind, form = given
    if kind != description["type"] and (kind, description["type"]) != ("integer", "number"):
        # A Decimal with more digits than a double has is sent as text.
        return Fit.NEVER
    wanted = description.get("format", TEXT)
    if wanted not in (TEXT, form):
        return Fit.NEVER if form in ("date", "datetime", "uuid") else Fit.PERHAPS
    return Fit.ALWAYS if _is_held(found, names(path), description) else Fit.PERHAPS


def _column(path: str, model: type[models.Model]) -> models.Field | None:
    """The column that a path ends at; None where it is something else."""
    reached: Any = model
    *relations, last = names(path)
    try:
        for step in relations:
            field = reached._meta.get_field(step)
            if not (field.many_to_one or field.one_to_one):
                return None
            reached = field.related_model
        found = reached._meta.get_field(last)
    except (FieldDoesNotExist, AttributeError):
        return None
    return found if isinstance(found, models.Field) and not found.is_relation else None


def _is_held(field: models.Field, steps: list[str], description: Mapping[str, Any]) -> bool:
    """Whether every value that the column can hold is valid."""
    # What a relation leads to may not be there.
    if not is_nullable(description) and (field.null or len(steps) > 1):
        return False
    longest, allowed = description.get("maxLength"), enum_values(description)
    if longest is not None and (field.max_length is None or field.max_length > longest):
        return False
    if allowed:
        choices = [value for value, _ in field.flatchoices]
        return bool(choices) and all(value in allowed for value in choices)
    return "minimum" not in description and "maximum" not in description
