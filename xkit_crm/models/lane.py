"""Lane: the invocations of one connection, in order, and who works in it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.connection import Connection


class LaneQuerySet(models.QuerySet["Lane"]):
    def open(self, now: datetime) -> Self:
        """Those whose CRM didn't ask to be left alone."""
        return self.filter(Q(paused_until=None) | Q(paused_until__lte=now))


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
        _("paused until"),
        null=True,
        blank=True,
        help_text=_("Asked for by the CRM, or by its circuit breaker."),
    )
    #: Calls in a row that found the CRM unavailable. `delivery/breaker.py`.
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    #: The token bucket, and what the CRM last said of its quota. `delivery/rate.py`.
    tokens = models.FloatField(_("calls left in the bucket"), null=True, blank=True)
    tokens_at = models.DateTimeField(null=True, blank=True, editable=False)
    quota = models.PositiveIntegerField(_("daily quota"), null=True, blank=True)
    quota_left = models.PositiveIntegerField(_("daily quota left"), null=True, blank=True)
    quota_resets_at = models.DateTimeField(_("quota renewed"), null=True, blank=True)
    call_seconds = models.FloatField(_("seconds of the last call"), null=True, blank=True)
    #: How often somebody said that the CRM is well: what a worker in the lane learned before that
    #: doesn't count. `delivery/lanes.py`.
    resumed = models.PositiveIntegerField(default=0, editable=False)

    objects: ClassVar[LaneQuerySet] = LaneQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.connection_id)
