"""Definition version: what a CRM object, an event or a model binding was, who made it so, and why.

Written with every change, in the same transaction. It names no user's row and points at nothing, so
that it outlives both the user and what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.differences import same
from xkit_crm.models.base import Dated, OrderedJSONField, locking

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class By:
    """Who changes definitions, and how or why."""

    author: str = ""
    reason: str = ""


_by: ContextVar[By | None] = ContextVar("xkit_crm_definitions_by", default=None)


@contextmanager
def changed_by(author: str = "", reason: str = "") -> Iterator[None]:
    """What is changed in here is put down to them, as far as nobody further out said so already."""
    outer = _by.get() or By()
    token = _by.set(By(outer.author or author, outer.reason or reason))
    try:
        yield
    finally:
        _by.reset(token)


class Kind(models.TextChoices):
    """What a version is of."""

    OBJECT = "object", _("CRM object")
    EVENT = "event", _("event")
    BINDING = "binding", _("model binding")


class DefinitionVersionQuerySet(models.QuerySet["DefinitionVersion"]):
    def of(self, *rows: Versioned) -> Self:
        """Those of these rows, newest first."""
        wanted = models.Q(pk__in=[])
        for row in rows:
            wanted |= models.Q(kind=row.version_kind, row_id=row.pk)
        return self.filter(wanted)


class DefinitionVersion(models.Model):
    """What one row was from one time on. Never changed."""

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    row_id = models.BigIntegerField(_("row"))
    number = models.PositiveIntegerField(_("number"))
    #: Its path at that time, such as `opportunity.deal_created`.
    name = models.CharField(_("name"), max_length=255)
    document = OrderedJSONField(
        _("definition"), null=True, blank=True, help_text=_("Empty: it was deleted.")
    )
    author = models.CharField(
        _("author"), max_length=255, blank=True, help_text=_("Who changed it.")
    )
    reason = models.CharField(
        _("reason"), max_length=255, blank=True, help_text=_("How it came about.")
    )
    created_at = models.DateTimeField(_("since"), default=timezone.now, editable=False)

    objects: ClassVar[DefinitionVersionQuerySet] = DefinitionVersionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("definition version")
        verbose_name_plural = _("definition versions")
        default_permissions = ("view",)
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "row_id", "number"], name="xkit_definition_version_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.number}"


class Versioned(Dated):
    """A row of which every version is kept. What was written past `save()`, as by a queryset's
    `update()`, becomes one with the next change."""

    version_kind: ClassVar[Kind]
    #: Fields that are no part of what is kept.
    not_versioned: ClassVar[frozenset[str]] = frozenset({"id", "created_at", "updated_at"})

    class Meta:
        abstract = True

    #: What identified it when it was read from the database.
    _read: dict[str, Any] | None = None
    #: Columns that others know it by.
    identifying: ClassVar[tuple[str, ...]] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What others know it by, which stays as it is once they do."""
        return {name: getattr(self, name) for name in self.identifying}

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        row = super().from_db(*args, **kwargs)
        row._read = None if row.get_deferred_fields() else row.identity
        return row

    if TYPE_CHECKING:  # each kind has its own

        @property
        def path(self) -> str:
            """What it is called among all definitions, such as `opportunity.deal_created`."""

    def as_document(self) -> Document:
        """What the row says, by the names of its fields, and what it points at by name."""
        return {
            field.name: _said(self, field)
            for field in self._meta.concrete_fields
            if field.name not in self.not_versioned
        }

    def clean(self) -> None:
        """Raise `ValidationError` where it was renamed and others know it by its name."""
        from xkit_crm.usage import refusals

        super().clean()
        if self._read is None or self._read == self.identity:
            return
        stored = type(self)._default_manager.filter(pk=self.pk).first()
        found: dict[str, list[str]] = {}
        for problem in refusals(stored, self) if stored else ():
            found.setdefault(problem.path, []).append(problem.error)
        if found:
            raise ValidationError(found)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row and its version. Raises `DefinitionInUse` where a name would change that
        others know it by."""
        from xkit_crm.usage import require_free

        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            stored = self._stored(using)
            if stored is not None:
                require_free(stored, self)
            super().save(*args, **kwargs)
            document = self.as_document()
            if stored is not None:
                before, written = stored.as_document(), kwargs.get("update_fields")
                _keep(self, before, By(reason=_PAST), stored.updated_at)
                if written is not None:
                    document = {
                        name: value if name in written else before[name]
                        for name, value in document.items()
                    }
            _keep(self, document, _by.get() or By(), timezone.now())

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            row = self._stored(using)
            if row is None:
                return super().delete(*args, **kwargs)
            _keep(row, row.as_document(), By(reason=_PAST), row.updated_at)
            gone = super().delete(*args, **kwargs)
            _keep(row, None, _by.get() or By(), timezone.now())
        return gone

    def _stored(self, using: str) -> Self | None:
        """The row as the database has it, which nobody else changes until the transaction ends."""
        if self._state.adding:
            return None
        rows: models.QuerySet[Self] = type(self)._default_manager.using(using)
        return locking(rows.filter(pk=self.pk)).first()


#: The reason of a version that nobody gave one for.
_PAST = "written past the versions"


def _said(row: models.Model, field: Any) -> Any:
    if not field.is_relation:
        return getattr(row, field.attname)
    related = getattr(row, field.name)
    if isinstance(related, ContentType):
        return f"{related.app_label}.{related.model}"
    return None if related is None else related.slug


def _keep(row: Versioned, document: Document | None, by: By, since: datetime) -> None:
    """Make this document the row's newest version, where it isn't already."""
    last = DefinitionVersion.objects.of(row).only("number", "document").first()
    if last is not None and same(last.document, document):
        return
    DefinitionVersion.objects.create(
        kind=row.version_kind,
        row_id=row.pk,
        number=last.number + 1 if last else 1,
        name=row.path[:255],
        document=document,
        author=by.author[:255],
        reason=by.reason[:255],
        created_at=since,
    )
