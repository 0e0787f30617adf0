"""Model binding: a binding that an operator made in the admin."""

from __future__ import annotations

import re

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.base import OrderedJSONField
from xkit_crm.models.crm_object import CRMObject
from xkit_crm.models.definition_version import Kind, Versioned
from xkit_crm.models.event_definition import EventDefinition


class ModelBinding(Versioned):
    version_kind = Kind.BINDING

    model = models.ForeignKey(
        ContentType, models.CASCADE, related_name="+", verbose_name=_("model")
    )
    crm_object = models.ForeignKey(
        CRMObject, models.PROTECT, related_name="bindings", verbose_name=_("CRM object")
    )
    on_create = models.ForeignKey(
        EventDefinition,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("on create"),
    )
    on_update = models.ForeignKey(
        EventDefinition,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("on update"),
    )
    on_delete = models.ForeignKey(
        EventDefinition,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("on delete"),
    )
    payload = OrderedJSONField(
        _("payload"),
        default=dict,
        help_text=_('Payload key to attribute path, such as {"owner": "owner.email"}.'),
    )
    condition = OrderedJSONField(
        _("condition"),
        default=list,
        blank=True,
        help_text=_(
            "Only rows of which all of this holds are synced: a list of rules such as "
            '{"path": "status", "operator": "is", "value": "sent"}.'
        ),
    )
    connection_path = models.CharField(
        _("connection path"),
        max_length=200,
        help_text=_("Attribute path to the connection id, such as workspace.crm_connection_id."),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("model binding")
        verbose_name_plural = _("model bindings")
        default_permissions = ("view",)
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "crm_object"], name="xkit_model_binding_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.crm_object}"

    @property
    def path(self) -> str:
        return f"{self.model.app_label}.{self.model.model} → {self.crm_object.slug}"

    def clean(self) -> None:
        """Raise `ValidationError` with everything that would fail when a row is saved."""
        from xkit_crm.sync.model_bindings import problems_of

        super().clean()
        if not (self.model_id and self.crm_object_id):
            return
        found: dict[str, list[str]] = {}
        for problem in problems_of(self):
            # `payload.owner` and `condition[0].path` are told at `payload` and `condition`.
            name = re.split(r"[.[]", problem.path, maxsplit=1)[0]
            key = problem.path.removeprefix(name).removeprefix(".")
            found.setdefault(name, []).append(f"{key}: {problem.error}" if key else problem.error)
        if found:
            raise ValidationError(found)
