"""The log: invocations and their attempts, with replay."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from xkit_crm.admin import trying
from xkit_crm.admin.base import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    badge,
    link_to,
    link_to_row,
    moment,
    pretty,
)
from xkit_crm.delivery.replay import REPLAYABLE, replay, settle
from xkit_crm.exceptions import XkitError, from_dict
from xkit_crm.models import Attempt, EventDefinition, Invocation
from xkit_crm.models.invocation import NEVER, InvocationStatus
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.registry import provider_for


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields: ClassVar[Any] = ["number", "what", "outcome_", "sent_", "error_", "when"]
    readonly_fields = fields
    verbose_name_plural = _("attempts")
    show_change_link = False

    @admin.display(description=_("what"))
    def what(self, attempt: Attempt) -> str:
        return f"{attempt.operation} {attempt.target}"

    @admin.display(description=_("outcome"))
    def outcome_(self, attempt: Attempt) -> str:
        return badge(attempt.outcome)

    @admin.display(description=_("sent"))
    def sent_(self, attempt: Attempt) -> str:
        return pretty(attempt.sent)

    @admin.display(description=_("error"))
    def error_(self, attempt: Attempt) -> str:
        return str(from_dict(attempt.error)) if attempt.error else "—"

    @admin.display(description=_("when"))
    def when(self, attempt: Attempt) -> str:
        took = attempt.duration.total_seconds() * 1000
        return format_html("{}<br>{} ms", moment(attempt.started_at), f"{took:.0f}")


@admin.register(Invocation)
class InvocationAdmin(ReadOnlyAdmin):
    list_display = [
        "at",
        "status_",
        "event_slug",
        "record_id",
        "connection",
        "row",
        "tries",
        "error_code",
    ]
    list_filter = [
        "status",
        "error_code",
        "event__crm_object",
        "event__type",
        "source",
    ]
    list_select_related = ["event", "connection", "content_type"]
    search_fields = ["uuid", "record_id", "object_pk", "connection__id", "request_id"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    inlines = [AttemptInline]
    actions = ["replay_selected", "settle_selected"]
    fieldsets = [
        (None, {"fields": ["uuid", "status_", "error", "connection_", "event_", "record", "row"]}),
        (_("Payload"), {"fields": ["payload_", "folded_", "result_"]}),
        (
            _("Delivery"),
            {
                "fields": [
                    "source",
                    "priority",
                    "tries",
                    "mapping_version",
                    "at",
                    "due",
                    "finished",
                    "doubt",
                    "superseded_by",
                    "request_id",
                ]
            },
        ),
    ]
    change_form_template = "admin/xkit_crm/invocation/change_form.html"

    def get_urls(self) -> list[Any]:
        again = path(
            "<path:object_id>/replay/",
            self.admin_site.admin_view(self.replay_view),
            name="xkit_crm_invocation_replay",
        )
        return [again, *trying.urls(self), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        invocation = kwargs.get("obj")
        context["can_replay"] = (
            invocation is not None
            and invocation.status in REPLAYABLE
            and self.has_operate_permission(request)
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(require_POST)
    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        invocation = self.get_object(request, object_id)
        if invocation is not None and self.has_operate_permission(request):
            self._replay(request, Invocation.objects.filter(pk=invocation.pk))
        page = reverse("admin:xkit_crm_invocation_change", args=[object_id])
        return HttpResponseRedirect(page)

    @admin.action(description=_("Replay the selected invocations"), permissions=["operate"])
    def replay_selected(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        self._replay(request, chosen)

    @admin.action(
        description=_("Leave the selected unknown ones: I looked in the CRM"),
        permissions=["operate"],
    )
    def settle_selected(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        unknown = [one for one in chosen if one.status == InvocationStatus.UNKNOWN]
        count = settle(unknown)
        for invocation in Invocation.objects.filter(
            pk__in=[one.pk for one in unknown], status=InvocationStatus.SKIPPED
        ):
            self.log_change(request, invocation, "Left as it is.")
        text = ngettext("%d invocation is left as it is.", "%d are left as they are.", count)
        self.message_user(request, text % count, messages.SUCCESS if count else messages.WARNING)
        if count < len(unknown):
            self.message_user(
                request,
                _(
                    "Some would create their row again with its next change: link the row to its "
                    "record first (Record links, Add), or replay it if the record is not there."
                ),
                messages.WARNING,
            )

    def _replay(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        for invocation in chosen:
            self.log_change(request, invocation, "Replayed.")
        count = replay(chosen)
        text = ngettext("%d invocation is queued again.", "%d invocations are queued again.", count)
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % count, level)

    @admin.display(description=_("made"), ordering="id")
    def at(self, invocation: Invocation) -> str:
        return moment(invocation.created_at)

    @admin.display(description=_("due"))
    def due(self, invocation: Invocation) -> Any:
        if invocation.due_at == NEVER and not invocation.is_final:
            return _("when its connection goes live")
        return moment(None if invocation.is_final else invocation.due_at)

    @admin.display(description=_("finished"))
    def finished(self, invocation: Invocation) -> str:
        return moment(invocation.finished_at)

    @admin.display(description=_("status"), ordering="status")
    def status_(self, invocation: Invocation) -> str:
        return badge(invocation.status)

    @admin.display(description=_("event"), ordering="event")
    def event_slug(self, invocation: Invocation) -> str:
        return invocation.event.slug

    @admin.display(description=_("in doubt"))
    def doubt(self, invocation: Invocation) -> Any:
        return _("may have been written: the CRM is asked first") if invocation.doubtful else "—"

    @admin.display(description=_("row"))
    def row(self, invocation: Invocation) -> str:
        return link_to_row(invocation.content_type, invocation.object_pk)

    @admin.display(description=_("connection"))
    def connection_(self, invocation: Invocation) -> str:
        return link_to(invocation.connection)

    @admin.display(description=_("event"))
    def event_(self, invocation: Invocation) -> str:
        return link_to(invocation.event, f"{invocation.event.crm_object.slug}.{invocation.event}")

    @admin.display(description=_("record"))
    def record(self, invocation: Invocation) -> Any:
        if not invocation.record_id:
            return "—"
        try:
            provider = provider_for(invocation.connection)
            url = provider.record_url(RecordRef.parse(invocation.record_id))
        except XkitError:
            url = ""
        if not url:
            return invocation.record_id
        return format_html('<a href="{}">{}</a>', url, invocation.record_id)

    @admin.display(description=_("error"))
    def error(self, invocation: Invocation) -> str:
        return str(invocation.error) if invocation.error else "—"

    @admin.display(description=_("payload"))
    def payload_(self, invocation: Invocation) -> str:
        return pretty(invocation.payload)

    @admin.display(description=_("joined by"))
    def folded_(self, invocation: Invocation) -> str:
        steps = invocation.folded or []
        known = EventDefinition.objects.in_bulk({step["event"] for step in steps})
        return pretty(
            [{"event": str(known.get(s["event"], "?")), "payload": s["payload"]} for s in steps]
            or None
        )

    @admin.display(description=_("answer"))
    def result_(self, invocation: Invocation) -> str:
        return pretty(invocation.result)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ["invocation", "number", "operation", "target", "outcome", "started_at"]
    list_filter = ["outcome", "operation"]
    list_select_related = ["invocation"]
    search_fields = ["invocation__uuid", "target"]
    show_full_result_count = False
