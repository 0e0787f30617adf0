"""What a change of a schema means for the values of each key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests import strategies
from xkit_crm.schema.comparing import KeyChange, Kind, compare


def kinds(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[tuple[str, Kind]]:
    """What changes where a key's description becomes another; None: there is none."""
    old = {} if before is None else {"key": before}
    new = {} if after is None else {"key": after}
    return [(change.key, change.kind) for change in compare(old, new)]


@given(strategies.schemas())
def test_nothing_changes_where_nothing_changes(given: dict[str, Any]) -> None:
    assert compare(given, given) == []


def test_keys_come_and_go() -> None:
    assert kinds(None, {"type": "string"}) == [("key", Kind.ADDED)]
    assert kinds({"type": "string"}, None) == [("key", Kind.REMOVED)]
    assert kinds(None, {"type": "string", "required": True}) == [
        ("key", Kind.ADDED),
        ("key", Kind.REQUIRED),
    ]


TEXT = {"type": "string"}
NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (TEXT, NUMBER, Kind.RETYPED),
        ({"type": "integer"}, NUMBER, Kind.WIDENED),
        (NUMBER, {"type": "integer"}, Kind.RETYPED),
        (TEXT, {**TEXT, "required": True}, Kind.REQUIRED),
        ({**TEXT, "required": True}, TEXT, Kind.EMPTIABLE),
        (TEXT, {**TEXT, "nullable": False}, Kind.NARROWED),
        ({**TEXT, "nullable": False}, TEXT, Kind.EMPTIABLE),
        (TEXT, {**TEXT, "format": "email"}, Kind.NARROWED),
        ({**TEXT, "format": "date"}, {**TEXT, "format": "datetime"}, Kind.RETYPED),
        ({**TEXT, "format": "date"}, TEXT, Kind.RETYPED),
        (TEXT, {**TEXT, "enum": ["a"]}, Kind.NARROWED),
        ({**TEXT, "enum": ["a"]}, TEXT, Kind.WIDENED),
        ({**TEXT, "enum": ["a", "b"]}, {**TEXT, "enum": ["a"]}, Kind.NARROWED),
        ({**TEXT, "enum": ["a"]}, {**TEXT, "enum": ["a", "b"]}, Kind.CHOICES),
        (TEXT, {**TEXT, "maxLength": 5}, Kind.NARROWED),
        ({**TEXT, "maxLength": 8}, {**TEXT, "maxLength": 5}, Kind.NARROWED),
        ({**TEXT, "maxLength": 5}, {**TEXT, "maxLength": 8}, Kind.WIDENED),
        (NUMBER, {**NUMBER, "minimum": 0}, Kind.NARROWED),
        ({**NUMBER, "minimum": 0}, {**NUMBER, "minimum": -1}, Kind.WIDENED),
        ({**NUMBER, "maximum": 5}, {**NUMBER, "maximum": 4.5}, Kind.NARROWED),
        ({"type": "object"}, {"type": "object", "properties": {"a": TEXT}}, Kind.NARROWED),
        ({"type": "array", "items": TEXT}, {"type": "array"}, Kind.WIDENED),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, Kind.RETYPED),
    ],
)
def test_what_becomes_of_the_values(before: Any, after: Any, kind: Kind) -> None:
    assert kinds(before, after) == [("key", kind)]


@pytest.mark.parametrize("keyword", ["label", "description", "default", "example"])
def test_what_only_describes_changes_no_value(keyword: str) -> None:
    assert kinds(TEXT, {**TEXT, keyword: "x"}) == []


def test_several_things_may_change_at_once() -> None:
    after = {**TEXT, "required": True, "maxLength": 5, "format": "email"}
    assert {kind for _, kind in kinds(TEXT, after)} == {Kind.REQUIRED, Kind.NARROWED}
    assert len(kinds(TEXT, after)) == 3


def test_keys_of_a_nested_object_are_told_by_their_paths() -> None:
    before = {"type": "object", "properties": {"city": TEXT, "zip": TEXT}}
    after = {"type": "object", "properties": {"city": NUMBER, "street": TEXT}}
    assert kinds(before, after) == [
        ("key.city", Kind.RETYPED),
        ("key.zip", Kind.REMOVED),
        ("key.street", Kind.ADDED),
    ]


def test_a_change_concerns_the_key_what_it_is_a_part_of_and_its_parts() -> None:
    change = KeyChange("address.city", Kind.REMOVED, "is gone")
    assert change.concerns("address.city")
    assert change.concerns("address")
    assert change.concerns("address.city.name")
    assert not change.concerns("address.citycode")
    assert not change.concerns("addresses")


def test_new_choices_are_named() -> None:
    (change,) = compare({"a": {**TEXT, "enum": ["x"]}}, {"a": {**TEXT, "enum": ["x", "y"]}})
    assert change.values == ("y",)
