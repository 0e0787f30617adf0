"""The sandbox CRM's tables: organisations, what they have bent their CRM into, and their records.

Everything belongs to an `Org`, the CRM of one customer. Rules are in the modules beside this one:
`validation`, `records`, `flows`, `misbehaviour`.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.fields.json import KeyTransform
from django.utils.translation import gettext_lazy as _

from xkit_crm.providers.base import RecordRef, RemoteType

#: What a record's number looks like in its id; longer ones fit no column.
_NUMBER = re.compile(r"[0-9]{1,9}")
_API_NAME = re.compile(r"\A[A-Za-z][A-Za-z0-9_]*\Z")


# -- what a person may type -----------------------------------------------------------------------

validate_api_name = RegexValidator(
    _API_NAME, _("Start with a letter; then letters, digits and underscores.")
)


def validate_texts(value: Any) -> None:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValidationError(_('Give a list of texts, such as ["Open", "Closed"].'))


def validate_values(value: Any) -> None:
    """Field names and the values that are written there."""
    if not isinstance(value, dict):
        raise ValidationError(_('Give an object of field names and values: {"Name": "{title}"}.'))
    _require_json(value)


def validate_inputs(value: Any) -> None:
    """A flow's inputs: `provider` describes them, `flows` asks for them."""
    if not isinstance(value, list) or not all(map(_is_input, value)):
        raise ValidationError(
            _(
                "Give a list of inputs, each with a name and, if need be, a label and a type of "
                "%(types)s."
            ),
            params={"types": ", ".join(RemoteType)},
        )
    if len({entry["name"] for entry in value}) < len(value):
        raise ValidationError(_("Give every input a name of its own."))
    _require_json(value)


def _is_input(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and _API_NAME.match(entry["name"]) is not None
        and isinstance(entry.get("label", ""), str)
        and entry.get("type", RemoteType.STRING) in list(RemoteType)
    )


def _require_json(value: Any) -> None:
    """Python reads NaN where JSON, and so the database, knows no such number."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValidationError(_("NaN and infinity are no JSON.")) from None


# -- tables ---------------------------------------------------------------------------------------


class FieldType(models.TextChoices):
    STRING = RemoteType.STRING, _("text, one line")
    TEXT = RemoteType.TEXT, _("text, many lines")
    INTEGER = RemoteType.INTEGER, _("whole number")
    NUMBER = RemoteType.NUMBER, _("number")
    BOOLEAN = RemoteType.BOOLEAN, _("yes or no")
    DATE = RemoteType.DATE, _("date")
    DATETIME = RemoteType.DATETIME, _("date and time")
    EMAIL = RemoteType.EMAIL, _("email")
    URL = RemoteType.URL, _("web address")
    PHONE = RemoteType.PHONE, _("phone")
    PICKLIST = RemoteType.PICKLIST, _("picklist")
    MULTIPICKLIST = RemoteType.MULTIPICKLIST, _("picklist, several")
    REFERENCE = RemoteType.REFERENCE, _("reference to a record")


class Operation(models.TextChoices):
    DESCRIBE = "describe", _("describe")
    GET = "get", _("read")
    SEARCH = "search", _("search")
    CREATE = "create", _("create")
    UPDATE = "update", _("update")
    DELETE = "delete", _("delete")
    WORKFLOW = "workflow", _("run a flow")

    @property
    def writes(self) -> bool:
        return self not in (Operation.DESCRIBE, Operation.GET, Operation.SEARCH)


class Org(models.Model):
    """One customer's CRM."""

    slug = models.CharField(_("slug"), max_length=255, unique=True)
    name = models.CharField(_("name"), max_length=255, blank=True)
    token = models.CharField(
        _("token"),
        max_length=200,
        blank=True,
        help_text=_("What a connection has to present; empty: none is asked for."),
    )

    class Meta:
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name or self.slug


class Object(models.Model):
    """A kind of record, standard or custom."""

    org = models.ForeignKey(Org, models.CASCADE, related_name="object_types", verbose_name=_("org"))
    name = models.CharField(_("API name"), max_length=80, validators=[validate_api_name])
    label = models.CharField(_("label"), max_length=80)
    plural_label = models.CharField(_("plural label"), max_length=80, blank=True)
    #: The number of the newest record.
    last_number = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("object")
        verbose_name_plural = _("objects")
        ordering = ["org_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["org", "name"], name="xkit_sandbox_object_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.org})"


class Field(models.Model):
    object = models.ForeignKey(
        Object, models.CASCADE, related_name="fields", verbose_name=_("object")
    )
    name = models.CharField(_("API name"), max_length=80, validators=[validate_api_name])
    label = models.CharField(_("label"), max_length=80)
    type = models.CharField(_("type"), max_length=20, choices=FieldType.choices)
    required = models.BooleanField(_("required"), default=False)
    read_only = models.BooleanField(_("read-only"), default=False)
    unique = models.BooleanField(_("unique"), default=False)
    default = models.JSONField(_("default"), null=True, blank=True)
    max_length = models.PositiveIntegerField(_("longest text"), null=True, blank=True)
    choices = models.JSONField(
        _("choices"),
        default=list,
        blank=True,
        validators=[validate_texts],
        help_text=_("The values of a picklist."),
    )
    references = models.JSONField(
        _("references"),
        default=list,
        blank=True,
        validators=[validate_texts],
        help_text=_("API names of the objects that a reference may point to."),
    )

    class Meta:
        verbose_name = _("field")
        verbose_name_plural = _("fields")
        ordering = ["object_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["object", "name"], name="xkit_sandbox_field_unique"),
        ]

    def __str__(self) -> str:
        return self.label


class RecordQuerySet(models.QuerySet["Record"]):
    def at(self, org_id: int, ref: RecordRef) -> Self:
        """The record with this id, deleted or not; none where nothing can have it."""
        if not _NUMBER.fullmatch(ref.crm_id):
            return self.none()
        return self.filter(
            object__org=org_id, object__name=ref.remote_object, number=int(ref.crm_id)
        )

    def alive(self) -> Self:
        """Those that nobody has deleted."""
        return self.filter(deleted_at=None)

    def where(self, field: str, value: Any, *, lookup: str = "exact") -> Self:
        """Those whose field has this value; None: those where it has none."""
        if value is None:
            lookup, value = "isnull", True
        # Not `values__<field>`: customers call fields `Ref__c`, and may call one `contains`.
        found = self.alias(wanted=KeyTransform(field, "values"))
        return found.filter(**{f"wanted__{lookup}": value})


class Record(models.Model):
    object = models.ForeignKey(
        Object, models.CASCADE, related_name="records", verbose_name=_("object")
    )
    number = models.PositiveIntegerField(_("number"))
    values = models.JSONField(_("values"), default=dict)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    objects: ClassVar[RecordQuerySet] = RecordQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("record")
        verbose_name_plural = _("records")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["object", "number"], name="xkit_sandbox_record_unique"),
        ]

    def __str__(self) -> str:
        return self.record_id

    @property
    def crm_id(self) -> str:
        """The CRM's own id."""
        return f"{self.number:05d}"

    @property
    def ref(self) -> RecordRef:
        return RecordRef(self.object.name, self.crm_id)

    @property
    def record_id(self) -> str:
        """The public id, such as Opportunity:09876."""
        return str(self.ref)

    @property
    def title(self) -> str:
        """What a person would call the record."""
        for name in ("Name", "Subject", "LastName", "Title"):
            if self.values.get(name):
                return str(self.values[name])
        return next((str(v) for v in self.values.values() if isinstance(v, str)), "")


class Change(models.Model):
    """What happened to a record: `changes` is field -> [old, new]."""

    record = models.ForeignKey(
        Record, models.CASCADE, related_name="history", verbose_name=_("record")
    )
    operation = models.CharField(_("operation"), max_length=10, choices=Operation.choices)
    version = models.PositiveIntegerField(_("version"))
    changes = models.JSONField(_("changes"), default=dict)
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("history")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_operation_display()} (version {self.version})"


class Flow(models.Model):
    """A native workflow, as a customer defines one."""

    org = models.ForeignKey(Org, models.CASCADE, related_name="flows", verbose_name=_("org"))
    name = models.CharField(_("API name"), max_length=80, validators=[validate_api_name])
    label = models.CharField(_("label"), max_length=80)
    inputs = models.JSONField(
        _("inputs"),
        default=list,
        blank=True,
        validators=[validate_inputs],
        help_text=_('Such as [{"name": "title", "type": "string", "required": true}].'),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("flow")
        verbose_name_plural = _("flows")
        ordering = ["org_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["org", "name"], name="xkit_sandbox_flow_unique"),
        ]

    def __str__(self) -> str:
        return self.label


class FlowStep(models.Model):
    class Action(models.TextChoices):
        CREATE = "create", _("create a record")
        UPDATE = "update", _("update the record that the flow runs on")

    flow = models.ForeignKey(Flow, models.CASCADE, related_name="steps", verbose_name=_("flow"))
    position = models.PositiveSmallIntegerField(_("position"), default=1)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    object_name = models.CharField(
        _("object"), max_length=80, blank=True, help_text=_("For a step that creates.")
    )
    values = models.JSONField(
        _("values"),
        default=dict,
        validators=[validate_values],
        help_text=_(
            'Field to value; "{input}" is replaced by an input, "{step 1}" by the id of the '
            'record that step made, "{record}" by that of the record the flow runs on.'
        ),
    )
    is_result = models.BooleanField(
        _("is the result"), default=False, help_text=_("The flow answers with this record.")
    )

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering = ["flow_id", "position", "id"]

    def __str__(self) -> str:
        return f"{self.position}: {self.get_action_display()} {self.object_name}"


class Misbehaviour(models.Model):
    """Makes the CRM misbehave, for tests and demos."""

    class Kind(models.TextChoices):
        RATE_LIMIT = "rate_limit", _("429 with Retry-After")
        UNAVAILABLE = "unavailable", _("503")
        TIMEOUT_BEFORE = "timeout_before", _("timeout, nothing written")
        TIMEOUT_AFTER = "timeout_after", _("timeout, but written")
        EXPIRED_TOKEN = "expired_token", _("expired token")
        LOCKED_RECORD = "locked_record", _("locked record")

    org = models.ForeignKey(
        Org, models.CASCADE, related_name="misbehaviours", verbose_name=_("org")
    )
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    object_name = models.CharField(
        _("object"), max_length=80, blank=True, help_text=_("API name; empty for all.")
    )
    operation = models.CharField(
        _("operation"), max_length=10, choices=Operation.choices, blank=True
    )
    rate = models.FloatField(
        _("rate"), default=1.0, help_text=_("Share of the requests it happens to, 0 to 1.")
    )
    remaining = models.PositiveIntegerField(
        _("times left"), null=True, blank=True, help_text=_("Empty: until it is switched off.")
    )
    retry_after = models.PositiveIntegerField(
        _("retry after"), null=True, blank=True, help_text=_("Seconds.")
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("misbehaviour")
        verbose_name_plural = _("misbehaviours")
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(rate__gte=0, rate__lte=1), name="xkit_sandbox_rate_is_share"
            ),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


class Request(models.Model):
    """The CRM's own log of what was written and by which request."""

    org = models.ForeignKey(Org, models.CASCADE, related_name="requests", verbose_name=_("org"))
    operation = models.CharField(_("operation"), max_length=10, choices=Operation.choices)
    key = models.CharField(_("key"), max_length=100, blank=True)
    record = models.ForeignKey(
        Record, models.SET_NULL, null=True, related_name="requests", verbose_name=_("record")
    )
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("request log")
        ordering = ["-id"]
        indexes = [models.Index(fields=["org", "key"], name="xkit_sandbox_request_key_idx")]

    def __str__(self) -> str:
        return f"{self.get_operation_display()} {self.key}"
