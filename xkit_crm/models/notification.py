"""Notification: what the product's own endpoint is told of a connection, until it has heard it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.models.base import new_uuid


class NotificationStatus(models.TextChoices):
    PENDING = "pending", _("pending")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed: given up")


class Notification(models.Model):
    uuid = models.UUIDField(_("id"), default=new_uuid, unique=True, editable=False)
    event_type = models.CharField(_("event type"), max_length=100)
    payload = models.JSONField(_("payload"))
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=NotificationStatus.choices,
        default=NotificationStatus.PENDING,
    )
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True, editable=False)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        default_permissions = ("view",)
        ordering = ["-id"]
        indexes = [models.Index(fields=["status", "due_at"], name="xkit_notification_due_idx")]

    def __str__(self) -> str:
        return f"{self.event_type} {self.uuid}"
