"""Event action: what one event does in one customer's CRM."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.mapping import transformations as mapping
from xkit_crm.mapping.completeness import answers
from xkit_crm.models.base import Dated, OrderedJSONField, raise_problems
from xkit_crm.models.event_definition import EventDefinition
from xkit_crm.models.object_mapping import ObjectMapping


class ActionType(models.TextChoices):
    CREATE = "create", _("create a record")
    UPDATE = "update", _("update the record")
    DELETE = "delete", _("delete the record")
    WORKFLOW = "workflow", _("run a workflow")
    SEARCH = "search", _("search for records")
    NOOP = "noop", _("do nothing")


class EventAction(Dated):
    mapping = models.ForeignKey(
        ObjectMapping, models.CASCADE, related_name="actions", verbose_name=_("object mapping")
    )
    event = models.ForeignKey(
        EventDefinition, models.PROTECT, related_name="actions", verbose_name=_("event")
    )
    action = models.CharField(_("action"), max_length=10, choices=ActionType.choices)
    workflow = models.CharField(
        _("workflow"),
        max_length=200,
        blank=True,
        help_text=_("The CRM's own workflow to run, where the action is to run one."),
    )
    transformations = OrderedJSONField(
        _("transformations"),
        default=list,
        blank=True,
        help_text=_("How the payload becomes values of remote fields."),
    )
    ignored = OrderedJSONField(
        _("ignored"),
        default=list,
        blank=True,
        help_text=_("Payload keys that the customer decided not to send."),
    )

    class Meta:
        verbose_name = _("event action")
        verbose_name_plural = _("event actions")
        default_permissions = ("view",)
        ordering = ["mapping_id", "event_id"]
        constraints = [
            models.UniqueConstraint(fields=["mapping", "event"], name="xkit_event_action_unique"),
            models.CheckConstraint(
                condition=models.Q(action__in=ActionType.values), name="xkit_event_action_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event.slug}: {self.get_action_display()}"

    def clean(self) -> None:
        super().clean()
        both = self.mapping_id and self.event_id
        if both and self.event.crm_object_id != self.mapping.crm_object_id:
            raise ValidationError({"event": _("The event belongs to another CRM object.")})
        if self.event_id and not answers(self.action, self.event.type):
            raise ValidationError({"action": _("An event of this type can't do that.")})
        data = self.as_data()
        problems = mapping.check_action(data)
        if self.event_id and not problems:
            problems = mapping.unknown_keys(data, self.event.payload_schema)
        raise_problems(problems, "transformations")
        if not isinstance(self.ignored, list) or not all(isinstance(k, str) for k in self.ignored):
            raise ValidationError({"ignored": _("Give a list of payload keys.")})

    def as_data(self) -> dict[str, Any]:
        """The action as `mapping/` reads it."""
        return {
            "action": self.action,
            "remote_object": self.mapping.remote_object if self.mapping_id else "",
            "workflow": self.workflow,
            "transformations": self.transformations,
        }
