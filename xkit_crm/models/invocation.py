"""Invocation: one event, one payload, one connection. A row of the outbox and of the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import XkitError, from_dict
from xkit_crm.models.base import StatusIndex, UniqueWhereGiven, new_uuid
from xkit_crm.models.connection import Connection
from xkit_crm.models.event_definition import EventDefinition


class InvocationStatus(models.TextChoices):
    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    SKIPPED = "skipped", _("skipped: the customer chose nothing")
    DEFERRED = "deferred", _("deferred to the CRM's workflow")
    SUPERSEDED = "superseded", _("superseded by a later one")
    FAILED = "failed", _("failed")
    UNKNOWN = "unknown", _("unknown: a person decides")

    @property
    def is_final(self) -> bool:
        """Whether the engine is done with it."""
        return self not in (InvocationStatus.PENDING, InvocationStatus.RUNNING)


#: States in which later invocations of the same record have to wait.
OPEN_STATUSES = (InvocationStatus.PENDING, InvocationStatus.RUNNING, InvocationStatus.UNKNOWN)


#: When something is due that waits for its connection to go live. `delivery/shadow.py`.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class Priority(models.IntegerChoices):
    """Whose turn it is first in a lane."""

    WAITED_FOR = 0, _("a caller waits")
    NORMAL = 1, _("normal")
    BACKGROUND = 2, _("background: backfill")


class Source(models.TextChoices):
    MODEL = "model", _("a saved model")
    PYTHON = "python", _("Python call")
    API = "api", _("HTTP API")
    ADMIN = "admin", _("tried in the admin")


@dataclass(frozen=True, slots=True)
class Record:
    """A CRM record as the product sees it: `data` holds the CRM object's mapped fields."""

    type: str
    id: str
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"type": self.type, "id": self.id, "data": self.data}


class InvocationQuerySet(models.QuerySet["Invocation"]):
    def open(self) -> Self:
        """Not settled yet: waiting, running, or waiting for a person."""
        return self.filter(status__in=OPEN_STATUSES)


class Invocation(models.Model):
    """`id` is the order of making; `uuid` its public id, and its idempotency key for life.

    What most invocations begin with are defaults of the database too, so that capturing one names
    only the columns that differ.
    """

    id: int
    uuid = models.UUIDField(_("id"), unique=True, default=new_uuid, editable=False)
    connection = models.ForeignKey(
        Connection,
        models.CASCADE,
        related_name="invocations",
        db_index=False,
        verbose_name=_("connection"),
    )
    event = models.ForeignKey(
        EventDefinition,
        models.PROTECT,
        related_name="invocations",
        db_index=False,
        verbose_name=_("event"),
    )
    payload = models.JSONField(_("payload"), default=dict)
    #: Later invocations of the same record that joined this one before it was sent, in order:
    #: `[{"event": <id of the event definition>, "payload": {...}}]`. `delivery/folding.py`.
    folded = models.JSONField(_("folded"), null=True, blank=True)
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=InvocationStatus.choices,
        default=InvocationStatus.PENDING,
        db_default=InvocationStatus.PENDING,
    )
    source = models.CharField(
        _("source"), max_length=10, choices=Source.choices, db_default=Source.MODEL
    )
    #: Invocations with the same key are carried out in the order they were made.
    record_key = models.CharField(max_length=300, editable=False)
    record_id = models.CharField(
        _("record id"), max_length=255, blank=True, default="", db_default=""
    )
    content_type = models.ForeignKey(
        ContentType,
        models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        db_index=False,
        verbose_name=_("model"),
    )
    object_pk = models.CharField(_("row"), max_length=255, null=True, blank=True)
    instance = GenericForeignKey("content_type", "object_pk")

    priority = models.PositiveSmallIntegerField(
        _("priority"),
        choices=Priority.choices,
        default=Priority.NORMAL,
        db_default=Priority.NORMAL,
    )
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    tries = models.PositiveIntegerField(_("tries"), default=0, db_default=0)
    #: How often a person had it carried out again.
    replays = models.PositiveSmallIntegerField(
        _("replays"), default=0, db_default=0, editable=False
    )
    #: Whether its payload is made anew of its row when it is carried out again.
    renew = models.BooleanField(default=False, db_default=False, editable=False)
    #: Tries that don't count towards MAX_ATTEMPTS: those before the last replay, and those that
    #: were no fault of its own.
    forgiven = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    #: Whether the engine tries again by itself; an HTTP caller who waits does so themselves.
    retry = models.BooleanField(_("retry"), default=True, db_default=True)
    #: An earlier try may have written: the CRM is asked before it is tried again.
    doubtful = models.BooleanField(_("doubtful"), default=False, db_default=False)
    #: The number of the mapping version that the last try carried out.
    mapping_version = models.PositiveIntegerField(
        _("mapping version"), null=True, blank=True, editable=False
    )
    result = models.JSONField(_("result"), null=True, blank=True)
    error_code = models.CharField(
        _("error code"), max_length=50, blank=True, default="", db_default=""
    )
    error_detail = models.JSONField(_("error"), null=True, blank=True)
    superseded_by = models.ForeignKey(
        "self",
        models.SET_NULL,
        related_name="supersedes",
        null=True,
        blank=True,
        db_index=False,
        verbose_name=_("superseded by"),
    )

    idempotency_key = models.CharField(max_length=400, null=True, blank=True, editable=False)
    request_digest = models.CharField(max_length=64, null=True, blank=True, editable=False)
    request_id = models.CharField(
        _("request id"), max_length=200, blank=True, default="", db_default=""
    )

    #: The W3C trace context in which it was made. `tracing.py`.
    traceparent = models.CharField(
        max_length=55, blank=True, default="", db_default="", editable=False
    )

    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True, editable=False)

    objects: ClassVar[InvocationQuerySet] = InvocationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("invocation")
        verbose_name_plural = _("invocations")
        default_permissions = ("view",)
        permissions = [
            ("operate", "Can repair: replay, skip, pause, go live, map, link"),
            ("see_payloads", "Can see payloads, and what CRMs were sent and answered"),
        ]
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=InvocationStatus.values),
                name="xkit_invocation_status_known",
            ),
            UniqueWhereGiven(fields=["idempotency_key"], name="xkit_invocation_idempotency_unique"),
        ]
        indexes = [
            # Claiming looks at what waits, never at history.
            StatusIndex(
                status="pending",
                fields=["connection", "priority", "due_at", "id"],
                name="xkit_invocation_due_idx",
            ),
            models.Index(
                fields=["connection", "record_key", "id"],
                condition=Q(status__in=["pending", "running", "unknown"]),
                name="xkit_invocation_open_idx",
            ),
            # Few among what waits: those of which the CRM may have what it hasn't answered. Where
            # indexes have no conditions, the flag tells them apart.
            models.Index(
                fields=["connection", "doubtful"],
                condition=Q(status="pending", doubtful=True),
                name="xkit_invocation_doubt_idx",
            ),
            models.Index(fields=["connection", "id"], name="xkit_invocation_log_idx"),
            # What is pruned is asked whether anything points at it.
            models.Index(
                fields=["superseded_by"],
                condition=Q(superseded_by__isnull=False),
                name="xkit_invocation_super_idx",
            ),
            models.Index(
                fields=["content_type", "object_pk", "id"],
                condition=Q(object_pk__isnull=False),
                name="xkit_invocation_row_idx",
            ),
            # What is read in the log, newest first (`delivery/log.py`). What is done pays for none
            # of it, but for the record that it made.
            models.Index(
                fields=["status", "id"],
                condition=Q(status__in=["pending", "running", "failed", "unknown"]),
                name="xkit_invocation_status_idx",
            ),
            models.Index(
                fields=["error_code", "id"],
                condition=~Q(error_code=""),
                name="xkit_invocation_error_idx",
            ),
            models.Index(
                fields=["record_id"],
                condition=~Q(record_id=""),
                opclasses=["varchar_pattern_ops"],
                name="xkit_invocation_record_idx",
            ),
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="xkit_invocation_request_idx",
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def is_final(self) -> bool:
        return InvocationStatus(self.status).is_final

    @property
    def link_key(self) -> dict[str, Any]:
        """What names the record link of the local row that this is about."""
        return {
            "content_type_id": self.content_type_id,
            "object_pk": self.object_pk,
            "connection_id": self.connection_id,
            "crm_object_id": self.event.crm_object_id,
        }

    @property
    def record(self) -> Record | None:
        """The record as the answer shows it, or None where there is none (yet)."""
        records = self.records
        return records[0] if records else None

    @property
    def records(self) -> list[Record]:
        """Every record of the answer: one at most, but for search events."""
        return [Record(**record) for record in (self.result or {}).get("records", ())]

    @property
    def error(self) -> XkitError | None:
        """Why it failed, or why it is being tried again; None where nothing went wrong."""
        return from_dict(self.error_detail) if self.error_detail else None
