"""Notifications: what the product's own endpoint was told, and what it has still to hear."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import ReadOnlyAdmin
from xkit_crm.models import Notification
from xkit_crm.models.notification import NotificationStatus


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ["event_type", "payload", "status", "tries", "due_at", "error", "created_at"]
    list_filter = ["status", "event_type"]
    show_full_result_count = False
    actions = ["send_again"]

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("xkit_crm.change_notification"))

    @admin.action(description=_("Send the selected ones again"), permissions=["send"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Notification]) -> None:
        """Said again as it was, from the first try on."""
        chosen.update(status=NotificationStatus.PENDING, tries=0, due_at=timezone.now())
