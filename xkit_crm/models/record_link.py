"""Record link: a local row and the CRM record it stands for, in one connection."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.base import Dated
from xkit_crm.models.connection import Connection
from xkit_crm.models.crm_object import CRMObject


class RecordLink(Dated):
    connection = models.ForeignKey(
        Connection,
        models.CASCADE,
        related_name="links",
        db_index=False,
        verbose_name=_("connection"),
    )
    crm_object = models.ForeignKey(
        CRMObject, models.PROTECT, related_name="links", verbose_name=_("CRM object")
    )
    content_type = models.ForeignKey(
        ContentType, models.CASCADE, related_name="+", db_index=False, verbose_name=_("model")
    )
    object_pk = models.CharField(_("row"), max_length=255)
    instance = GenericForeignKey("content_type", "object_pk")
    record_id = models.CharField(
        _("record id"), max_length=255, help_text=_("Such as Opportunity:09876.")
    )
    #: A digest of each payload key as it was last delivered; `xkit_reconcile` compares with it.
    delivered = models.JSONField(default=dict, editable=False)
    #: A digest of each remote field as we last wrote it; what differs was changed by another.
    written = models.JSONField(default=dict, editable=False)

    class Meta:
        verbose_name = _("record link")
        verbose_name_plural = _("record links")
        default_permissions = ("view",)
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["content_type", "object_pk", "connection", "crm_object"],
                name="xkit_record_link_unique",
            ),
        ]
        indexes = [
            models.Index(fields=["record_id", "connection"], name="xkit_link_record_idx"),
            # The list of one connection's links, newest first.
            models.Index(fields=["connection", "id"], name="xkit_link_list_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.content_type.model} {self.object_pk} ↔ {self.record_id}"
