"""What the models share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, OperationalError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from xkit_crm.exceptions import Problem

_Result = TypeVar("_Result")
_Row = TypeVar("_Row", bound=models.Model)

#: How often a step is begun again.
CONFLICTS = 4

#: A slug stands in URLs and in `objects` documents.
validate_slug = RegexValidator(
    r"^[A-Za-z0-9_][A-Za-z0-9_-]*\Z",
    _("Use letters, digits, underscores and hyphens only; don't start with a hyphen."),
)


def new_uuid() -> UUID:
    """A UUIDv7: unguessable, and in the order of time, so that its index only grows at the end."""
    return uuid7()


class OrderedJSONField(models.JSONField):
    """JSON that keeps the order of its keys, as documents and forms show them.

    PostgreSQL's jsonb and MySQL's JSON sort them, so it is stored as text; nothing queries inside.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return str(connection.data_types["TextField"])

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        return None if value is None else json.dumps(value, cls=self.encoder)


class StatusIndex(models.Index):
    """An index of the rows with one status, the same where a database has no partial indexes.

    There the status is its first column. PostgreSQL must not have it there: it drops a condition
    that the index implies, and would read all of an index whose first column has none.
    """

    def __init__(self, *, status: str, fields: list[str], name: str) -> None:
        super().__init__(fields=fields, name=name, condition=models.Q(status=status))
        self.status = status

    def deconstruct(self) -> tuple[str, tuple[()], dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, (), {"status": self.status, "fields": self.fields, "name": self.name}

    def create_sql(
        self, model: type[models.Model], schema_editor: Any, using: str = "", **kwargs: Any
    ) -> Any:
        if schema_editor.connection.features.supports_partial_indexes:
            return super().create_sql(model, schema_editor, using, **kwargs)
        whole = models.Index(fields=["status", *self.fields], name=self.name)
        return whole.create_sql(model, schema_editor, using, **kwargs)


class UniqueWhereGiven(models.UniqueConstraint):
    """A constraint of one column, whose index leaves out the rows that have NULL there, where a
    database can: most have, and each would be entered again and again."""

    def __init__(self, *, fields: Sequence[str], name: str) -> None:
        super().__init__(fields=fields, name=name)

    def _partial(self, schema_editor: Any) -> models.UniqueConstraint:
        if not schema_editor.connection.features.supports_partial_indexes:
            return models.UniqueConstraint(fields=self.fields, name=self.name)
        given = models.Q(**{f"{name}__isnull": False for name in self.fields})
        return models.UniqueConstraint(fields=self.fields, name=self.name, condition=given)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._partial(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._partial(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._partial(schema_editor).remove_sql(model, schema_editor)


class Dated(models.Model):
    """When a row was made and last changed."""

    created_at = models.DateTimeField(_("created"), auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True, editable=False)

    class Meta:
        abstract = True


def again_on_conflict(step: Callable[[], _Result]) -> _Result:
    """Do it, and again where somebody made the same row at the same moment: then it is there,
    or the database had to choose between the two.

    `step` opens its own transaction. Within another one that the database has taken back as a whole
    it is for whoever opened that to begin again.
    """
    for _attempt in range(CONFLICTS):
        try:
            return step()
        except (IntegrityError, OperationalError):
            if any(one.needs_rollback for one in connections.all(initialized_only=True)):
                raise
    return step()


def locking(rows: models.QuerySet[_Row]) -> models.QuerySet[_Row]:
    """These rows, locked until the transaction is over. Who only refers to one of them, as a save
    does to what it fires an event of, doesn't wait, where the database can tell them apart."""
    locked = rows.select_for_update()
    no_key = connections[locked.db].features.has_select_for_no_key_update
    return rows.select_for_update(no_key=no_key)


def in_transaction(using: str) -> bool:
    """Whether a transaction is open that the caller may still roll back.

    The one that Django's `TestCase` wraps around a test doesn't count, as it doesn't for
    `atomic(durable=True)`.
    """
    blocks = transaction.get_connection(using).atomic_blocks
    return any(not block._from_testcase for block in blocks)


def raise_problems(problems: list[Problem], field: str) -> None:
    """Turn problems found in a JSON field into that form field's `ValidationError`."""
    if problems:
        raise ValidationError({field: [str(problem) for problem in problems]})
