"""Connections, and their lanes."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import ReadOnlyAdmin, ReadOnlyInline, XkitAdmin, badge
from xkit_crm.admin.overview import OverviewPages
from xkit_crm.connections import look_anew, propose_mapping, set_status
from xkit_crm.delivery import lanes, shadow
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Connection, Lane, ObjectMapping
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.permissions import MANAGE_CREDENTIALS, OPERATE, may
from xkit_crm.providers.registry import available


class CredentialsField(forms.JSONField):
    """Written and never shown, not even back to who typed it: an empty box keeps what there is."""

    def prepare_value(self, value: Any) -> Any:
        return ""


class ConnectionForm(forms.ModelForm):
    provider = forms.ChoiceField(choices=lambda: [(slug, slug) for slug in available()])
    credentials = CredentialsField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("A JSON object. Stored encrypted and never shown; empty keeps what there is."),
    )

    class Meta:
        model = Connection
        fields = ["id", "context", "provider", "status", "status_reason", "quota_reserve"]

    def clean_credentials(self) -> dict[str, Any] | None:
        value = self.cleaned_data["credentials"]
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError(_('Give an object, such as {"token": "..."}.'))
        return value

    def save(self, commit: bool = True) -> Connection:
        if self.cleaned_data.get("credentials") is not None:
            self.instance.credentials = self.cleaned_data["credentials"]
        saved: Connection = super().save(commit)
        return saved


class MappingInline(ReadOnlyInline):
    model = ObjectMapping
    fields: ClassVar[Any] = ["crm_object", "remote_object", "updated_at"]
    readonly_fields = fields


@admin.register(Connection)
class ConnectionAdmin(OverviewPages, XkitAdmin):
    """Operators change a connection; who makes, deletes or authorises one needs more."""

    permission = OPERATE
    form = ConnectionForm
    list_display = ["id", "context", "provider", "status_", "status_reason", "updated_at"]
    list_filter = ["status", "shadow", "provider"]
    search_fields = ["id", "context"]
    inlines = [MappingInline]
    actions = ["enable", "disable", "propose", "start_shadow", "go_live", "go_live_without"]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return may(request.user, MANAGE_CREDENTIALS)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, MANAGE_CREDENTIALS)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        manages = may(request.user, MANAGE_CREDENTIALS)
        return manages or super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        manages = may(request.user, MANAGE_CREDENTIALS)
        return manages or super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["id", "log", "shadow_report"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = ["id", "context", "provider", "status", "status_reason"]
        if may(request.user, MANAGE_CREDENTIALS):
            fields.append("credentials")
        if obj is None:
            return fields
        shown = ["shadow_report"] if obj.shadow else []
        return [*fields, "quota_reserve", *shown, "log"]

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "status_reason":
            kwargs["widget"] = forms.TextInput(attrs={"size": 80})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Connection, form: forms.ModelForm, change: bool
    ) -> None:
        """A status chosen here is told to the product like any other change of status."""
        chosen, reason = ConnectionStatus(obj.status), obj.status_reason
        obj.status = form.initial.get("status", ConnectionStatus.PENDING)
        if change:
            self._save_changed(obj, {*form.changed_data} - {"status", "status_reason"})
        else:
            super().save_model(request, obj, form, change)
        set_status(obj, chosen, reason)

    def _save_changed(self, obj: Connection, names: set[str]) -> None:
        """Nothing else: a worker may have renewed the token since the row was read."""
        columns = {"credentials_cipher" if name == "credentials" else name for name in names}
        obj.save(update_fields=[*columns, "updated_at"])
        if names & {"provider", "credentials"}:
            look_anew(obj)

    @admin.display(description=_("status"), ordering="status")
    def status_(self, connection: Connection) -> str:
        shown = badge(connection.status)
        return format_html("{} {}", shown, badge("shadow")) if connection.shadow else shown

    @admin.display(description=_("shadow mode"))
    def shadow_report(self, connection: Connection) -> str:
        """What would happen if it went live now."""
        try:
            found = shadow.report(connection)
        except XkitError as error:
            return str(error)
        summary = _(
            "Nothing is sent. Invocations that wait: %(waiting)d, not rehearsed yet: %(left)d. "
            "Calls that they would take: %(calls)d."
        ) % {"waiting": found.waiting, "left": found.not_rehearsed, "calls": found.calls}
        rows = [
            *((count, f"{op} {target}") for (op, target), count in sorted(found.writes.items())),
            *([(found.nothing, _("nothing to do"))] if found.nothing else []),
            *(
                (count, _("would fail: %s") % message)
                for message, count in found.problems.most_common(10)
            ),
        ]
        return format_html(
            "{}{}",
            summary,
            format_html_join("", "<br>{} × {}", rows),
        )

    @admin.display(description=_("what happened"))
    def log(self, connection: Connection) -> str:
        logs = (
            ("invocation", "connection", _("invocations")),
            ("recordlink", "connection__id__exact", _("record links")),
            ("mappingversion", "connection__id__exact", _("mapping versions")),
        )
        overview = reverse("admin:xkit_crm_overview_of_one", args=[quote(connection.pk)])
        links = [(overview, _("overview"))]
        for model, named, label in logs:
            query = urlencode({named: connection.pk})
            links.append((reverse(f"admin:xkit_crm_{model}_changelist") + f"?{query}", label))
        return format_html_join(" · ", '<a href="{}">{}</a>', links)

    @admin.action(description=_("Enable the selected connections"), permissions=["operate"])
    def enable(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            set_status(connection, ConnectionStatus.ENABLED)
            self.log_change(request, connection, "Enabled.")

    @admin.action(description=_("Disable the selected connections"), permissions=["operate"])
    def disable(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            set_status(connection, ConnectionStatus.DISABLED, "Disabled in the admin.")
            self.log_change(request, connection, "Disabled.")

    @admin.action(
        description=_("Shadow mode: send nothing, show what would be sent"),
        permissions=["operate"],
    )
    def start_shadow(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            shadow.start(connection)
            self.log_change(request, connection, "Shadow mode started.")
            told = _("Nothing is sent any more from %s: its page shows what would be.")
            self.message_user(request, told % connection)

    @admin.action(description=_("Go live: send what waits, in its order"), permissions=["operate"])
    def go_live(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        self._go_live(request, connections, discard=False)

    @admin.action(description=_("Go live without what waits: skip it"), permissions=["operate"])
    def go_live_without(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        self._go_live(request, connections, discard=True)

    def _go_live(
        self, request: HttpRequest, connections: QuerySet[Connection], *, discard: bool
    ) -> None:
        for connection in connections.filter(shadow=True):
            count = shadow.go_live(connection, discard=discard)
            told = "Went live, %d skipped." if discard else "Went live, %d released."
            self.log_change(request, connection, told % count)
            self.message_user(request, f"{connection}: {told % count}")

    @admin.action(
        description=_("Propose a mapping for what is not decided"), permissions=["operate"]
    )
    def propose(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            try:
                propose_mapping(connection)
            except XkitError as error:
                self.message_user(request, f"{connection}: {error}", messages.ERROR)
            else:
                self.log_change(request, connection, "Mapping proposed.")


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    list_display = [
        "connection",
        "holder",
        "leased_until",
        "paused_until",
        "failures",
        "quota_left",
        "quota",
    ]
    list_select_related = ["connection"]
    search_fields = ["connection__id"]
    actions = ["resume"]

    @admin.action(description=_("Call the CRM again at once"), permissions=["operate"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Lane]) -> None:
        for lane in chosen:
            lanes.resume(lane.pk)
            self.log_change(request, lane, "Resumed.")
