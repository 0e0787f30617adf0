"""Lane: the invocations of one connection, in order, and who works in it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.connection import Connection


class Lane(models.Model):
    """The lease that lets one worker at a time carry out a connection's invocations.

    A table of its own, so that taking and giving back a lease never touches the connection's row.
    """

    connection = models.OneToOneField(
        Connection,
        models.CASCADE,
        primary_key=True,
        related_name="lane",
        verbose_name=_("connection"),
    )
    holder = models.CharField(_("worker"), max_length=100, blank=True)
    leased_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    paused_until = models.DateTimeField(
        _("paused until"), null=True, blank=True, help_text=_("Asked for by the CRM.")
    )

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")

    def __str__(self) -> str:
        return str(self.connection_id)
