"""Notifications: what the product's own endpoint was told, and what it has still to hear."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import ReadOnlyAdmin, pretty
from xkit_crm.models import Notification
from xkit_crm.models.notification import NotificationStatus


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ["event_type", "connection", "reason", "status", "tries", "error", "due_at"]
    fields = ["event_type", "told", "status", "tries", "error", "due_at", "created_at"]
    readonly_fields = ["told"]
    list_filter = ["status", "event_type"]
    show_full_result_count = False
    actions = ["send_again"]

    @admin.display(description=_("connection"))
    def connection(self, row: Notification) -> str:
        return str(row.payload.get("connection_external_id", ""))

    @admin.display(description=_("reason"))
    def reason(self, row: Notification) -> str:
        return str(row.payload.get("reason") or "—")

    @admin.display(description=_("payload"))
    def told(self, row: Notification) -> str:
        return pretty(row.payload)

    @admin.action(description=_("Send the selected ones again"), permissions=["operate"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Notification]) -> None:
        """Said again as it was, from the first try on."""
        for notification in chosen:
            self.log_change(request, notification, "Sent again.")
        chosen.update(status=NotificationStatus.PENDING, tries=0, due_at=timezone.now())
