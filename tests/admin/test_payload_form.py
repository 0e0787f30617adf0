"""A form made of a payload schema: what is filled in is the payload, and back again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkit_crm import schema
from xkit_crm.admin import payload_form
from xkit_crm.exceptions import Problem

SCHEMA: dict[str, Any] = {
    "name": {"type": "string", "label": "Full Name", "required": True, "example": "Ada"},
    "note": {"type": "string", "format": "text"},
    "day": {"type": "string", "format": "date"},
    "at": {"type": "string", "format": "datetime"},
    "site": {"type": "string", "format": "uri"},
    "views": {"type": "integer", "nullable": False},
    "amount": {"type": "number"},
    "vip": {"type": "boolean"},
    "stage": {"type": "string", "enum": ["new", {"value": "won", "label": "Closed"}]},
    "level": {"type": "integer", "enum": [1, 2]},
    "extra": {"type": "object"},
    "any": {"type": "array"},
    "tags": {"type": "array", "items": {"type": "string", "label": "Tag"}},
    "address": {
        "type": "object",
        "properties": {"city": {"type": "string", "required": True}, "zip": {"type": "string"}},
    },
    "lines": {
        "type": "array",
        "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
    },
}
WHOLE: dict[str, Any] = {
    "name": "Ada",
    "note": "two\nlines",
    "day": "2026-05-17",
    "at": "2026-05-17T23:17:53Z",
    "site": "https://example.com",
    "views": 3,
    "amount": 12.5,
    "vip": False,
    "stage": "won",
    "level": 2,
    "extra": {"any key": 1},
    "any": ["x", 1, None],
    "tags": ["a", "b"],
    "address": {"city": "Graz", "zip": None},
    "lines": [{"sku": "1"}, {"sku": "2"}],
}


def again(payload: dict[str, Any]) -> Any:
    return payload_form.payload_of(SCHEMA, payload_form.flat(SCHEMA, payload))


@pytest.mark.parametrize(
    "payload",
    [
        WHOLE,
        {},
        {"name": None, "tags": [], "lines": None, "address": None},
        {"name": "x", "any": [], "extra": {}},
        {"tags": [None, "b"]},
    ],
)
def test_a_payload_that_is_shown_and_sent_is_the_same(payload: dict[str, Any]) -> None:
    assert again(payload) == payload


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.none() | st.text(min_size=1).filter(str.strip),
            "amount": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            "vip": st.none() | st.booleans(),
            "tags": st.none()
            | st.lists(st.none() | st.text(min_size=1).filter(str.strip), max_size=9),
            "extra": st.none() | st.dictionaries(st.text(), st.integers() | st.text()),
        },
    )
)
def test_whatever_is_in_it_it_is_the_same(payload: dict[str, Any]) -> None:
    assert again(payload) == payload


def test_an_empty_box_is_left_out() -> None:
    sent = {"p.name": "", "p.views": " ", "p.stage": "", "p.address.city": "", "p.tags.0": ""}
    assert payload_form.payload_of(SCHEMA, sent) == {}


def test_what_can_not_be_read_is_told_by_the_validator() -> None:
    validator = schema.compile(SCHEMA)
    sent = {
        "p.name": "x",
        "p.views": "many",
        "p.amount": "1e999",
        "p.vip": "perhaps",
        "p.at": "soon",
        "p.extra": "{",
        "p.any": "5",
        "p.level": "3",
        "p.lines.0.sku": "1",
        "p.lines.0.sku:null": "on",
    }
    payload = payload_form.payload_of(SCHEMA, sent)
    told = {problem.path: problem.error for problem in validator.validate(payload)}
    assert set(told) == {
        "payload.views",
        "payload.amount",
        "payload.vip",
        "payload.at",
        "payload.extra",
        "payload.any",
        "payload.level",
    }
    assert payload["lines"] == [{"sku": None}]


def test_depths_that_nobody_can_read_are_text() -> None:
    deep = "[" * 100_000
    assert payload_form.payload_of(SCHEMA, {"p.any": deep}) == {"any": deep}
    many = {f"p.tags.{index}": "x" for index in range(5000)} | {"p.tags.9999999999": "x"}
    assert len(payload_form.payload_of(SCHEMA, many)["tags"]) == payload_form.MAX_ENTRIES
    assert (
        payload_form.payload_of(SCHEMA, {"p.tags.-1": "x", "p.tags.": "x", "p.tags.x": "x"}) == {}
    )


def test_every_problem_is_at_its_box_or_left() -> None:
    sent = payload_form.flat(SCHEMA, {"lines": [{"sku": "1"}, {"sku": "2"}], "extra": {"a": 1}})
    problems = [
        Problem("payload.name", "is required"),
        Problem("payload.lines[1].sku", "is wrong"),
        Problem("payload.address.city", "is missing"),
        Problem('payload.extra["a"]', "is odd"),
        Problem("payload.gone", "unknown key"),
    ]
    boxes, left = payload_form.boxes(SCHEMA, sent, problems)
    by_name = {box.name: box for box in boxes}
    assert by_name["p.name"].errors == ("is required",)
    assert by_name["p.lines"].inside[1].inside[0].errors == ("is wrong",)
    assert by_name["p.lines"].errors == ()
    assert by_name["p.address"].inside[0].errors == ("is missing",)
    assert by_name["p.extra"].errors == ("is odd",)
    assert left == [problems[-1]]


def test_boxes_are_typed_and_say_what_could_be_in_them() -> None:
    boxes, _left = payload_form.boxes(SCHEMA, {})
    by_name = {box.name: box for box in boxes}
    kinds = {name.removeprefix("p."): box.kind for name, box in by_name.items()}
    assert kinds == {
        "name": "text",
        "note": "textarea",
        "day": "date",
        "at": "datetime-local",
        "site": "url",
        "views": "number",
        "amount": "number",
        "vip": "select",
        "stage": "select",
        "level": "select",
        "extra": "textarea",
        "any": "textarea",
        "tags": "list",
        "address": "group",
        "lines": "list",
    }
    name = by_name["p.name"]
    assert (name.label, name.placeholder, name.required) == ("Full Name", "Ada", True)
    assert by_name["p.stage"].choices == (('"new"', "new"), ('"won"', "Closed"))
    assert not by_name["p.views"].nullable


def test_lists_grow_and_shrink() -> None:
    sent = {"p.tags.0": "a", "p.tags.2": "c", "p.tags.2:null": "on", "other": "x"}
    more = payload_form.sent({**sent, "_add": "p.tags"})
    assert more == {"p.tags.0": "a", "p.tags.2": "c", "p.tags.2:null": "on", "p.tags.3": ""}
    less = payload_form.sent({**sent, "_remove": "p.tags.2"})
    assert less == {"p.tags.0": "a"}
    assert payload_form.sent({"_add": "p.lines"}) == {"p.lines.0": ""}
    assert payload_form.sent({"_add": "x", "_remove": "y"}) == {}


def test_a_sample_fills_the_whole_form() -> None:
    sample = schema.sample(SCHEMA)
    shown = again(sample)
    assert schema.compile(SCHEMA).validate(shown) == []
    assert shown == sample
