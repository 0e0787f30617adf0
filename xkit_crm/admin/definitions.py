"""CRM objects and event definitions."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from xkit_crm import schema
from xkit_crm.admin.base import XkitAdmin, XkitInline, link_to, pretty
from xkit_crm.admin.schema_form import SchemaField
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.permissions import DEFINE


class CRMObjectForm(forms.ModelForm):
    class Meta:
        model = CRMObject
        fields = ["slug", "label", "description", "active", "fields"]
        field_classes = {"fields": SchemaField}


class EventForm(forms.ModelForm):
    class Meta:
        model = EventDefinition
        fields = ["crm_object", "slug", "type", "label", "description", "active", "payload_schema"]
        field_classes = {"payload_schema": SchemaField}


class EventInline(XkitInline):
    permission = DEFINE
    model = EventDefinition
    fields = ["slug", "type", "label", "active"]
    show_change_link = True
    can_delete = False


@admin.register(CRMObject)
class CRMObjectAdmin(XkitAdmin):
    permission = DEFINE
    form = CRMObjectForm
    list_display = ["slug", "label", "events_count", "active", "updated_at"]
    list_filter = ["active"]
    search_fields = ["slug", "label", "description"]
    ordering = ["slug"]
    inlines = [EventInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CRMObject]:
        active = Count("events", filter=Q(events__active=True))
        found: QuerySet[CRMObject] = super().get_queryset(request)
        return found.annotate(events_count=active)

    @admin.display(description=_("active events"), ordering="events_count")
    def events_count(self, crm_object: Any) -> int:
        return int(crm_object.events_count)


@admin.register(EventDefinition)
class EventDefinitionAdmin(XkitAdmin):
    permission = DEFINE
    form = EventForm
    list_display = ["slug", "crm_object_link", "type", "label", "active", "updated_at"]
    list_filter = ["type", "active", "crm_object"]
    list_select_related = ["crm_object"]
    search_fields = ["slug", "label", "description", "crm_object__slug"]
    autocomplete_fields = ["crm_object"]
    readonly_fields = ["sample", "json_schema"]
    fieldsets = [
        (None, {"fields": ["crm_object", "slug", "type", "label", "description", "active"]}),
        (_("Payload"), {"fields": ["payload_schema"]}),
        (_("For engineers"), {"classes": ["collapse"], "fields": ["sample", "json_schema"]}),
    ]

    @admin.display(description=_("CRM object"), ordering="crm_object__slug")
    def crm_object_link(self, event: EventDefinition) -> str:
        return link_to(event.crm_object)

    @admin.display(description=_("sample payload"))
    def sample(self, event: EventDefinition) -> str:
        return pretty(schema.sample(event.payload_schema or {}))

    @admin.display(description=_("JSON Schema"))
    def json_schema(self, event: EventDefinition) -> str:
        return pretty(schema.json_schema(event.payload_schema or {}, title=event.label))
