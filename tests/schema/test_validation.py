"""Which payloads a schema allows, and what is said about the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm import schema

STRICT = {"required": True, "nullable": False}


def problem(description: dict[str, Any], value: Any) -> str | None:
    """What is said of one value; None where it is allowed."""
    found = schema.validate({"key": description}, {"key": value})
    assert [problem.path for problem in found] == ["payload.key"] * bool(found)
    return found[0].error if found else None


def messages(given: dict[str, Any], payload: Any) -> dict[str, str]:
    return {found.path: found.error for found in schema.validate(given, payload)}


def test_every_violation_is_told_with_its_path() -> None:
    given = {
        "name": {"type": "string", "maxLength": 80, "required": True},
        "updated_at": {"type": "string", "format": "datetime"},
        "stage": {"type": "string", "enum": ["open", {"value": "won", "label": "Won"}]},
        "amount": {"type": "number", "minimum": 0, "maximum": 9.5},
        "owner": {"type": "string", **STRICT},
        "tags": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string", **STRICT}}},
        },
    }

    assert messages(
        given,
        {
            "name": "x" * 92,
            "updated_at": "yesterday",
            "stage": "lost",
            "amount": -1,
            "owner": None,
            "tags": [{"name": "red"}, {"nmae": "blue"}, "green"],
            "note": "hi",
        },
    ) == {
        "payload.name": "is 12 characters too long (at most 80)",
        "payload.updated_at": "is not an ISO 8601 date-time, such as 2022-05-17T23:17:53Z",
        "payload.stage": 'is "lost", but must be one of "open", "won"',
        "payload.amount": "is -1, but must be at least 0",
        "payload.owner": "must not be null",
        "payload.tags[1].name": "is required",
        "payload.tags[1].nmae": "unknown key (did you mean name?); known are name",
        "payload.tags[2]": "must be an object, but is a string",
        "payload.note": ("unknown key; known are name, updated_at, stage, amount, owner, tags"),
    }
    assert messages(given, {"name": "x" * 81, "owner": "a", "amount": 10}) == {
        "payload.name": "is 1 character too long (at most 80)",
        "payload.amount": "is 10, but must be at most 9.5",
    }


def test_a_wrong_type_is_told_once_and_not_with_the_limits_it_breaks_as_well() -> None:
    assert problem({"type": "integer", "maximum": 3, "enum": [1]}, 4.5) == (
        "is 4.5, but must be an integer"
    )


def test_the_path_may_begin_elsewhere() -> None:
    (found,) = schema.validate({}, {"a": 1}, path="body.payload")

    assert str(found) == "body.payload.a: unknown key; none is known"


@pytest.mark.parametrize("payload", [None, [], "payload", 3])
def test_a_payload_is_an_object(payload: Any) -> None:
    assert list(messages({}, payload)) == ["payload"]


def test_keys_may_be_missing_or_null_unless_the_schema_says_otherwise() -> None:
    given = {
        "free": {"type": "string"},
        "there": {"type": "string", "required": True},
        "filled": {"type": "string", "nullable": False},
        "chosen": {"type": "string", "enum": ["a"], "nullable": False},
        "choice": {"type": "string", "enum": ["a"]},
    }

    assert messages(given, {"there": None, "free": None, "choice": None}) == {}
    assert messages(given, {"filled": None, "chosen": None}) == {
        "payload.there": "is required",
        "payload.filled": "must not be null",
        "payload.chosen": "must not be null",
    }


@pytest.mark.parametrize(
    ("kind", "allowed", "refused"),
    [
        ("string", ["", "a", "ü😀"], [1, True, [], {}]),
        ("number", [0, -1, 1.5, 10**30], ["1", True, [], {}, float("nan"), float("inf")]),
        ("integer", [0, -1, 1.0, 10**30], [1.5, "1", False, float("-inf"), 10**400]),
        ("boolean", [True, False], [0, 1, "true"]),
        ("object", [{}, {"any key": 1, "": None}], [[], "x", {"a": {}}, {"a": [1]}]),
        ("array", [[], [1, "a", True, None]], [{}, "x", [[]], [{}]]),
    ],
)
def test_what_a_type_allows(kind: str, allowed: list[Any], refused: list[Any]) -> None:
    validator = schema.compile({"key": {"type": kind}})

    assert [value for value in allowed if validator.validate({"key": value})] == []
    assert [value for value in refused if not validator.validate({"key": value})] == []


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        (
            "date",
            ["2022-05-17", "2024-02-29", "0001-01-01"],
            ["2022-02-30", "2022-5-17", "20220517", "2022-W20-2", "0000-01-01", "2022-05-17 ", ""],
        ),
        (
            "datetime",
            [
                "2022-05-17T23:17:53Z",
                "2022-05-17T23:17:53.123456Z",
                "2022-05-17T23:17:53+02:00",
                "2022-05-17T23:17:53",
                "2022-05-17T23:17",
            ],
            [
                "2022-02-30T00:00:00Z",
                "2022-05-17T25:00:00Z",
                "2022-05-17 23:17:53Z",
                "2022-05-17t23:17:53z",
                "2022-05-17",
                "2022-05-17T23:17:53+25:00",
                "2022-05-17T23:17:53Z\n",
                "٢٠٢٢-05-17T23:17:53Z",
            ],
        ),
        ("email", ["a@example.com", "a+b@localhost"], ["a", "Ada <a@example.com>", "a b@c.de", ""]),
        ("uri", ["https://a.example/b?c=d", "mailto:a@b.c"], ["a.example", "/a", "http://a b", ""]),
        (
            "uuid",
            ["0190163d-8694-739b-aea5-966c26f8ad91", "0190163D-8694-739B-AEA5-966C26F8AD91"],
            ["0190163d8694739baea5966c26f8ad91", "0190163d", ""],
        ),
        ("text", ["two\nlines", ""], [1]),
    ],
)
def test_what_a_format_allows(name: str, allowed: list[Any], refused: list[Any]) -> None:
    validator = schema.compile({"key": {"type": "string", "format": name}})

    assert [value for value in allowed if validator.validate({"key": value})] == []
    assert [value for value in refused if not validator.validate({"key": value})] == []


def test_date_time_is_read_as_datetime() -> None:
    description = {"type": "string", "format": "date-time"}

    assert problem(description, "2022-05-17T23:17:53") is None
    assert "an ISO 8601 date-time" in str(problem(description, "2022-05-17"))


def test_what_no_database_can_hold_is_refused() -> None:
    validator = schema.compile(
        {"text": {"type": "string"}, "free": {"type": "object"}, "number": {"type": "number"}}
    )

    found = validator.validate(
        {"text": "a\0b", "free": {"b\0": 1, "half": "\ud800"}, "number": float("nan"), "more": 1}
    )

    assert {problem.path: problem.error for problem in found} == {
        "payload.text": "has a NUL character, which databases can't hold",
        'payload.free["b\\u0000"]': "has a NUL character, which databases can't hold",
        "payload.free.half": "is not Unicode text: it has half of a surrogate pair",
        "payload.number": "is not a finite number",
    }


def test_what_is_not_json_is_told_with_its_path() -> None:
    assert messages({"tags": {"type": "array"}}, {"tags": [{1, 2}], "when": b"x"}) == {
        "payload.tags[0]": "is a Python set, not a JSON value",
        "payload.when": "is a Python bytes, not a JSON value",
    }
    assert messages({}, {1: 2}) == {"payload[1]": "has a key that is no string"}


def test_a_payload_far_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"key": deep}

    (error,) = messages({"key": {"type": "object"}}, deep).values()
    assert error == "is nested too deep"


def test_the_same_schema_is_compiled_once() -> None:
    first = schema.compile({"name": {"type": "string", "label": "Compiled once"}})

    assert schema.compile({"name": {"type": "string", "label": "Compiled once"}}) is first


def test_a_validator_keeps_its_schema_when_the_original_changes() -> None:
    given: dict[str, Any] = {"name": {"type": "string"}}
    validator = schema.compile(given)
    given["name"]["type"] = "integer"

    assert validator.validate({"name": "a"}) == []


def test_the_json_schema_says_all_that_the_schema_does() -> None:
    translated = schema.json_schema(
        {
            "name": {
                "type": "string",
                "label": "Name",
                "description": "Of the deal",
                "required": True,
                "maxLength": 80,
                "example": "Apple",
            },
            "closed_at": {"type": "string", "format": "datetime"},
            "stage": {"type": "string", "enum": ["open", {"value": "won", "label": "Won"}]},
            "count": {
                "type": "integer",
                "minimum": 1,
                "maximum": 9,
                "default": 1,
                "nullable": False,
            },
            "free": {"type": "object"},
            "list": {"type": "array"},
            "note": {"type": "string", "format": "text"},
            "tags": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string", **STRICT}}},
            },
        },
        title="Create Opportunity",
    )

    scalars = {"type": ["string", "number", "boolean", "null"]}
    assert translated == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Create Opportunity",
        "type": "object",
        "properties": {
            "name": {
                "title": "Name",
                "description": "Of the deal",
                "type": ["string", "null"],
                "maxLength": 80,
                "examples": ["Apple"],
            },
            "closed_at": {"title": "Closed at", "type": ["string", "null"], "format": "date-time"},
            "stage": {
                "title": "Stage",
                "type": ["string", "null"],
                "enum": ["open", "won", None],
            },
            "count": {
                "title": "Count",
                "type": "integer",
                "minimum": 1,
                "maximum": 9,
                "default": 1,
            },
            "free": {
                "title": "Free",
                "type": ["object", "null"],
                "additionalProperties": scalars,
            },
            "list": {"title": "List", "type": ["array", "null"], "items": scalars},
            "note": {"title": "Note", "type": ["string", "null"]},
            "tags": {
                "title": "Tags",
                "type": ["array", "null"],
                "items": {
                    "type": ["object", "null"],
                    "properties": {"name": {"title": "Name", "type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["name"],
        "additionalProperties": False,
    }


@given(st.data())
def test_a_payload_that_fits_is_valid(data: st.DataObject) -> None:
    given_schema = data.draw(strategies.schemas())
    payload = data.draw(strategies.payloads(given_schema))

    assert schema.validate(given_schema, payload) == []


@given(strategies.schemas(), strategies.any_json)
def test_any_json_can_be_validated(given_schema: dict[str, Any], payload: Any) -> None:
    for problem in schema.validate(given_schema, payload):
        assert problem.path.startswith("payload")
        assert problem.error


@given(strategies.schemas())
def test_a_sample_is_valid_and_has_every_key(given_schema: dict[str, Any]) -> None:
    payload = schema.sample(given_schema)

    assert schema.validate(given_schema, payload) == []
    assert list(payload) == list(given_schema)


@pytest.mark.parametrize("limit", [0.5, -0.5, 1e23, -1e23, 1.1323592403650769e19, 2**63, 10**300])
@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("keyword", ["minimum", "maximum"])
def test_a_sample_keeps_to_limits_of_any_size(keyword: str, kind: str, limit: float) -> None:
    given_schema = {"key": {"type": kind, keyword: limit}}

    assert schema.check(given_schema) == []
    assert schema.validate(given_schema, schema.sample(given_schema)) == []


def test_a_sample_takes_the_example_the_default_the_first_choice_or_something_plausible() -> None:
    choices = {"type": "string", "enum": [{"value": "open", "label": "Open"}, "won"]}

    assert schema.sample(
        {
            "a": {**choices, "example": "won", "default": "open"},
            "b": {**choices, "default": "won"},
            "c": choices,
            "updated_at": {"type": "string", "format": "datetime"},
            "document_name": {"type": "string", "maxLength": 8},
            "amount": {"type": "integer", "minimum": 4.5},
            "discount": {"type": "number", "maximum": -2},
            "signed": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string", "label": "Tag"}},
            "more": {"type": "object"},
            "owner": {"type": "object", "properties": {"id": {"type": "integer"}}},
        }
    ) == {
        "a": "won",
        "b": "won",
        "c": "open",
        "updated_at": "2022-05-17T23:17:53Z",
        "document_name": "Document",
        "amount": 5,
        "discount": -2,
        "signed": True,
        "tags": ["Tag"],
        "more": {},
        "owner": {"id": 1},
    }
