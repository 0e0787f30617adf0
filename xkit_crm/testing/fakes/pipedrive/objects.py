"""The objects and fields that Pipedrive describes, in v2 and in v1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any


def code_of(label: str) -> str:
    """The code of the custom field with this label."""
    return hashlib.sha1(label.encode(), usedforsecurity=False).hexdigest()


def _field(code: str, label: str, kind: str, *options: Any, **more: Any) -> dict[str, Any]:
    listed = [{"id": one, "label": str(one).title()} for one in options] or None
    return {
        "field_name": label,
        "field_code": code,
        "field_type": kind,
        "options": listed,
        "subfields": None,
        "is_custom_field": False,
        "is_optional_response_field": False,
        **more,
    }


def _custom(label: str, kind: str, *options: Any) -> dict[str, Any]:
    return _field(code_of(label), label, kind, *options, is_custom_field=True)


_COMMON = [
    _field("id", "ID", "int"),
    _field("owner_id", "Owner", "user"),
    _field("add_time", "Created", "date"),
    _field("visible_to", "Visible to", "visible_to", 1, 3, 5, 7),
    _field("next_activity_id", "Next activity", "activity", is_optional_response_field=True),
]
FIELDS: Mapping[str, Sequence[dict[str, Any]]] = {
    "deal": [
        _field("title", "Title", "varchar"),
        _field("value", "Value", "monetary"),
        _field("status", "Status", "status", "open", "won", "lost"),
        _field("label_ids", "Labels", "set", 41, 42),
        _field("stage_id", "Stage", "stage"),
        *_COMMON,
        _custom("Xkit key", "varchar"),
        _custom("Region", "enum", 7, 8),
        _custom("Ends", "date"),
    ],
    "person": [
        _field("name", "Name", "varchar"),
        _field("email", "Email", "varchar"),
        _field("phones", "Phone", "phone"),
        _field("label_ids", "Labels", "set", 31, 32),
        *_COMMON,
        _custom("XKIT KEY", "varchar"),
        _custom("Story", "text"),
        _custom("Shoe size", "double"),
        _custom("Budget", "monetary"),
        _custom("Born", "date"),
        _custom("Holiday", "daterange"),
        _custom("Call at", "time"),
        _custom("Rank", "enum", 11, 12),
        _custom("Interests", "set", 21, 22, 23),
        _custom("Friend", "people"),
        _custom("Home", "address"),
        _custom("Fax", "phone"),
    ],
    "organization": [
        _field("name", "Name", "varchar"),
        _field("address", "Address", "address"),
        _field("website", "Website", "varchar"),
        *_COMMON,
    ],
    "product": [
        _field("name", "Name", "varchar"),
        _field("code", "Product code", "varchar"),
        _field("category", "Category", "enum", 51, 52),
        *_COMMON,
        _custom("Xkit key", "varchar"),
    ],
    "activity": [
        _field("subject", "Subject", "varchar"),
        _field("priority", "Priority", "enum", 263, 264),
        _field("note", "Note", "text"),
        *_COMMON,
    ],
}
#: v1 describes its own way, and each part of a field as a field.
LEAD_FIELDS = [
    {"key": "title", "name": "Title", "field_type": "varchar", "active_flag": True},
    {"key": code_of("Xkit key"), "name": "Xkit key", "field_type": "varchar", "active_flag": True},
    {
        "key": code_of("Region"),
        "name": "Region",
        "field_type": "enum",
        "active_flag": True,
        "options": [{"id": 7, "label": "North"}, {"id": 8, "label": "South"}],
    },
    {
        "key": code_of("Tags"),
        "name": "Tags",
        "field_type": "set",
        "active_flag": True,
        "options": [{"id": 61, "label": "A"}, {"id": 62, "label": "B"}],
    },
    {"key": code_of("Gone"), "name": "Gone", "field_type": "varchar", "active_flag": False},
]
NOTE_FIELDS = [
    {"id": 1, "key": "content", "name": "Content", "field_type": "text", "active_flag": True},
    {"id": 2, "key": "add_time", "name": "Created", "field_type": "date", "active_flag": True},
]
ENTITIES = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "activities": "activity",
}
REQUIRED = {"deals": "title", "persons": "name", "organizations": "name", "products": "name"}
