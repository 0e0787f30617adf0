"""CRM objects and their events: defined in one place, with what they make beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import XkitInline, link_to, pretty
from xkit_crm.admin.definition_files import FilesAdmin
from xkit_crm.admin.definition_forms import (
    EventForm,
    EventFormSet,
    LoneCRMObjectForm,
    LoneEventForm,
)
from xkit_crm.admin.definition_history import HistoryMixin
from xkit_crm.admin.definition_previews import preview_event, preview_object
from xkit_crm.admin.definition_reviews import ReviewedAdmin
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.permissions import DEFINE, may

_EVENT_FIELDS = ("label", "slug", "type", "active", "description", "payload_schema")


class EventInline(XkitInline):
    """Each event is a card, with its schema and a preview; shut until somebody opens it."""

    permission = DEFINE
    model = EventDefinition
    form = EventForm
    formset = EventFormSet
    template = "admin/xkit_crm/crmobject/events.html"
    can_delete = False
    ordering = ["id"]

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        # Whoever begins with nothing needs an event, too.
        return 0 if obj else 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return _shown(request, _EVENT_FIELDS)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["schema_shown"]

    @admin.display(description=_("payload schema"))
    def schema_shown(self, event: EventDefinition) -> str:
        return pretty(event.payload_schema)


def _shown(request: HttpRequest, names: tuple[str, ...]) -> list[str]:
    """The fields for who may change them, or only look at them."""
    if may(request.user, DEFINE):
        return list(names)
    return ["schema_shown" if name in ("payload_schema", "fields") else name for name in names]


class PreviewedAdmin(ReviewedAdmin):
    """A page with a preview beside its form."""

    class Media:
        css = {"all": ["xkit_crm/forms.css", "xkit_crm/definitions.css"]}
        js = ["xkit_crm/schema-editor.js", "xkit_crm/definitions.js"]

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_preview"
        return [
            path("preview/", self.admin_site.admin_view(self.preview), name=name),
            *super().get_urls(),
        ]

    if TYPE_CHECKING:  # each page has its own

        def previewed(self, request: HttpRequest) -> dict[str, Any]:
            """What is shown, for `_preview.html`."""

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What a form makes that is still being typed. Writes nothing."""
        if not may(request.user, DEFINE):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return render(request, "admin/xkit_crm/_preview.html", self.previewed(request))


@admin.register(CRMObject)
class CRMObjectAdmin(HistoryMixin, PreviewedAdmin, FilesAdmin):
    form = LoneCRMObjectForm
    list_display = ["slug", "label", "events_count", "active", "updated_at"]
    list_filter = ["active"]
    search_fields = ["slug", "label", "description"]
    ordering = ["slug"]
    inlines = [EventInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CRMObject]:
        active = Count("events", filter=Q(events__active=True))
        found: QuerySet[CRMObject] = super().get_queryset(request)
        return found.annotate(events_count=active)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return _shown(request, ("label", "slug", "description", "active", "fields"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["schema_shown"]

    def previewed(self, request: HttpRequest) -> dict[str, Any]:
        return preview_object(request)

    @admin.display(description=_("active events"), ordering="events_count")
    def events_count(self, crm_object: Any) -> int:
        return int(crm_object.events_count)

    @admin.display(description=_("fields"))
    def schema_shown(self, crm_object: CRMObject) -> str:
        return pretty(crm_object.fields)


@admin.register(EventDefinition)
class EventDefinitionAdmin(HistoryMixin, PreviewedAdmin):
    """Every event of every object; what is edited here is edited on its object's page as well."""

    form = LoneEventForm
    list_display = ["slug", "crm_object_link", "type", "label", "active", "updated_at"]
    list_filter = ["type", "active", "crm_object"]
    list_select_related = ["crm_object"]
    search_fields = ["slug", "label", "description", "crm_object__slug"]
    autocomplete_fields = ["crm_object"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return _shown(request, ("crm_object", *_EVENT_FIELDS))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["schema_shown", *(["crm_object"] if obj else [])]

    def previewed(self, request: HttpRequest) -> dict[str, Any]:
        return preview_event(request)

    @admin.display(description=_("CRM object"), ordering="crm_object__slug")
    def crm_object_link(self, event: EventDefinition) -> str:
        return link_to(event.crm_object)

    @admin.display(description=_("payload schema"))
    def schema_shown(self, event: EventDefinition) -> str:
        return pretty(event.payload_schema)
