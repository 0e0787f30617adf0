"""Model bindings made by operators."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django_jsonform.widgets import JSONFormWidget

from xkit_crm.admin.base import ReadOnlyAdmin, XkitAdmin
from xkit_crm.admin.definition_history import HistoryMixin
from xkit_crm.models import EventDefinition, MarkedRow, ModelBinding
from xkit_crm.models.event_definition import EventType
from xkit_crm.permissions import DEFINE

PAYLOAD_FORM = {"type": "dict", "keys": {}, "additionalProperties": {"type": "string"}}


class ModelBindingForm(forms.ModelForm):
    payload = forms.JSONField(
        widget=JSONFormWidget(schema=PAYLOAD_FORM),
        help_text=_("Payload key to attribute path, such as owner: owner.email."),
    )

    class Meta:
        model = ModelBinding
        fields = [
            "model",
            "crm_object",
            "on_create",
            "on_update",
            "on_delete",
            "payload",
            "connection_path",
            "active",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in EventType.CREATE, EventType.UPDATE, EventType.DELETE:
            field = cast("forms.ModelChoiceField", self.fields[f"on_{name}"])
            field.queryset = EventDefinition.objects.filter(type=name).select_related("crm_object")


@admin.register(ModelBinding)
class ModelBindingAdmin(HistoryMixin, XkitAdmin):
    permission = DEFINE
    form = ModelBindingForm
    list_display = ["model", "crm_object", "on_create", "on_update", "on_delete", "active"]
    list_filter = ["active", "crm_object"]
    list_select_related = ["model", "crm_object", "on_create", "on_update", "on_delete"]
    search_fields = ["model__model", "crm_object__slug", "connection_path"]
    autocomplete_fields = ["crm_object"]


@admin.register(MarkedRow)
class MarkedRowAdmin(ReadOnlyAdmin):
    """What triggers have marked and nobody has looked at yet: mostly nothing."""

    list_display = ["model", "object_pk", "created_at"]
    search_fields = ["model", "object_pk"]
    show_full_result_count = False
