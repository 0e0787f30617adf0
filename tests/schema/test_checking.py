"""Which schemas are schemas, and what is said about the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm import schema
from xkit_crm.exceptions import DefinitionInvalid

SEED = {
    "name": {
        "type": "string",
        "label": "Document Name",
        "description": "Updated name of the document",
    },
    "updated_at": {
        "label": "Document Last Update Time",
        "description": "ISO 8601 Date/Time of the last update made to the document",
        "type": "string",
        "format": "datetime",
    },
}


def problems(description: Any) -> dict[str, str]:
    """What is said of one description, by what comes after its path."""
    found = schema.check({"key": description})
    assert all(problem.path.startswith("payloadSchema.key") for problem in found)
    return {problem.path.removeprefix("payloadSchema.key"): problem.error for problem in found}


def nested(kind: str, depth: int) -> dict[str, Any]:
    description: dict[str, Any] = {"type": "string"}
    for _ in range(depth - 1):
        below = {"properties": {"key": description}} if kind == "object" else {"items": description}
        description = {"type": kind, **below}
    return {"key": description}


def test_the_seeds_schemas_have_no_problem() -> None:
    assert schema.check(SEED) == []


def test_an_empty_schema_has_no_problem() -> None:
    assert schema.check({}) == []


def test_every_keyword_where_it_belongs_has_no_problem() -> None:
    assert (
        schema.check(
            {
                "stage": {
                    "type": "string",
                    "enum": ["open", {"value": "won", "label": "Won"}, {"value": "lost"}],
                    "default": "open",
                    "example": "won",
                    "required": True,
                    "nullable": False,
                    "maxLength": 4,
                },
                "amount": {"type": "number", "minimum": 0, "maximum": 1.5, "default": None},
                "tags": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "format": "text"}},
                    },
                    "example": [{"name": "red"}],
                },
                "anything": {"type": "object", "example": {"any key": 1}},
            }
        )
        == []
    )


def test_labels_may_be_lazily_translated() -> None:
    assert problems({"type": "string", "label": gettext_lazy("Name")}) == {}


def test_every_problem_is_told_at_once() -> None:
    found = schema.check(
        {"a": {"type": "strin"}, "b": {"type": "string", "formt": "date"}, "c": 1}, path="fields"
    )

    assert [problem.path for problem in found] == ["fields.a.type", "fields.b.formt", "fields.c"]


def test_one_wrong_keyword_does_not_hide_another() -> None:
    found = problems({"type": "integer", "lable": "x", "default": "many", "maxLength": 3})

    assert found.keys() == {".lable", ".default", ".maxLength"}


@pytest.mark.parametrize("given", [None, [], "string", 3, True])
def test_a_schema_is_an_object(given: Any) -> None:
    (problem,) = schema.check(given)

    assert problem.path == "payloadSchema"
    assert "must be an object of keys and descriptions" in problem.error


def test_a_description_is_an_object() -> None:
    assert problems("string") == {"": 'must be an object such as {"type": "string"}, not a string'}


def test_a_type_is_required() -> None:
    assert problems({"label": "Name"}) == {
        ".type": "is required; known are string, number, integer, boolean, object, array"
    }


def test_an_unknown_keyword_is_told_with_its_near_miss_and_what_is_known() -> None:
    error = problems({"type": "string", "max_length": 3})[".max_length"]

    assert error.startswith("unknown keyword (did you mean maxLength?); known are type, label, ")


@pytest.mark.parametrize(
    ("description", "path", "error"),
    [
        ({"type": "text"}, ".type", 'unknown type "text"'),
        ({"type": ["string"]}, ".type", 'unknown type ["string"]'),
        ({"type": "string", "format": "dat"}, ".format", '"dat" (did you mean date?); known are'),
        ({"type": "string", "format": 1}, ".format", "unknown format 1"),
        ({"type": "number", "format": "date"}, ".format", "for string only, not for number"),
        ({"type": "string", "properties": {}}, ".properties", "for object only"),
        ({"type": "object", "items": {}}, ".items", "for array only"),
        ({"type": "array", "enum": [1]}, ".enum", "for string or number or integer or boolean"),
        ({"type": "integer", "maxLength": 3}, ".maxLength", "for string only"),
        ({"type": "string", "minimum": 3}, ".minimum", "for number or integer only"),
        ({"type": "string", "label": 3}, ".label", "must be a string, but is a number"),
        ({"type": "string", "label": "a\0"}, ".label", "characters that no database can hold"),
        ({"type": "string", "description": None}, ".description", "must be a string, but is null"),
        ({"type": "string", "required": "yes"}, ".required", 'true or false, but is "yes"'),
        ({"type": "string", "nullable": 0}, ".nullable", "true or false, but is 0"),
        ({"type": "string", "maxLength": 0}, ".maxLength", "a positive integer, but is 0"),
        ({"type": "string", "maxLength": True}, ".maxLength", "a positive integer, but is true"),
        ({"type": "string", "maxLength": 1.5}, ".maxLength", "a positive integer, but is 1.5"),
        ({"type": "number", "minimum": "1"}, ".minimum", "a finite number"),
        ({"type": "number", "maximum": True}, ".maximum", "a finite number"),
        ({"type": "number", "maximum": float("inf")}, ".maximum", "a finite number"),
        ({"type": "number", "minimum": 2, "maximum": 1}, ".minimum", "over the maximum of 1"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, ".minimum", "leaves no integer"),
        ({"type": "string", "enum": "a"}, ".enum", "must be a list of values, but is a string"),
        ({"type": "string", "enum": []}, ".enum", "is empty"),
        ({"type": "string", "enum": ["a", "a"]}, ".enum[1]", '"a" is listed twice'),
        ({"type": "number", "enum": [1, 1.0]}, ".enum[1]", "1.0 is listed twice"),
        ({"type": "string", "enum": ["a", 1]}, ".enum[1]", "must be a string, but is a number"),
        ({"type": "string", "enum": [{"value": 1}]}, ".enum[0].value", "must be a string"),
        ({"type": "string", "enum": [None]}, ".enum[0]", "null is no choice"),
        ({"type": "string", "enum": [["a"]]}, ".enum[0]", "must be string, number"),
        ({"type": "string", "enum": [{"label": "A"}]}, ".enum[0].value", "is required"),
        ({"type": "string", "enum": [{"value": "a", "label": 1}]}, ".enum[0].label", "a string"),
        (
            {"type": "string", "enum": [{"value": "a", "name": "A"}]},
            ".enum[0].name",
            "unknown keyword; known are value, label",
        ),
        ({"type": "integer", "default": "1"}, ".default", "must be an integer, but is a string"),
        ({"type": "string", "enum": ["a"], "default": "b"}, ".default", "must be one of"),
        ({"type": "string", "nullable": False, "default": None}, ".default", "must not be null"),
        ({"type": "string", "maxLength": 2, "example": "abc"}, ".example", "1 character too long"),
        ({"type": "string", "example": "\ud800"}, ".example", "is not Unicode text"),
        (
            {"type": "string", "format": "date", "example": "2022-02-30"},
            ".example",
            "is not an ISO 8601 date, such as 2022-05-17",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "example": {"b": 1}},
            ".example.b",
            "unknown key; known are a",
        ),
        (
            {"type": "string", "format": "date", "maxLength": 9},
            ".maxLength",
            "leaves no room for an ISO 8601 date, such as 2022-05-17",
        ),
        ({"type": "object", "properties": []}, ".properties", "must be an object"),
        ({"type": "object", "properties": {"a": {}}}, ".properties.a.type", "is required"),
        ({"type": "array", "items": []}, ".items", "must be an object"),
        ({"type": "array", "items": {"type": "x"}}, ".items.type", "unknown type"),
    ],
)
def test_a_mistake_is_told_at_its_path(description: Any, path: str, error: str) -> None:
    found = problems(description)

    assert list(found) == [path]
    assert error in found[path]


def test_true_and_1_are_two_values() -> None:
    assert ".enum[1]" not in problems({"type": "integer", "enum": [1, 2]})
    assert "a boolean" in problems({"type": "integer", "enum": [1, True]})[".enum[1]"]


@pytest.mark.parametrize("key", ["name", "_private", "a-b_c1", "A" * 100])
def test_what_a_key_may_be(key: str) -> None:
    assert schema.check({key: {"type": "string"}}) == []


@pytest.mark.parametrize("key", ["", "1st", "-a", "a b", "a.b", "ä", "a\n", "A" * 101])
def test_what_a_key_may_not_be(key: str) -> None:
    (problem,) = schema.check({key: {"type": "string"}})

    assert problem.error.startswith("is no key: ")


@pytest.mark.parametrize("kind", ["object", "array"])
def test_descriptions_nest_eight_deep(kind: str) -> None:
    assert schema.check(nested(kind, 8)) == []

    (problem,) = schema.check(nested(kind, 9))
    assert problem.error == "is nested more than 8 deep"


@pytest.mark.parametrize("kind", ["object", "array"])
def test_a_schema_far_too_deep_is_told_as_well(kind: str) -> None:
    (problem,) = schema.check(nested(kind, 5000))

    assert problem.error == "is nested more than 8 deep"


def test_a_schema_holds_500_keys_wherever_they_are() -> None:
    inner = {f"key{n}": {"type": "string"} for n in range(499)}
    full = {"tags": {"type": "array", "items": {"type": "object", "properties": inner}}}
    assert schema.check(full) == []

    (problem,) = schema.check({**full, "one_more": {"type": "string"}})
    assert problem.path == "payloadSchema"
    assert problem.error == "holds 501 keys, but at most 500 are allowed"


def test_a_schema_with_mistakes_is_not_compiled() -> None:
    with pytest.raises(DefinitionInvalid) as raised:
        schema.compile({"name": {}})

    assert [problem.path for problem in raised.value.errors] == ["payloadSchema.name.type"]


def test_what_is_no_json_is_not_compiled() -> None:
    circular: dict[str, Any] = {"type": "object"}
    circular["properties"] = {"self": circular}

    with pytest.raises(DefinitionInvalid, match="nested more than 8 deep"):
        schema.compile({"key": circular})


@given(strategies.any_json)
def test_any_json_can_be_checked(value: Any) -> None:
    assert isinstance(schema.check(value), list)


@given(st.dictionaries(strategies.keys, strategies.any_json, max_size=3))
def test_any_descriptions_can_be_checked(value: dict[str, Any]) -> None:
    schema.check(value)


@given(strategies.schemas(), strategies.any_json, st.data())
def test_any_keyword_can_be_replaced_by_any_json(
    given_schema: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    for description in given_schema.values():
        description[data.draw(st.sampled_from(sorted(description)))] = value
    schema.check(given_schema)


@given(strategies.schemas())
def test_a_schema_without_mistakes_has_no_problem(given_schema: dict[str, Any]) -> None:
    assert schema.check(given_schema) == []
    assert schema.check(schema.normalise(given_schema)) == []
