"""What the editor of schemas sends: blocks as pairs, or JSON as somebody typed it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given

from tests import strategies
from xkit_crm import schema
from xkit_crm.admin.schema_form import SchemaField


def blocks(given: dict[str, Any]) -> list[Any]:
    """A schema as the editor writes it."""
    return [[key, block(description)] for key, description in given.items()]


def block(description: dict[str, Any]) -> dict[str, Any]:
    shown = dict(description)
    if "properties" in shown:
        shown["properties"] = blocks(shown["properties"])
    if "items" in shown:
        shown["items"] = block(shown["items"])
    return shown


def mistakes(sent: Any) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        SchemaField().clean(sent if isinstance(sent, str) else json.dumps(sent))
    return list(raised.value.messages)


@given(strategies.schemas())
def test_blocks_and_json_mean_the_same_schema_in_the_same_order(given: dict[str, Any]) -> None:
    field = SchemaField()
    meant = schema.normalise(given)
    for sent in (blocks(given), given):
        read = field.clean(json.dumps(sent))
        assert read == meant
        assert list(read) == list(meant)


@given(strategies.any_json)
def test_any_json_is_a_schema_or_a_mistake_that_is_told(sent: Any) -> None:
    with suppress(ValidationError):
        assert schema.check(SchemaField().clean(json.dumps(sent))) == []


def test_an_empty_box_is_an_empty_schema() -> None:
    assert SchemaField().clean("") == {}


def test_a_key_that_is_there_twice_is_told_and_none_is_dropped_in_silence() -> None:
    twice = [["name", {"type": "string"}], ["name", {"type": "number"}]]
    assert mistakes(twice) == ["payloadSchema.name: is there twice"]
    inside = [["address", {"type": "object", "properties": [*twice]}]]
    assert mistakes(inside) == ["payloadSchema.address.properties.name: is there twice"]


def test_a_block_without_a_key_is_told() -> None:
    assert mistakes([["", {"type": "string"}]]) == ["payloadSchema: a key has no name yet"]


def test_every_mistake_is_said_with_its_path() -> None:
    sent = {"a": {"type": "string", "maxLength": -1}, "b": {"type": "text"}}
    assert [one.split(":")[0] for one in mistakes(sent)] == [
        "payloadSchema.a.maxLength",
        "payloadSchema.b.type",
    ]


@pytest.mark.parametrize("sent", ["{", "[1, 2]", '"text"', "[" * 100_000, '{"a": ' * 5_000])
def test_what_is_no_schema_is_refused(sent: str) -> None:
    assert mistakes(sent)


def test_a_change_of_the_order_is_a_change() -> None:
    initial = {"a": {"type": "string"}, "b": {"type": "string"}}
    field = SchemaField()
    assert not field.has_changed(initial, json.dumps(blocks(initial)))
    assert field.has_changed(initial, json.dumps(blocks(initial)[::-1]))
    assert field.has_changed(initial, "{")
