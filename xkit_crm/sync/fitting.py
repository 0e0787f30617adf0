"""Whether what an attribute path gives is what a payload key takes, as far as the models tell.

`impact.py` asks before a schema changes. Behind a method, a property, a column of JSON or many
rows there may be anything, and nothing is said of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from django.db import models

from xkit_crm.schema.language import TEXT, enum_values, is_nullable
from xkit_crm.sync.kinds import kind_of
from xkit_crm.sync.payloads import field_of, names


class Fit(enum.Enum):
    """What becomes of the values."""

    ALWAYS = "always"
    #: Some may be refused.
    PERHAPS = "perhaps"
    NEVER = "never"
    UNKNOWN = "unknown"


def fit(path: str, model: type[models.Model], description: Mapping[str, Any]) -> Fit:
    """Whether the values behind a path are what the description of a payload key says."""
    column = _column(path, model)
    kind = kind_of(column) if column is not None else None
    if column is None or kind is None or kind.type in ("", "json", "array"):
        return Fit.UNKNOWN
    if (kind.type, description["type"]) == ("number", "integer"):
        return Fit.PERHAPS  # it is one where it has no fraction
    if not kind.fits(description):
        return Fit.NEVER
    wanted = description.get("format", TEXT)
    if wanted not in (TEXT, kind.format):
        return Fit.PERHAPS
    return Fit.ALWAYS if _is_held(column, names(path), description) else Fit.PERHAPS


def _column(path: str, model: type[models.Model]) -> models.Field | None:
    """The column that a path ends at; None where it is something else."""
    found = field_of(path, model)
    if isinstance(found, models.ForeignKey):
        found = found.target_field  # a relation itself gives the key of what it leads to
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
