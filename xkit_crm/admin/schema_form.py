"""Editing Xkit-flavored JSON block by block, with django-jsonform.

The form is made of plain text boxes and lists, so a schema is put into that shape (`to_form`) and
taken out of it again (`from_form`); what was left empty is left out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django_jsonform.widgets import JSONFormWidget

from xkit_crm import schema

_TEXT = {"type": "string"}
_DESCRIPTION: dict[str, Any] = {
    "type": "object",
    "keys": {
        "type": {
            "type": "string",
            "title": _("Type"),
            "choices": ["string", "number", "integer", "boolean", "object", "array"],
            "default": "string",
        },
        "label": _TEXT | {"title": _("Label"), "helpText": _("What customers see.")},
        "description": _TEXT | {"title": _("Description"), "widget": "textarea"},
        "format": {
            "type": "string",
            "title": _("Format"),
            "choices": ["", "text", "date", "datetime", "email", "uri", "uuid"],
        },
        "required": {"type": "boolean", "title": _("Must be given"), "default": False},
        "nullable": {"type": "boolean", "title": _("May be null"), "default": True},
        "default": _TEXT | {"title": _("Default")},
        "example": _TEXT | {"title": _("Example")},
        "maxLength": {"type": "integer", "title": _("Longest text")},
        "minimum": {"type": "number", "title": _("Least number")},
        "maximum": {"type": "number", "title": _("Greatest number")},
        "enum": {
            "type": "array",
            "title": _("Allowed values"),
            "items": {
                "type": "object",
                "keys": {
                    "value": _TEXT | {"title": _("Value")},
                    "label": _TEXT | {"title": _("Label")},
                },
            },
        },
        "properties": {
            "type": "dict",
            "title": _("Keys of the object"),
            "keys": {},
            "additionalProperties": {"$ref": "#/$defs/description"},
        },
        "items": {
            "type": "array",
            "title": _("What the list holds"),
            "maxItems": 1,
            "items": {"$ref": "#/$defs/description"},
        },
    },
}
FORM_SCHEMA: dict[str, Any] = {
    "type": "dict",
    "keys": {},
    "additionalProperties": {"$ref": "#/$defs/description"},
    "$defs": {"description": _DESCRIPTION},
}

#: What each box shows where nothing is said. The form's script expects every box to be there.
_BLANK: dict[str, Any] = {
    key: field.get("default", {"array": [], "dict": {}, "string": ""}.get(field["type"]))
    for key, field in _DESCRIPTION["keys"].items()
}
_LEFT_OUT: dict[str, Any] = {"required": False, "nullable": True}


def to_form(given: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in the form's shape."""
    return {key: _description_to_form(description) for key, description in given.items()}


def _description_to_form(given: Mapping[str, Any]) -> dict[str, Any]:
    # A default or example of null says nothing that leaving it out doesn't.
    said = {key: value for key, value in given.items() if value is not None}
    shown = copy.deepcopy(_BLANK) | said
    for key in ("default", "example"):
        if key in said:
            shown[key] = _as_text(said[key])
    shown["enum"] = [
        {"value": _as_text(entry["value"]), "label": entry.get("label", "")}
        if isinstance(entry, dict)
        else {"value": _as_text(entry), "label": ""}
        for entry in shown["enum"]
    ]
    shown["properties"] = to_form(shown["properties"])
    if "items" in said:
        shown["items"] = [_description_to_form(said["items"])]
    return shown


def from_form(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that the form's data means."""
    return {
        key: _description_from_form(description) if isinstance(description, dict) else description
        for key, description in shown.items()
    }


def _description_from_form(shown: Mapping[str, Any]) -> dict[str, Any]:
    given = {
        key: value
        for key, value in shown.items()
        if value not in ("", None, [], {}) and not (key in _LEFT_OUT and value == _LEFT_OUT[key])
    }
    kind = given.get("type")
    for key in ("default", "example"):
        if key in given:
            given[key] = _from_text(given[key], kind)
    if "enum" in given:
        given["enum"] = [_choice_from_form(entry, kind) for entry in given["enum"]]
    if "properties" in given:
        given["properties"] = from_form(given["properties"])
    if "items" in given:
        given["items"] = _description_from_form(given["items"][0])
    return given


def _choice_from_form(entry: Mapping[str, Any], kind: Any) -> Any:
    value = _from_text(entry.get("value") or "", kind)
    return {"value": value, "label": entry["label"]} if entry.get("label") else value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_text(text: Any, kind: Any) -> Any:
    """What was typed, as the described type; as it is where it can't be read: the check says."""
    if kind == "string" or not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


class SchemaField(forms.JSONField):
    """A form field for Xkit-flavored JSON; says everything that is wrong with it."""

    widget = JSONFormWidget

    def __init__(self, **kwargs: Any) -> None:
        kwargs["widget"] = JSONFormWidget(schema=FORM_SCHEMA)
        super().__init__(**{"required": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        # Data that came in with the request is in the form's shape already.
        return value if isinstance(value, str) else json.dumps(to_form(value or {}))

    def to_python(self, value: Any) -> Any:
        shown = super().to_python(value)
        return from_form(shown) if isinstance(shown, dict) else shown or {}

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or {}))
        except forms.ValidationError:
            return True

    def validate(self, value: Any) -> None:
        super().validate(value)
        problems = schema.check(value, path="schema")
        if problems:
            raise forms.ValidationError([str(problem) for problem in problems])
