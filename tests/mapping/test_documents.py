"""A whole mapping as one document: what may be stored, and what differs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkit_crm.mapping.documents import MAX_NAME, check, differences

TEXT = {"type": "string"}
PAYLOAD = {"name": TEXT, "owner": {"type": "object", "properties": {"email": TEXT}}}
DEFINITIONS = {
    "deal": ({"title": TEXT, "tags": {"type": "object"}}, {"made": PAYLOAD, "gone": {}}),
    "contact": ({}, {}),
}
NAME = {"field": "Name", "kind": "direct", "key": "name"}


def made(**event: Any) -> dict[str, Any]:
    """A document of one event that creates deals."""
    return {"deal": {"remote_object": "Deal", "events": {"made": {"action": "create", **event}}}}


def told(document: Any) -> list[str]:
    return [str(problem) for problem in check(document, DEFINITIONS)]


# -- what may be stored ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"deal": {}},
        {"deal": {"remote_object": ""}},
        {"deal": {"remote_object": "Deal", "fields": {"title": "Name", "tags": {"a": "A"}}}},
        {"deal": {"remote_object": "Deal", "fields": {"title": ""}}},
        made(transformations=[NAME], ignored=["owner.email"]),
        made(action="workflow", workflow="Onboard"),
        made(transformations=[{"field": "Mail", "kind": "direct", "key": "owner.email"}]),
    ],
)
def test_what_is_decided_in_part_or_not_at_all_may_be_stored(document: Any) -> None:
    assert told(document) == []


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "is not an object"),
        ({"dael": {}}, "dael: there is no such CRM object; known are deal, contact"),
        ({"deal": []}, "deal: is not an object"),
        ({"deal": {"evnts": {}}}, "deal.evnts: unknown; known are events, fields, remote_object"),
        ({"deal": {"remote_object": None}}, "deal.remote_object: is not a string"),
        (
            {"deal": {"remote_object": "x" * (MAX_NAME + 1)}},
            "deal.remote_object: is longer than 200 characters, or has unprintable ones",
        ),
        (
            {"deal": {"remote_object": "a\0b"}},
            "deal.remote_object: is longer than 200 characters, or has unprintable ones",
        ),
        ({"deal": {"fields": []}}, "deal.fields: is not an object"),
        (
            {"deal": {"fields": {"titel": "Name"}}},
            "deal.fields.titel: the object has no such field",
        ),
        ({"deal": {"fields": {"title": 1}}}, "deal.fields.title: names no remote field"),
        ({"deal": {"events": []}}, "deal.events: is not an object"),
        (
            {"deal": {"events": {"mde": {}}}},
            "deal.events.mde: there is no such event; known are made, gone",
        ),
        ({"contact": {"events": {"x": {}}}}, "contact.events.x: there is no such event; known are"),
        ({"deal": {"events": {"made": []}}}, "deal.events.made: is not an object"),
        (made(wrkflow=""), "deal.events.made.wrkflow: unknown; known are action, ignored"),
        (made(action="insert"), "deal.events.made.action: must be one of create"),
        (made(action="workflow"), "deal.events.made.workflow: is needed to run one"),
        (made(workflow=["x"]), "deal.events.made.workflow: is not a string"),
        (made(workflow="x" * 201), "deal.events.made.workflow: is longer than 200 characters"),
        (
            made(transformations=[NAME | {"kind": "eval"}]),
            "deal.events.made.transformations[0].kind: must be one of",
        ),
        (
            made(transformations=[NAME | {"key": "nmae"}]),
            "deal.events.made.transformations[0]: the event has no payload key nmae",
        ),
        (made(ignored="name"), "deal.events.made.ignored: is not a list of payload keys"),
        (made(ignored=[1]), "deal.events.made.ignored: is not a list of payload keys"),
    ],
)
def test_each_mistake_is_told_with_its_path(document: Any, problem: str) -> None:
    (found,) = told(document)
    assert found.startswith(problem)


def test_every_mistake_is_told() -> None:
    document = {"deal": {"remote_object": 1, "events": {"made": {"action": "x", "ignored": 1}}}}
    assert len(told(document)) == 3


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
words = st.sampled_from(["remote_object", "fields", "events", "made", "transformations", "action"])
shaped = st.recursive(
    anything, lambda inner: st.dictionaries(words, inner, max_size=3), max_leaves=6
)


@given(shaped)
def test_whatever_comes_from_outside_is_judged_and_raises_nothing(given: Any) -> None:
    check({"deal": given}, DEFINITIONS)


# -- what differs ---------------------------------------------------------------------------------


def texts(before: Any, after: Any) -> list[str]:
    return [str(difference) for difference in differences(before, after)]


def test_documents_that_say_the_same_do_not_differ() -> None:
    document = made(transformations=[NAME], ignored=["owner"])
    assert texts(document, json.loads(json.dumps(document))) == []
    assert texts({}, {}) == []


def test_a_new_document_differs_from_none_in_every_decision() -> None:
    document = made(transformations=[NAME], ignored=["owner"])
    document["deal"]["fields"] = {"title": "Name"}
    assert texts({}, document) == [
        '+ deal.remote_object: "Deal"',
        '+ deal.fields.title: "Name"',
        '+ deal.made.action: "create"',
        f"+ deal.made.Name: {json.dumps(NAME)}",
        '+ deal.made.payload.owner: ""',
    ]


def test_what_changed_and_what_went_is_told_decision_by_decision() -> None:
    empty = {"field": "Name", "kind": "empty"}
    before = made(transformations=[NAME, {"field": "Notes", "kind": "empty"}])
    after = made(action="workflow", workflow="Onboard", transformations=[empty])
    assert texts(before, after) == [
        '~ deal.made.action: "create" -> "Onboard"',
        f"~ deal.made.Name: {json.dumps(NAME)} -> {json.dumps(empty)}",
        '- deal.made.Notes: {"field": "Notes", "kind": "empty"}',
    ]


@pytest.mark.parametrize("action", ["noop", "delete"])
def test_what_is_kept_for_later_and_writes_nothing_is_no_difference(action: str) -> None:
    kept = made(action=action, transformations=[NAME], ignored=["owner"])
    assert texts(made(action=action), kept) == []


def test_conditions_of_a_search_on_one_field_are_told_apart() -> None:
    both = [NAME, NAME | {"key": "owner.email"}]
    (found,) = differences(made(transformations=[NAME]), made(transformations=both))
    assert found.path == "deal.made.Name[2]"


def test_the_order_of_decisions_is_no_difference() -> None:
    rows = [NAME, {"field": "Notes", "kind": "empty"}]
    assert texts(made(transformations=rows), made(transformations=rows[::-1])) == []
