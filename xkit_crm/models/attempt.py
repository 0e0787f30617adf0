"""Attempt: one try at carrying an invocation out."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.invocation import Invocation


class Outcome(models.TextChoices):
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    UNKNOWN = "unknown", _("unknown: may have been written")
    REHEARSED = "rehearsed", _("rehearsed: nothing was sent")


class Attempt(models.Model):
    """Written when the try is over; it never holds credentials."""

    invocation = models.ForeignKey(
        Invocation, models.CASCADE, related_name="attempts", verbose_name=_("invocation")
    )
    number = models.PositiveIntegerField(_("number"))
    operation = models.CharField(_("operation"), max_length=20)
    target = models.CharField(
        _("target"),
        max_length=255,
        blank=True,
        help_text=_("The remote object, record or workflow."),
    )
    sent = models.JSONField(_("sent"), null=True, blank=True)
    received = models.JSONField(_("received"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices)
    error = models.JSONField(_("error"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    duration = models.DurationField(_("duration"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        ordering = ["invocation_id", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["invocation", "number"], name="xkit_attempt_number_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.get_outcome_display()}"
