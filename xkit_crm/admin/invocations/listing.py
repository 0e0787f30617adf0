"""The list of invocations, and what is done from it to those that are ticked."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin import trying
from xkit_crm.admin.base import badge, link_to, link_to_row, moment
from xkit_crm.admin.invocations.asking import InvocationAskForm
from xkit_crm.admin.invocations.failures import FailuresPage
from xkit_crm.admin.invocations.hiding import Eyes
from xkit_crm.admin.invocations.repairing import RepairPages
from xkit_crm.admin.keyset import KeysetAdmin
from xkit_crm.delivery import failures, log
from xkit_crm.delivery.log import NAMED
from xkit_crm.delivery.replay import SKIPPABLE, SURE, replay, skip
from xkit_crm.delivery.walking import Page
from xkit_crm.models import Connection, Invocation
from xkit_crm.models.invocation import InvocationStatus

#: So much of an error's words is shown in the list.
WORDS = 90


@admin.register(Invocation)
class InvocationAdmin(FailuresPage, RepairPages, KeysetAdmin):
    ask_form = InvocationAskForm
    change_list_template = "admin/xkit_crm/invocation/list.html"
    list_display = ["at", "status_", "event_slug", "record", "connection_", "row", "tries", "error"]
    actions = ["replay_selected", "skip_selected"]

    def get_urls(self) -> list[Any]:
        return [*trying.urls(self), *super().get_urls()]

    def read(
        self,
        request: HttpRequest,
        form: InvocationAskForm,
        *,
        before: int | None,
        after: int | None,
    ) -> Page:
        eyes = Eyes(request)
        page = log.page(form.asked, before=before, after=after, with_payloads=not eyes.may_see)
        for row in page.rows:
            row.event = form.events[row.event_id]
            row.told = _told(row, eyes)
        return page

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"can_operate": self.has_operate_permission(request), "named": NAMED}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @admin.action(description=_("Replay the selected"), permissions=["operate"])
    def replay_selected(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        """Of the selected those that failed or were skipped."""
        left = chosen.filter(status=InvocationStatus.UNKNOWN).count()
        self._log_each(request, chosen.filter(status__in=SURE), "Replayed.")
        count = replay(chosen.values_list("pk", flat=True), statuses=SURE)
        self.say_replayed(request, count, left=left)

    @admin.action(description=_("Skip the selected: I looked in the CRM"), permissions=["operate"])
    def skip_selected(self, request: HttpRequest, chosen: QuerySet[Invocation]) -> None:
        """Of the selected those that failed, are unknown or wait."""
        ids = list(chosen.filter(status__in=SKIPPABLE).values_list("pk", flat=True))
        skipped = skip(ids)
        gone = Invocation.objects.filter(pk__in=ids, status=InvocationStatus.SKIPPED)
        self._log_each(request, gone, "Skipped.")
        self.say_skipped(request, skipped)

    def _log_each(self, request: HttpRequest, rows: QuerySet[Invocation], told: str) -> None:
        by = cast("int", request.user.pk)  # the admin lets nobody else in
        LogEntry.objects.log_actions(by, rows.only("uuid"), CHANGE, change_message=told)

    # -- columns ----------------------------------------------------------------------------------

    @admin.display(description=_("made"))
    def at(self, invocation: Invocation) -> str:
        return moment(invocation.created_at)

    @admin.display(description=_("status"))
    def status_(self, invocation: Invocation) -> str:
        return badge(invocation.status)

    @admin.display(description=_("event"))
    def event_slug(self, invocation: Invocation) -> str:
        return invocation.event.slug

    @admin.display(description=_("record"))
    def record(self, invocation: Invocation) -> str:
        return invocation.record_id or "—"

    @admin.display(description=_("connection"))
    def connection_(self, invocation: Invocation) -> str:
        return link_to(Connection(pk=invocation.connection_id))

    @admin.display(description=_("row"))
    def row(self, invocation: Invocation) -> str:
        if invocation.content_type_id is None:
            return "—"
        content_type = ContentType.objects.get_for_id(invocation.content_type_id)
        return link_to_row(content_type, invocation.object_pk)

    @admin.display(description=_("error"))
    def error(self, invocation: Invocation) -> str:
        return invocation.told or "—"  # type: ignore[attr-defined]


def _told(invocation: Invocation, eyes: Eyes) -> SafeString | str:
    """The beginning of its error's words, and its kind where one points at it."""
    if not invocation.error_code:
        return ""
    _where, words = failures.said(invocation.error_detail or {})
    if not eyes.may_see:
        words = failures.cause_of(invocation).words
    return format_html(
        '<span title="{}">{}</span>', invocation.error_code, Truncator(words).chars(WORDS)
    )
