"""Writing many rows with values of their own, in one go.

Django's `bulk_update` builds one CASE for each row and column; here one prepared statement is run
for each row, which drivers send without waiting for each answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connections, models, router

#: What a row is found by, and what it gets.
Change = tuple[Mapping[str, Any], Mapping[str, Any]]


def update_each(model: type[models.Model], changes: Sequence[Change]) -> int:
    """Update each row that meets its criteria; gives how many there were.

    Criteria and values are by attribute name (`connection_id`), the same names in every change.
    """
    if not changes:
        return 0
    connection = connections[router.db_for_write(model)]
    criteria, values = changes[0]
    statement = _statement(model, connection.alias, tuple(values), tuple(criteria))
    fields = [_field(model, name) for name in (*values, *criteria)]
    rows = [
        [
            field.get_db_prep_save(value, connection)
            for field, value in zip(fields, (*wanted.values(), *found.values()), strict=True)
        ]
        for found, wanted in changes
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return int(cursor.rowcount)


@cache
def _field(model: type[models.Model], name: str) -> models.Field:
    return next(field for field in model._meta.concrete_fields if field.attname == name)


@cache
def _statement(
    model: type[models.Model], using: str, values: tuple[str, ...], criteria: tuple[str, ...]
) -> str:
    quote = connections[using].ops.quote_name

    def columns(names: tuple[str, ...], between: str) -> str:
        return between.join(f"{quote(str(_field(model, name).column))} = %s" for name in names)

    return (
        f"UPDATE {quote(model._meta.db_table)} "  # noqa: S608 - names of our own columns only
        f"SET {columns(values, ', ')} WHERE {columns(criteria, ' AND ')}"
    )
