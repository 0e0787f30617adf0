"""Object mapping: which remote object a CRM object is, for one customer."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.mapping.transformations import check_object_map
from xkit_crm.models.base import Dated, OrderedJSONField, raise_problems
from xkit_crm.models.connection import Connection
from xkit_crm.models.crm_object import CRMObject


class ObjectMapping(Dated):
    connection = models.ForeignKey(
        Connection, models.CASCADE, related_name="mappings", verbose_name=_("connection")
    )
    crm_object = models.ForeignKey(
        CRMObject, models.PROTECT, related_name="mappings", verbose_name=_("CRM object")
    )
    remote_object = models.CharField(
        _("remote object"),
        max_length=200,
        blank=True,
        help_text=_("The API name of the customer's object; empty: opted out."),
    )
    fields = OrderedJSONField(
        _("fields"),
        default=dict,
        blank=True,
        help_text=_("Which remote field feeds each field that the product reads back."),
    )

    class Meta:
        verbose_name = _("object mapping")
        verbose_name_plural = _("object mappings")
        default_permissions = ("view",)
        ordering = ["connection_id", "crm_object_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "crm_object"], name="xkit_object_mapping_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.crm_object} → {self.remote_object or '—'}"

    def clean(self) -> None:
        super().clean()
        raise_problems(check_object_map(self.fields), "fields")
