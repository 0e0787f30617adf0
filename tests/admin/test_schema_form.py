"""The schema editor's form holds every schema, and gives back what it was given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests import strategies
from xkit_crm.admin.schema_form import SchemaField, from_form, to_form


@given(strategies.schemas())
def test_what_is_shown_and_saved_unchanged_stays_as_it_was(schema: dict[str, Any]) -> None:
    again = from_form(to_form(schema))
    kept = {"required": True, "nullable": False}

    def told(description: dict[str, Any]) -> dict[str, Any]:
        """Without what says nothing: empty texts and defaults."""
        cleaned = {
            key: value
            for key, value in description.items()
            if value not in ("", None, [], {}) and (key not in kept or value == kept[key])
        }
        if "properties" in cleaned:
            cleaned["properties"] = {k: told(v) for k, v in cleaned["properties"].items()}
        if "enum" in cleaned:
            cleaned["enum"] = [
                entry["value"] if isinstance(entry, dict) and not entry["label"] else entry
                for entry in cleaned["enum"]
            ]
        if "items" in cleaned:
            cleaned["items"] = told(cleaned["items"])
        return cleaned

    assert {k: told(v) for k, v in again.items()} == {k: told(v) for k, v in schema.items()}


def test_empty_boxes_are_left_out() -> None:
    shown = {
        "name": {
            "type": "string",
            "label": "Name",
            "description": "",
            "format": "",
            "required": False,
            "nullable": True,
            "maxLength": None,
            "enum": [],
            "properties": {},
            "items": [],
        }
    }
    assert from_form(shown) == {"name": {"type": "string", "label": "Name"}}


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [("integer", "3", 3), ("number", "1.5", 1.5), ("boolean", "true", True), ("string", "3", "3")],
)
def test_a_typed_default_becomes_a_value_of_its_type(kind: str, typed: str, meant: Any) -> None:
    (description,) = from_form({"key": {"type": kind, "default": typed}}).values()
    assert description["default"] == meant


def test_every_mistake_is_said() -> None:
    field = SchemaField()
    with pytest.raises(Exception, match="maxLength") as raised:
        field.clean(json.dumps({"a": {"type": "string", "maxLength": -1}, "b": {"type": "text"}}))
    assert len(raised.value.messages) == 2  # type: ignore[attr-defined]
