"""The sandbox CRM's screens: what its customer bends, and what its records went through."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.base import ReadOnlyAdmin, ReadOnlyInline, XkitAdmin, XkitInline
from xkit_crm.exceptions import UnknownRecord
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox.forms import FieldForm, FlowForm, RecordForm
from xkit_crm.providers.sandbox.models import (
    Change,
    Field,
    Flow,
    FlowStep,
    Misbehaviour,
    Object,
    Org,
    Record,
    Request,
)
from xkit_crm.providers.sandbox.records import create_record, delete_record, update_record
from xkit_crm.providers.sandbox.standard import add_system_fields, ensure_org


class ObjectInline(XkitInline):
    model = Object
    fields = ["name", "label", "plural_label"]
    show_change_link = True


@admin.register(Org)
class OrgAdmin(XkitAdmin):
    list_display = ["slug", "name", "objects_count"]
    search_fields = ["slug", "name"]
    ordering = ["slug"]
    inlines = [ObjectInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Org]:
        found: QuerySet[Org] = super().get_queryset(request)
        return found.annotate(objects_count=Count("object_types"))

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.inlines if obj else []

    def save_model(self, request: HttpRequest, obj: Org, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        # A new organisation comes with the standard objects.
        made = ensure_org(obj.slug, name=obj.name)
        Org.objects.filter(pk=made.pk).update(token=obj.token)
        obj.pk = made.pk
        obj._state.adding = False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        for crm_object in formset.new_objects:
            add_system_fields(crm_object)

    @admin.display(description=_("objects"), ordering="objects_count")
    def objects_count(self, org: Any) -> int:
        return int(org.objects_count)


class FieldInline(XkitInline):
    model = Field
    form = FieldForm
    fields = [
        "name",
        "label",
        "type",
        "required",
        "unique",
        "read_only",
        "max_length",
        "default",
        "choices",
        "references",
    ]


@admin.register(Object)
class ObjectAdmin(XkitAdmin):
    list_display = ["label", "name", "org", "records_count"]
    list_filter = ["org"]
    search_fields = ["name", "label", "org__slug"]
    ordering = ["org__slug", "id"]
    inlines = [FieldInline]
    autocomplete_fields = ["org"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Object]:
        # Pickers of other pages name the organisation too.
        found: QuerySet[Object] = super().get_queryset(request).select_related("org")
        alive = Q(records__deleted_at=None)
        return found.annotate(records_count=Count("records", filter=alive))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change:
            add_system_fields(form.instance)

    @admin.display(description=_("records"), ordering="records_count")
    def records_count(self, crm_object: Any) -> int:
        return int(crm_object.records_count)


class HistoryInline(ReadOnlyInline):
    model = Change
    fields = ["at", "operation", "version", "what"]
    readonly_fields = ["at", "operation", "version", "what"]
    show_change_link = False
    verbose_name_plural = _("history")

    @admin.display(description=_("changes"))
    def what(self, change: Change) -> str:
        rows = ((name, _text(old), _text(new)) for name, (old, new) in change.changes.items())
        return format_html_join("", "<div><b>{}</b>: {} → {}</div>", rows)


def _text(value: Any) -> str:
    return "—" if value is None else str(value)


@admin.register(Record)
class RecordAdmin(XkitAdmin):
    form = RecordForm
    list_display = ["record_id", "title", "object", "org", "version", "updated_at", "deleted_at"]
    list_filter = ["object__name", "object__org", ("deleted_at", admin.EmptyFieldListFilter)]
    list_select_related = ["object__org"]
    search_fields = ["values", "=number", "object__name"]
    autocomplete_fields = ["object"]
    inlines = [HistoryInline]
    actions = ["delete_selected"]
    readonly_fields = ["number", "version", "created_at", "updated_at", "deleted_at"]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.at)
        return [
            path("at/<path:org>/<str:record_id>/", view, name="xkit_sandbox_record_at"),
            *super().get_urls(),
        ]

    def at(self, request: HttpRequest, org: str, record_id: str) -> HttpResponse:
        """The page of the record that an organisation knows by this id: what deep links lead to."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            ref = RecordRef.parse(record_id)
        except UnknownRecord as error:
            raise Http404(str(error)) from error
        known = Record.objects.at(get_object_or_404(Org, slug=org).pk, ref)
        return redirect("admin:xkit_sandbox_record_change", get_object_or_404(known).pk)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["object", "values"]
        shown = ["number", "values", "version", "created_at", "updated_at", "deleted_at"]
        return [*shown, "seen"] if self.has_change_permission(request, obj) else shown

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        alive = obj is None or obj.deleted_at is None
        return alive and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Record, form: Any, change: bool) -> None:
        org = obj.object.org
        if change:
            update_record(org, obj.ref, form.changes, version=form.cleaned_data["seen"])
            return
        made = create_record(org, obj.object.name, form.changes)
        obj.pk, obj.number = made.pk, made.number

    @admin.action(description=_("Delete the selected records"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, records: QuerySet[Record]) -> None:
        """As the CRM does, not Django: the row and its history stay."""
        for record in records.filter(deleted_at=None).select_related("object__org"):
            delete_record(record.object.org, record.ref)

    @admin.display(description=_("record"), ordering="number")
    def record_id(self, record: Record) -> str:
        return record.record_id

    @admin.display(description=_("title"))
    def title(self, record: Record) -> str:
        return record.title

    @admin.display(description=_("organisation"), ordering="object__org")
    def org(self, record: Record) -> Org:
        return record.object.org


class StepInline(admin.StackedInline):
    model = FlowStep
    extra = 0
    fields = [("position", "action", "object_name", "is_result"), "values"]

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "values":
            kwargs["widget"] = forms.Textarea(attrs={"rows": 3, "cols": 80})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(Flow)
class FlowAdmin(XkitAdmin):
    form = FlowForm
    list_display = ["label", "name", "org", "active"]
    list_filter = ["org", "active"]
    list_select_related = ["org"]
    search_fields = ["name", "label"]
    autocomplete_fields = ["org"]
    inlines = [StepInline]


@admin.register(Misbehaviour)
class MisbehaviourAdmin(XkitAdmin):
    list_display = ["kind", "org", "object_name", "operation", "rate", "remaining", "active"]
    list_editable = ["active"]
    list_filter = ["org", "kind", "active"]
    list_select_related = ["org"]
    search_fields = ["org__slug", "object_name"]
    autocomplete_fields = ["org"]


@admin.register(Request)
class RequestAdmin(ReadOnlyAdmin):
    list_display = ["at", "operation", "record", "org", "key"]
    list_filter = ["operation", "org"]
    list_select_related = ["org", "record__object"]
    search_fields = ["key"]
