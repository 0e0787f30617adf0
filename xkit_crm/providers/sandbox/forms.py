"""The forms of the sandbox's screens: what a person types becomes what the CRM's tables hold.

`admin` shows them. What can't be is said here, before it is saved; the rules are `validation`'s.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from xkit_crm.providers.base import RemoteType
from xkit_crm.providers.sandbox.models import Field, Flow, Object, Record, validate_values
from xkit_crm.providers.sandbox.validation import error_of, problems_of

#: Types whose default is typed as JSON; that of all others is text.
_NOT_TEXT = frozenset(
    {RemoteType.BOOLEAN, RemoteType.INTEGER, RemoteType.NUMBER, RemoteType.MULTIPICKLIST}
)


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 2, "cols": 16})
        super().__init__(**{"widget": widget, "required": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [
            line.strip() for line in (super().to_python(value) or "").splitlines() if line.strip()
        ]


class DefaultField(forms.CharField):
    """A field's default: text as it is, anything else as JSON."""

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str | None) else json.dumps(value)


class FieldForm(forms.ModelForm):
    default = DefaultField(
        label=_("default"), required=False, widget=forms.TextInput(attrs={"size": 12})
    )
    choices = LinesField(label=_("choices"), help_text=_("The values of a picklist, one a line."))
    references = LinesField(
        label=_("references"),
        help_text=_("API names of the objects that a reference may point to, one a line."),
    )

    class Meta:
        model = Field
        fields = ["object", "name", "label", "type", "max_length"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        cleaned["default"] = default = _typed(cleaned["default"], cleaned["type"])
        described = {name: cleaned[name] for name in ("type", "choices", "max_length")}
        if default is not None and (error := error_of(Field(**described), default)):
            raise forms.ValidationError({"default": error})
        return cleaned


def _typed(text: str, kind: str) -> Any:
    """The value that was typed; as it is where it can't be read: the CRM says what is wrong."""
    if not text or kind not in _NOT_TEXT:
        return text or None
    try:
        return json.loads(text)
    except ValueError:
        return text


class FlowForm(forms.ModelForm):
    class Meta:
        model = Flow
        fields = ["org", "name", "label", "inputs", "active"]

    def clean_inputs(self) -> Any:
        """An empty box, like null, is no inputs."""
        return self.cleaned_data["inputs"] or []


class RecordForm(forms.ModelForm):
    """Writes a record as the API would: the CRM's own validation says what is wrong."""

    #: The version that the person saw.
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)
    #: What is to be written: all values of a new record, and of another those that changed.
    changes: dict[str, Any]

    class Meta:
        model = Record
        fields = ["object", "values"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen"].initial = self.instance.version

    def clean_values(self) -> Any:
        values = self.cleaned_data["values"]
        validate_values(values)
        return values

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        record = self.instance if self.instance.pk else None
        if record and cleaned["seen"] not in (None, record.version):
            raise forms.ValidationError(_("The record was changed by someone else meanwhile."))
        self.changes = _changes(record.values if record else {}, cleaned["values"])
        crm_object: Object = record.object if record else cleaned["object"]
        problems = problems_of(crm_object, crm_object.fields.all(), self.changes, record=record)
        if problems:
            raise forms.ValidationError({"values": [str(problem) for problem in problems]})
        return cleaned


def _changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What makes the new values of the old ones; null for what is gone."""
    gone = {name: None for name in old if name not in new}
    return gone | {name: value for name, value in new.items() if old.get(name) != value}
