"""What the models share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, OperationalError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from xkit_crm.exceptions import Problem

_Result = TypeVar("_Result")

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


class Dated(models.Model):
    """When a row was made and last changed."""

    created_at = models.DateTimeField(_("created"), auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True, editable=False)

    class Meta:
        abstract = True


def again_on_conflict(step: Callable[[], _Result]) -> _Result:
    """Do it, and again where somebody made the same row at the same moment: then it is there,
    or the database had to choose between the two.

    `step` opens its own transaction.
    """
    for _attempt in range(CONFLICTS):
        try:
            return step()
        except (IntegrityError, OperationalError):
            continue
    return step()


def raise_problems(problems: list[Problem], field: str) -> None:
    """Turn problems found in a JSON field into that form field's `ValidationError`."""
    if problems:
        raise ValidationError({field: [str(problem) for problem in problems]})
