"""Record links: which row is which record, for all customers."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from xkit_crm import records
from xkit_crm.admin.base import XkitAdmin, link_to, link_to_row, number
from xkit_crm.admin.crm_records import CRMRecordsMixin, Note
from xkit_crm.exceptions import XkitError
from xkit_crm.models import ObjectMapping, RecordLink
from xkit_crm.permissions import OPERATE
from xkit_crm.sync import existing
from xkit_crm.sync.bindings import registered
from xkit_crm.sync.links import link as link_row

#: Links that are counted at most: past them a list is searched, not leafed through.
COUNTED = 2_000


class UncountedPaginator(Paginator):
    """Counts no further than anybody leafs: counting millions takes longer than showing a page."""

    @cached_property
    def count(self) -> int:
        links: Any = self.object_list
        return len(links.values_list("pk")[:COUNTED])


class ModelFilter(admin.SimpleListFilter):
    """By the row's model. Offers those that are bound: to look which have links would read all."""

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = ((str(c.pk), capfirst(c.name)) for c in _bound())
        return sorted(found, key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = number(str(self.value() or ""))
        return queryset.filter(content_type=chosen) if chosen else queryset


def _bound() -> list[ContentType]:
    """The models whose rows are synced."""
    bound = {binding.model for binding in registered()}
    return list(ContentType.objects.get_for_models(*bound).values())


class RecordLinkForm(forms.ModelForm):
    """Asks the CRM for the record: a link to none would fail each write of its row."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        content_type, pk = cleaned.get("content_type"), cleaned.get("object_pk")
        model = content_type.model_class() if content_type else None
        if model is None or not pk:
            return cleaned
        row = self._row(model, pk)
        if row is None:
            self.add_error("object_pk", _("There is no such row."))
        elif not self.errors:
            self._look_for_record(row, cleaned)
        return cleaned

    def _row(self, model: type[Model], pk: str) -> Model | None:
        try:
            found: Model | None = model._base_manager.filter(pk=pk).first()
        except (TypeError, ValueError, ValidationError):
            return None
        return found

    def _look_for_record(self, row: Model, cleaned: dict[str, Any]) -> None:
        slug = cleaned["crm_object"].slug
        try:
            cleaned["record_id"] = existing.free_record(
                row, cleaned["connection"], cleaned["record_id"], crm_object=slug
            )
        except XkitError as error:
            self.add_error("record_id", str(error))


@admin.register(RecordLink)
class RecordLinkAdmin(CRMRecordsMixin, XkitAdmin):
    """A link is added by a form. What becomes of it later is done in the panel below it."""

    permission = OPERATE
    form = RecordLinkForm
    list_display = ["record_id", "row", "crm_object", "connection", "created_at"]
    list_filter = ["crm_object", ModelFilter]
    list_per_page = 50
    paginator = UncountedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    search_fields = ["record_id"]
    search_help_text = _("The whole of a record id, a CRM's own id, a row's key or a connection.")
    autocomplete_fields = ["connection", "crm_object"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RecordLink]:
        return (
            super().get_queryset(request).select_related("connection", "crm_object", "content_type")
        )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["connection", "crm_object", "content_type", "object_pk", "record_id"]
        return ["row", "record", "connection_", "crm_object", "created_at", "updated_at"]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **named: Any) -> Any:
        if db_field.name == "content_type":
            bound = [one.pk for one in _bound()]
            named["queryset"] = ContentType.objects.filter(pk__in=bound)
        return super().formfield_for_foreignkey(db_field, request, **named)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [] if obj is None else self.get_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By what an index finds: all of it, not a part."""
        text = search_term.strip()
        if not text:
            return queryset, False
        mapped = ObjectMapping.objects.exclude(remote_object="").order_by()
        remote_objects = mapped.values_list("remote_object", flat=True).distinct()
        ids = [text, *(f"{name}:{text}" for name in remote_objects)]
        content_types = [c.pk for c in ContentType.objects.all()]
        return queryset.filter(
            Q(record_id__in=ids)
            | Q(connection=text)
            | Q(content_type__in=content_types, object_pk=text)
        ), False

    def save_model(self, request: HttpRequest, obj: RecordLink, form: Any, change: bool) -> None:
        model = obj.content_type.model_class()
        assert model is not None, "the form has looked for the row"
        row = model._base_manager.get(pk=obj.object_pk)
        slug = obj.crm_object.slug
        made = link_row(row, obj.connection, obj.record_id, crm_object=slug)
        obj.pk, obj.content_type, obj.object_pk = made.pk, made.content_type, made.object_pk
        obj._state.adding = False

    # -- the panel --------------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        actions = super().get_actions(request, action_location)
        actions.pop("sync_with_crms", None)  # these are links, of rows of many models
        return actions

    def crm_row_of(self, obj: RecordLink) -> Model | None:
        """The row that is linked; where it is gone, what is known of it."""
        model = obj.content_type.model_class()
        if model is None:
            return None
        found: Model | None = obj.instance
        return found or model(pk=obj.object_pk)

    def _crm_answer(
        self, request: HttpRequest, object_id: str, row: Model, note: Note, **named: Any
    ) -> HttpResponse:
        if RecordLink.objects.filter(pk=object_id).exists():
            return super()._crm_answer(request, object_id, row, note, **named)
        level = messages.SUCCESS if note.is_good else messages.ERROR
        self.message_user(request, note.text, level)
        there = redirect("admin:xkit_crm_recordlink_changelist")
        if request.headers.get("HX-Request") == "true":
            return HttpResponse(headers={"HX-Redirect": there["Location"]})
        return there

    @admin.display(description=_("row"))
    def row(self, link: RecordLink) -> str:
        return link_to_row(link.content_type, link.object_pk)

    @admin.display(description=_("connection"))
    def connection_(self, link: RecordLink) -> str:
        return link_to(link.connection)

    @admin.display(description=_("record"))
    def record(self, link: RecordLink) -> str:
        url = records.url_of(link.connection, link.record_id)
        return format_html('<a href="{}">{}</a>', url, link.record_id) if url else link.record_id
