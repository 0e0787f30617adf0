"""Marked row: a row of the product's that was written past the capture, and is to be looked at."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class MarkedRow(models.Model):
    """Made by the triggers of `sync/triggers.py`, taken away by `sync/taking_in.py`.

    Nothing is unique here, so that whoever writes a row waits for nobody, and no limit of length
    can fail their commit. A row that was written twice may be marked twice.
    """

    #: `documents.document`.
    model = models.TextField(_("model"))
    object_pk = models.TextField(_("row"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("marked row")
        verbose_name_plural = _("marked rows")
        default_permissions = ("view",)
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.model} {self.object_pk}"
