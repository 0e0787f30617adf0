"""Connections, their lanes, and the record links in them."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import ReadOnlyAdmin, ReadOnlyInline, XkitAdmin, badge, link_to
from xkit_crm.connections import propose_mapping, set_status
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Connection, Lane, ObjectMapping, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.registry import available


class CredentialsField(forms.JSONField):
    """Written and never shown: an empty box keeps what there is."""

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class ConnectionForm(forms.ModelForm):
    provider = forms.ChoiceField(choices=lambda: [(slug, slug) for slug in available()])
    credentials = CredentialsField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("A JSON object. Stored encrypted and never shown; empty keeps what there is."),
    )

    class Meta:
        model = Connection
        fields = ["id", "context", "provider", "status", "status_reason"]

    def clean_credentials(self) -> dict[str, Any] | None:
        value = self.cleaned_data["credentials"]
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError(_('Give an object, such as {"token": "..."}.'))
        return value

    def save(self, commit: bool = True) -> Connection:
        if self.cleaned_data["credentials"] is not None:
            self.instance.credentials = self.cleaned_data["credentials"]
        saved: Connection = super().save(commit)
        return saved


class MappingInline(ReadOnlyInline):
    model = ObjectMapping
    fields: ClassVar[Any] = ["crm_object", "remote_object", "updated_at"]
    readonly_fields = fields


@admin.register(Connection)
class ConnectionAdmin(XkitAdmin):
    form = ConnectionForm
    list_display = ["id", "context", "provider", "status_", "status_reason", "updated_at"]
    list_filter = ["status", "provider"]
    search_fields = ["id", "context"]
    inlines = [MappingInline]
    actions = ["enable", "disable", "propose"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["id", "log"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = ["id", "context", "provider", "status", "status_reason", "credentials"]
        return [*fields, "log"] if obj else fields

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "status_reason":
            kwargs["widget"] = forms.TextInput(attrs={"size": 80})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description=_("status"), ordering="status")
    def status_(self, connection: Connection) -> str:
        return badge(connection.status)

    @admin.display(description=_("what happened"))
    def log(self, connection: Connection) -> str:
        query = f"?connection__id__exact={connection.pk}"
        return format_html(
            '<a href="{}{}">{}</a> · <a href="{}{}">{}</a>',
            reverse("admin:xkit_crm_invocation_changelist"),
            query,
            _("invocations"),
            reverse("admin:xkit_crm_recordlink_changelist"),
            query,
            _("record links"),
        )

    @admin.action(description=_("Enable the selected connections"), permissions=["change"])
    def enable(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            set_status(connection, ConnectionStatus.ENABLED)

    @admin.action(description=_("Disable the selected connections"), permissions=["change"])
    def disable(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            set_status(connection, ConnectionStatus.DISABLED, "Disabled in the admin.")

    @admin.action(
        description=_("Propose a mapping for what is not decided"), permissions=["change"]
    )
    def propose(self, request: HttpRequest, connections: QuerySet[Connection]) -> None:
        for connection in connections:
            try:
                propose_mapping(connection)
            except XkitError as error:
                self.message_user(request, f"{connection}: {error}", messages.ERROR)


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    list_display = ["connection", "holder", "leased_until", "paused_until"]
    list_select_related = ["connection"]
    search_fields = ["connection__id"]


class RecordLinkForm(forms.ModelForm):
    def clean_record_id(self) -> str:
        from xkit_crm.providers.base import RecordRef

        try:
            return str(RecordRef.parse(self.cleaned_data["record_id"]))
        except XkitError as error:
            raise forms.ValidationError(str(error)) from error


@admin.register(RecordLink)
class RecordLinkAdmin(XkitAdmin):
    form = RecordLinkForm
    list_display = ["record_id", "row", "crm_object", "connection", "created_at"]
    list_filter = ["crm_object", ("content_type", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["connection", "crm_object", "content_type"]
    search_fields = ["record_id", "object_pk", "connection__id"]
    autocomplete_fields = ["connection", "crm_object"]
    fields = ["connection", "crm_object", "content_type", "object_pk", "record_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RecordLink]:
        return super().get_queryset(request).prefetch_related("instance")

    @admin.display(description=_("row"))
    def row(self, link: RecordLink) -> str:
        return link_to(link.instance, f"{link.content_type.name} {link.object_pk}")
