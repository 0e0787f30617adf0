"""The log: invocations and their attempts, with replay."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from xkit_crm.admin.base import ReadOnlyAdmin, ReadOnlyInline, link_to, pretty
from xkit_crm.delivery.replay import REPLAYABLE, replay
from xkit_crm.models import Attempt, Invocation
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.registry import provider_for


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields: ClassVar[Any] = [
        "number",
        "operation",
        "target",
        "outcome",
        "sent_",
        "error_",
        "started_at",
        "took",
    ]
    readonly_fields = fields
    verbose_name_plural = _("attempts")

    @admin.display(description=_("sent"))
    def sent_(self, attempt: Attempt) -> str:
        return pretty(attempt.sent)

    @admin.display(description=_("error"))
    def error_(self, attempt: Attempt) -> str:
        return pretty(attempt.error)

    @admin.display(description=_("took"))
    def took(self, attempt: Attempt) -> str:
        return f"{attempt.duration.total_seconds() * 1000:.0f} ms"


@admin.register(Invocation)
class InvocationAdmin(ReadOnlyAdmin):
    list_display = [
        "short_id",
        "status",
        "event",
        "connection",
        "record_id",
        "row",
        "tries",
        "error_code",
        "created_at",
    ]
    list_filter = [
        "status",
        "error_code",
        "event__crm_object",
        "event__type",
        "source",
        "connection",
    ]
    list_select_related = ["event", "connection", "content_type"]
    search_fields = ["uuid", "record_id", "object_pk", "connection__id", "request_id"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    inlines = [AttemptInline]
    actions = ["replay_selected"]
    fieldsets = [
        (None, {"fields": ["uuid", "status", "error", "connection_", "event_", "record", "row"]}),
        (_("Payload"), {"fields": ["payload_", "result_"]}),
        (
            _("Delivery"),
            {
                "fields": [
                    "source",
                    "tries",
                    "due_at",
                    "doubtful",
                    "superseded_by",
                    "request_id",
                    "created_at",
                    "finished_at",
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
        return [again, *super().get_urls()]

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("xkit_crm.change_invocation")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        invocation = kwargs.get("obj")
        context["can_replay"] = (
            invocation is not None
            and invocation.status in REPLAYABLE
            and self.has_replay_permission(request)
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(require_POST)
    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        invocation = self.get_object(request, object_id)
        if invocation is not None and self.has_replay_permission(request):
            self._replay(request, Invocation.objects.filter(pk=invocation.pk))
        page = reverse("admin:xkit_crm_invocation_change", args=[object_id])
        return HttpResponseRedirect(page)

    @admin.action(description=_("Replay the selected invocations"), permissions=["replay"])
    def replay_selected(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        self._replay(request, chosen)

    def _replay(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        for invocation in chosen:
            self.log_change(request, invocation, "Replayed.")
        count = replay(chosen)
        text = ngettext("%d invocation is queued again.", "%d invocations are queued again.", count)
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, text % count, level)

    @admin.display(description=_("id"), ordering="id")
    def short_id(self, invocation: Invocation) -> str:
        # The first part of a UUIDv7 is the time, the same for all of a moment.
        return f"…{str(invocation.uuid)[-12:]}"

    @admin.display(description=_("row"))
    def row(self, invocation: Invocation) -> str:
        if not invocation.object_pk or invocation.content_type is None:
            return "—"
        name = f"{invocation.content_type.name} {invocation.object_pk}"
        model = invocation.content_type.model_class()
        return link_to(model(pk=invocation.object_pk), name) if model else name

    @admin.display(description=_("connection"))
    def connection_(self, invocation: Invocation) -> str:
        return link_to(invocation.connection)

    @admin.display(description=_("event"))
    def event_(self, invocation: Invocation) -> str:
        return link_to(invocation.event, f"{invocation.event.crm_object.slug}.{invocation.event}")

    @admin.display(description=_("record"))
    def record(self, invocation: Invocation) -> Any:
        from django.utils.html import format_html

        if not invocation.record_id:
            return "—"
        provider = provider_for(invocation.connection)
        url = provider.record_url(RecordRef.parse(invocation.record_id))
        if not url:
            return invocation.record_id
        return format_html('<a href="{}">{}</a>', url, invocation.record_id)

    @admin.display(description=_("error"))
    def error(self, invocation: Invocation) -> str:
        return str(invocation.error) if invocation.error else "—"

    @admin.display(description=_("payload"))
    def payload_(self, invocation: Invocation) -> str:
        return pretty(invocation.payload)

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
