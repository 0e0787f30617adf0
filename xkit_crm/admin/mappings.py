"""What each customer decided: object mappings, their event actions, and the versions of both."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django_jsonform.widgets import JSONFormWidget

from xkit_crm import mappings
from xkit_crm.admin import mapping_choices
from xkit_crm.admin.base import ReadOnlyAdmin, XkitAdmin, XkitInline, link_to, once, pretty
from xkit_crm.delivery.decisions import decision_for
from xkit_crm.exceptions import XkitError
from xkit_crm.mapping.completeness import answers
from xkit_crm.mapping.documents import differences
from xkit_crm.mapping.transformations import Kind, WriteMode
from xkit_crm.models import Connection, EventAction, MappingDraft, MappingVersion, ObjectMapping
from xkit_crm.permissions import OPERATE
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

IGNORED_FORM: dict[str, Any] = {"type": "array", "items": {"type": "string"}}


class FittingActionForm(forms.ModelForm):
    """Offers what an event of its type can do; what is saved is checked by the model."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Where the event is sent with it, it may be another one.
        if "action" in self.fields and not self.is_bound and self.instance.event_id:
            kind = self.instance.event.type
            field: Any = self.fields["action"]
            field.choices = [one for one in field.choices if not one[0] or answers(one[0], kind)]


class EventActionForm(FittingActionForm):
    transformations = forms.JSONField(
        required=False, widget=JSONFormWidget(schema=TRANSFORMATIONS_FORM)
    )
    ignored = forms.JSONField(
        required=False,
        widget=JSONFormWidget(schema=IGNORED_FORM),
        help_text=_("Payload keys that the customer decided not to send."),
    )

    class Meta:
        model = EventAction
        fields = ["mapping", "event", "action", "workflow", "transformations", "ignored"]

    def clean_ignored(self) -> Any:
        return self.cleaned_data["ignored"] or []

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


class DecidingAdmin(XkitAdmin):
    """Rows by which a mapping is carried out: what is changed here is a version too, and what
    waited for it goes on."""

    permission = OPERATE

    #: Where a row's connection is, as a lookup names it.
    connection_path: ClassVar[str]

    def connection_ids(self, rows: QuerySet[Any]) -> set[str]:
        return set(rows.order_by().values_list(self.connection_path, flat=True))

    def _rows(self, row: Any) -> QuerySet[Any]:
        found: QuerySet[Any] = self.model._default_manager.filter(pk=row.pk)
        return found

    def save_related(
        self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        # It may have been another connection's before.
        before: set[str] = form.xkit_connection_ids  # type: ignore[attr-defined]
        self._record(request, before | self.connection_ids(self._rows(form.instance)))

    def save_model(
        self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool
    ) -> None:
        form.xkit_connection_ids = self.connection_ids(self._rows(obj))  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        touched = self.connection_ids(self._rows(obj))
        super().delete_model(request, obj)
        self._record(request, touched)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        touched = self.connection_ids(queryset)
        super().delete_queryset(request, queryset)
        self._record(request, touched)

    def _record(self, request: HttpRequest, connection_ids: set[str]) -> None:
        for connection in Connection.objects.filter(pk__in=connection_ids):
            mappings.record(connection, author=request.user.get_username())


class EventActionInline(XkitInline):
    permission = OPERATE
    model = EventAction
    form = FittingActionForm
    fields = ["event", "action", "workflow"]
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("event", "mapping")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        event: Any = formset.form.base_fields["event"]
        event.queryset = event.queryset.filter(crm_object_id=obj.crm_object_id)
        return formset


@admin.register(ObjectMapping)
class ObjectMappingAdmin(DecidingAdmin):
    connection_path = "connection_id"
    list_display = ["crm_object", "remote_object", "connection_link", "updated_at"]
    list_filter = ["crm_object", "remote_object"]
    list_select_related = ["connection", "crm_object"]
    search_fields = ["connection__id", "remote_object", "crm_object__slug"]
    autocomplete_fields = ["connection", "crm_object"]
    inlines = [EventActionInline]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        # Which events there are depends on the object, so it is saved first.
        return super().get_inlines(request, obj) if obj else []

    @admin.display(description=_("connection"), ordering="connection_id")
    def connection_link(self, mapping: ObjectMapping) -> str:
        return link_to(mapping.connection)


@admin.register(EventAction)
class EventActionAdmin(DecidingAdmin):
    class Media:
        js = ["xkit_crm/event-action.js"]

    connection_path = "mapping__connection_id"
    form = EventActionForm
    list_display = ["event", "action", "connection", "remote_object", "updated_at"]
    list_filter = ["action", "event"]
    list_select_related = ["event", "mapping__crm_object", "mapping__connection"]
    search_fields = ["event__slug", "mapping__connection__id", "mapping__remote_object"]
    autocomplete_fields = ["mapping", "event"]
    readonly_fields = ["still_missing", "remote_fields"]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        choices = mapping_choices.shown(context.get("original"))
        return super().render_change_form(request, {**context, "choices": choices}, *args, **kwargs)

    @admin.display(description=_("connection"), ordering="mapping__connection_id")
    def connection(self, action: EventAction) -> str:
        return link_to(action.mapping.connection)

    @admin.display(description=_("remote object"), ordering="mapping__remote_object")
    def remote_object(self, action: EventAction) -> str:
        return link_to(action.mapping, action.mapping.remote_object or "—")

    @admin.display(description=_("still missing"))
    @once
    def still_missing(self, action: EventAction) -> str:
        if not action.mapping_id:
            return "—"
        try:
            connection = action.mapping.connection
            decision = decision_for(connection, action.event)
            problems = decision.missing(provider_for(connection))
        except XkitError as error:
            return str(error)
        if not problems:
            return str(_("nothing"))
        told = pretty([str(problem) for problem in problems])
        return format_html("{}{}: {}", told, _("Object mapping"), link_to(action.mapping))

    @admin.display(description=_("fields of the remote object"))
    @once
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


@admin.register(MappingVersion)
class MappingVersionAdmin(ReadOnlyAdmin):
    list_display = ["version", "connection_link", "is_newest", "author", "created_at"]
    list_select_related = ["connection"]
    search_fields = ["connection__id", "connection__context", "author"]
    date_hierarchy = "created_at"
    fields = [
        "connection_link",
        "number",
        "is_in_force",
        "author",
        "created_at",
        "changes",
        "shown",
    ]
    readonly_fields = ["connection_link", "is_in_force", "changes", "shown"]
    actions = ["put_in_force"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MappingVersion]:
        found: QuerySet[MappingVersion] = super().get_queryset(request)
        # A list needs no documents, which may be large.
        match = request.resolver_match
        return found if match and match.kwargs else found.defer("document")

    @admin.action(description=_("Put this version in force again"), permissions=["operate"])
    def put_in_force(self, request: HttpRequest, chosen: QuerySet[MappingVersion]) -> None:
        versions = list(chosen)
        if len({version.connection_id for version in versions}) < len(versions):
            told = _("Choose one version of each connection.")
            self.message_user(request, told, messages.ERROR)
            return
        for version in versions:
            self._put_in_force(request, version)

    def _put_in_force(self, request: HttpRequest, version: MappingVersion) -> None:
        author = request.user.get_username()
        try:
            made = mappings.put_in_force(version.connection, version.document, author=author)
        except XkitError as error:
            self.message_user(request, f"{version}: {error}", messages.ERROR)
            return
        if made is None:
            in_force = _("%s is what is in force already.") % version
            self.message_user(request, in_force, messages.WARNING)
            return
        self.log_change(request, version, f"Put in force again as {made.number}.")
        told = _("%(old)s is in force again, as version %(new)d.")
        self.message_user(request, told % {"old": version, "new": made.number})

    @admin.display(description=_("version"), ordering="number")
    def version(self, version: MappingVersion) -> str:
        return str(version)

    @admin.display(description=_("connection"), ordering="connection_id")
    def connection_link(self, version: MappingVersion) -> str:
        return link_to(version.connection)

    @admin.display(description=_("newest"), boolean=True)
    def is_newest(self, version: MappingVersion) -> bool:
        return version.number == version.connection.mapping_version

    @admin.display(description=_("in force"), boolean=True)
    @once
    def is_in_force(self, version: MappingVersion) -> bool:
        """Rows may have been written past the versions, so it is what they say that counts."""
        return bool(version.document == mappings.in_force(version.connection))

    @admin.display(description=_("what it changed"))
    @once
    def changes(self, version: MappingVersion) -> str:
        earlier = MappingVersion.objects.filter(
            connection_id=version.connection_id, number__lt=version.number
        ).first()
        changed = differences(earlier.document if earlier else {}, version.document)
        return format_html_join("", "{}<br>", ((str(one),) for one in changed)) or "—"

    @admin.display(description=_("mapping"))
    def shown(self, version: MappingVersion) -> str:
        return pretty(version.document)


@admin.register(MappingDraft)
class MappingDraftAdmin(ReadOnlyAdmin):
    list_display = ["connection", "created_at", "updated_at"]
    list_select_related = ["connection"]
    search_fields = ["connection__id", "connection__context"]
    fields = ["connection", "created_at", "updated_at", "changes", "shown"]
    readonly_fields = ["changes", "shown"]

    @admin.display(description=_("what it would change"))
    @once
    def changes(self, draft: MappingDraft) -> str:
        before = mappings.in_force(draft.connection)
        changed = differences(before, {**before, **draft.document})  # what it doesn't name stays
        return format_html_join("", "{}<br>", ((str(one),) for one in changed)) or "—"

    @admin.display(description=_("mapping"))
    def shown(self, draft: MappingDraft) -> str:
        return pretty(draft.document)
