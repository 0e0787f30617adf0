"""Mapping version: what a customer had decided at one time, and the draft of what comes next."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.base import Dated, OrderedJSONField, new_uuid
from xkit_crm.models.connection import Connection


class MappingVersion(models.Model):
    """A mapping that was put in force, as a document (`mapping/documents.py`). Never changed."""

    connection = models.ForeignKey(
        Connection, models.CASCADE, related_name="mapping_versions", verbose_name=_("connection")
    )
    number = models.PositiveIntegerField(_("number"))
    document = OrderedJSONField(_("mapping"))
    author = models.CharField(
        _("author"), max_length=255, blank=True, help_text=_("Who put it in force.")
    )
    created_at = models.DateTimeField(_("in force since"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("mapping version")
        verbose_name_plural = _("mapping versions")
        default_permissions = ("view",)
        ordering = ["connection_id", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "number"], name="xkit_mapping_version_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.number}"


class MappingDraft(Dated):
    """What a customer is deciding in CRM Link; it changes nothing until they confirm it."""

    connection = models.OneToOneField(
        Connection,
        models.CASCADE,
        primary_key=True,
        related_name="mapping_draft",
        verbose_name=_("connection"),
    )
    document = OrderedJSONField(_("mapping"))
    #: What was decided for objects and workflows that were chosen before
    #: (`mapping/reconsidering.py`).
    aside = OrderedJSONField(_("put aside"), default=dict, blank=True)
    #: Another one with every change, so that what is confirmed is what was looked at.
    revision = models.UUIDField(default=new_uuid, editable=False)

    class Meta:
        verbose_name = _("mapping draft")
        verbose_name_plural = _("mapping drafts")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.connection_id
