"""Event definition: a named thing the product can do to a CRM object."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm import schema
from xkit_crm.models.base import OrderedJSONField, raise_problems, validate_slug
from xkit_crm.models.crm_object import CRMObject
from xkit_crm.models.definition_version import Kind, Versioned


class EventType(models.TextChoices):
    CREATE = "create", _("create")
    UPDATE = "update", _("update")
    DELETE = "delete", _("delete")
    SEARCH = "search", _("search")

    @property
    def needs_record(self) -> bool:
        """Whether the event happens to a record that exists."""
        return self in (EventType.UPDATE, EventType.DELETE)


class EventDefinition(Versioned):
    version_kind = Kind.EVENT
    identifying = ("crm_object_id", "slug", "type")
    # Its path says of which object it is, and it stays one of it.
    not_versioned = Versioned.not_versioned | {"crm_object"}

    crm_object = models.ForeignKey(
        CRMObject, models.PROTECT, related_name="events", verbose_name=_("CRM object")
    )
    slug = models.CharField(
        _("slug"),
        max_length=100,
        validators=[validate_slug],
        help_text=_("What the product invokes, such as create_opportunity."),
    )
    type = models.CharField(_("type"), max_length=10, choices=EventType.choices)
    label = models.CharField(_("label"), max_length=200, help_text=_("What customers see."))
    description = models.TextField(
        _("description"),
        blank=True,
        help_text=_("When the event happens and how a customer should handle it."),
    )
    payload_schema = OrderedJSONField(
        _("payload schema"),
        default=dict,
        blank=True,
        help_text=_("What the event carries, as Xkit-flavored JSON."),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("event definition")
        verbose_name_plural = _("event definitions")
        default_permissions = ("view",)
        ordering = ["crm_object_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["crm_object", "slug"], name="xkit_event_slug_unique"),
            models.CheckConstraint(
                condition=models.Q(type__in=EventType.values), name="xkit_event_type_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.slug} ({self.get_type_display()})"

    @property
    def path(self) -> str:
        return f"{self.crm_object.slug}.{self.slug}"

    def clean(self) -> None:
        super().clean()
        raise_problems(schema.check(self.payload_schema), "payload_schema")
        self.payload_schema = schema.normalise(self.payload_schema)
