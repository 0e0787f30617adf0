"""Columns that not the product fills: the database computes them of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.expressions import Col
from django.db.models.sql import Query


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
