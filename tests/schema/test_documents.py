"""The `objects` document: what is one, and its full form."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given

from tests import strategies
from xkit_crm import schema

SEED: dict[str, Any] = {
    "opportunity": {
        "events": {
            "create_opportunity": {
                "type": "create",
                "label": "Create Opportunity",
                "description": "Create new opportunities for sales documents without one.",
                "payloadSchema": {"name": {"type": "string", "label": "Opportunity Name"}},
            },
            "document_deleted": {"type": "delete", "name": "Document Deleted"},
        },
        "fields": {"document_tags": {"type": "object"}},
    }
}


def problems(document: Any) -> dict[str, str]:
    return {problem.path: problem.error for problem in schema.check_objects(document)}


def event(**keys: Any) -> dict[str, Any]:
    return {"opportunity": {"events": {"document_updated": keys}}}


AT_EVENT = "objects.opportunity.events.document_updated"


def test_the_seeds_document_has_no_problem() -> None:
    assert problems(SEED) == {}


def test_every_problem_is_told_at_once() -> None:
    assert problems(
        {
            "opportunity": {
                "lable": "Opportunity",
                "fields": {"tags": {"type": "list"}},
                "events": {
                    "document_updated": {"type": "updated", "payloadschema": {}},
                    "created": {"payloadSchema": {"name": {}}},
                },
            },
            "contact": [],
        }
    ) == {
        "objects.opportunity.lable": (
            "unknown key (did you mean label?); known are label, name, description, fields, events"
        ),
        "objects.opportunity.fields.tags.type": (
            'unknown type "list"; known are string, number, integer, boolean, object, array'
        ),
        f"{AT_EVENT}.type": (
            'unknown event type "updated" (did you mean update?); '
            "known are create, update, delete, search"
        ),
        f"{AT_EVENT}.payloadschema": (
            "unknown key (did you mean payloadSchema?); "
            "known are type, label, name, description, payloadSchema"
        ),
        "objects.opportunity.events.created.type": (
            "is required; known are create, update, delete, search"
        ),
        "objects.opportunity.events.created.payloadSchema.name.type": (
            "is required; known are string, number, integer, boolean, object, array"
        ),
        "objects.contact": "must be an object, but is an array",
    }


@pytest.mark.parametrize(
    ("document", "path", "error"),
    [
        ([], "objects", "must be an object, but is an array"),
        ({"a": {"events": []}}, "objects.a.events", "must be an object"),
        ({"a": {"fields": None}}, "objects.a.fields", "must be an object"),
        ({"a": {"label": 3}}, "objects.a.label", "must be a string, but is a number"),
        ({"a": {"label": "x" * 201}}, "objects.a.label", "is longer than 200 characters"),
        ({"a": {"description": None}}, "objects.a.description", "must be a string"),
        (event(type="create", label="A", name="B"), f"{AT_EVENT}.name", "differs from label"),
        (event(type=["create"]), f"{AT_EVENT}.type", 'unknown event type ["create"]'),
        (event(type="create", payloadSchema=[]), f"{AT_EVENT}.payloadSchema", "an object of keys"),
    ],
)
def test_a_mistake_is_told_at_its_path(document: Any, path: str, error: str) -> None:
    found = problems(document)

    assert list(found) == [path]
    assert error in found[path]


def test_label_and_name_may_both_be_given_when_they_say_the_same() -> None:
    assert problems(event(type="create", label="A", name="A")) == {}


@pytest.mark.parametrize("slug", ["opportunity", "3d_model", "a-b", "_a", "A" * 100])
def test_what_a_slug_may_be(slug: str) -> None:
    assert problems({slug: {"events": {slug: {"type": "search"}}}}) == {}


@pytest.mark.parametrize("slug", ["", "-a", "a b", "a/b", "a.b", "ä", "A" * 101])
def test_what_a_slug_may_not_be(slug: str) -> None:
    found = problems({slug: {"events": {slug: {"type": "search"}}}})

    assert len(found) == 2
    assert all(error.startswith("is no slug: ") for error in found.values())


def test_the_full_form_has_one_label_and_nothing_left_out() -> None:
    given = deepcopy(SEED)
    given["contact_person"] = {"name": gettext_lazy("Contact"), "label": ""}

    assert schema.canonical(given) == {
        "opportunity": {
            "label": "Opportunity",
            "description": "",
            "fields": {"document_tags": {"type": "object"}},
            "events": {
                "create_opportunity": {
                    "type": "create",
                    "label": "Create Opportunity",
                    "description": "Create new opportunities for sales documents without one.",
                    "payloadSchema": {"name": {"type": "string", "label": "Opportunity Name"}},
                },
                "document_deleted": {
                    "type": "delete",
                    "label": "Document Deleted",
                    "description": "",
                    "payloadSchema": {},
                },
            },
        },
        "contact_person": {"label": "Contact", "description": "", "fields": {}, "events": {}},
    }
    assert given["opportunity"] == SEED["opportunity"]


def test_a_slug_is_made_readable_where_there_is_no_label() -> None:
    full = schema.canonical({"sales_contact": {"events": {"contact_deleted": {"type": "delete"}}}})

    assert full["sales_contact"]["label"] == "Sales contact"
    assert full["sales_contact"]["events"]["contact_deleted"]["label"] == "Contact deleted"


@given(strategies.any_json)
def test_any_json_can_be_checked(value: Any) -> None:
    schema.check_objects(value)
    schema.check_objects({"opportunity": value})
    schema.check_objects({"opportunity": {"events": {"created": value}}})


@given(strategies.documents())
def test_the_full_form_is_a_document_and_its_own_full_form(document: dict[str, Any]) -> None:
    assert schema.check_objects(document) == []

    full = schema.canonical(document)

    assert schema.check_objects(full) == []
    assert schema.canonical(full) == full
    assert list(full) == list(document)
