"""What each customer decided: object mappings and their event actions."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_jsonform.widgets import JSONFormWidget

from xkit_crm.admin.base import XkitAdmin, link_to, pretty
from xkit_crm.delivery.decisions import decision_for
from xkit_crm.exceptions import XkitError
from xkit_crm.mapping.transformations import Kind, WriteMode
from xkit_crm.models import EventAction, ObjectMapping
from xkit_crm.providers import descriptions
from xkit_crm.providers.registry import provider_for

TRANSFORMATIONS_FORM: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "keys": {
            "field": {"type": "string", "title": _("Remote field or workflow input")},
            "kind": {
                "type": "string",
                "title": _("Kind"),
                "choices": [str(kind) for kind in Kind],
                "default": str(Kind.DIRECT),
            },
            "key": {"type": "string", "title": _("Payload key")},
            "value": {"type": "string", "title": _("Static or default value")},
            "template": {"type": "string", "title": _("Template, such as Contract {name}")},
            "values": {
                "type": "dict",
                "title": _("Value map"),
                "keys": {},
                "additionalProperties": {"type": "string"},
            },
            "fallback": {"type": "string", "title": _("Where the map has no entry")},
            "mode": {
                "type": "string",
                "title": _("Write"),
                "choices": [str(mode) for mode in WriteMode],
                "default": str(WriteMode.ALWAYS),
            },
            "operator": {
                "type": "string",
                "title": _("Operator, for searches"),
                "choices": ["", "equals", "contains"],
            },
        },
    },
}


class EventActionForm(forms.ModelForm):
    transformations = forms.JSONField(
        required=False, widget=JSONFormWidget(schema=TRANSFORMATIONS_FORM)
    )

    class Meta:
        model = EventAction
        fields = ["mapping", "event", "action", "workflow", "transformations"]

    def clean_transformations(self) -> list[Any]:
        rows: Any = self.cleaned_data["transformations"] or []
        if not isinstance(rows, list):
            raise forms.ValidationError(_("Give a list of transformations."))
        return [
            {key: value for key, value in row.items() if value not in ("", None, {})}
            if isinstance(row, dict)
            else row
            for row in rows
        ]


class EventActionInline(admin.TabularInline):
    model = EventAction
    fields = ["event", "action", "workflow"]
    extra = 0
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("event", "mapping")


@admin.register(ObjectMapping)
class ObjectMappingAdmin(XkitAdmin):
    list_display = ["crm_object", "remote_object", "connection_link", "updated_at"]
    list_filter = ["crm_object", "remote_object"]
    list_select_related = ["connection", "crm_object"]
    search_fields = ["connection__id", "remote_object", "crm_object__slug"]
    autocomplete_fields = ["connection", "crm_object"]
    inlines = [EventActionInline]

    @admin.display(description=_("connection"), ordering="connection_id")
    def connection_link(self, mapping: ObjectMapping) -> str:
        return link_to(mapping.connection)


@admin.register(EventAction)
class EventActionAdmin(XkitAdmin):
    form = EventActionForm
    list_display = ["event", "action", "connection", "remote_object", "updated_at"]
    list_filter = ["action", "event"]
    list_select_related = ["event", "mapping__crm_object", "mapping__connection"]
    search_fields = ["event__slug", "mapping__connection__id", "mapping__remote_object"]
    autocomplete_fields = ["mapping", "event"]
    readonly_fields = ["still_missing", "remote_fields"]

    @admin.display(description=_("connection"), ordering="mapping__connection_id")
    def connection(self, action: EventAction) -> str:
        return link_to(action.mapping.connection)

    @admin.display(description=_("remote object"), ordering="mapping__remote_object")
    def remote_object(self, action: EventAction) -> str:
        return action.mapping.remote_object or "—"

    @admin.display(description=_("still missing"))
    def still_missing(self, action: EventAction) -> str:
        if not action.mapping_id:
            return "—"
        try:
            connection = action.mapping.connection
            decision = decision_for(connection, action.event)
            problems = decision.missing(provider_for(connection))
        except XkitError as error:
            return str(error)
        return pretty([str(problem) for problem in problems]) if problems else str(_("nothing"))

    @admin.display(description=_("fields of the remote object"))
    def remote_fields(self, action: EventAction) -> str:
        if not action.mapping_id or not action.mapping.remote_object:
            return "—"
        try:
            fields = descriptions.fields(
                provider_for(action.mapping.connection), action.mapping.remote_object
            )
        except XkitError as error:
            return str(error)
        return pretty({field.name: f"{field.label} ({field.type})" for field in fields.values()})
