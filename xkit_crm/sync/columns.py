"""Columns that not the product fills: the database computes them of others, or the field sets
them itself as the row is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import models
from django.db.models.expressions import Col
from django.db.models.sql import Query

#: Django's own ways to save a column, and what is left to them: `auto_now`, and files.
_DJANGOS: Final = frozenset(
    cls.pre_save
    for cls in (
        models.Field,
        models.DateField,
        models.DateTimeField,
        models.TimeField,
        models.FileField,
    )
)


def sets_itself(field: models.Field) -> bool:
    """Whether the field may put another value into the row as that is saved."""
    return type(field).pre_save not in _DJANGOS


def is_stamp(field: models.Field) -> bool:
    """Whether it holds when the row was saved: every save changes it, which is no change."""
    is_time = isinstance(field, models.DateField | models.TimeField)
    return getattr(field, "auto_now", False) or (is_time and sets_itself(field))


def sources_of(field: models.GeneratedField) -> frozenset[str]:
    """The columns whose change may change this one, by attribute name."""
    # Without aliases, as Django reads it: the columns of one table.
    query = Query(field.model, alias_cols=False)
    expression: Any = field.expression  # type: ignore[attr-defined]
    return frozenset(_columns(expression.resolve_expression(query, allow_joins=False)))


def _columns(expression: Any) -> Iterator[str]:
    if isinstance(expression, Col):
        yield expression.target.attname
        if isinstance(expression.target, models.GeneratedField):
            yield from sources_of(expression.target)
    for part in expression.get_source_expressions():
        if part is not None:
            yield from _columns(part)
