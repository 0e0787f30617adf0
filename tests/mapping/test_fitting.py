"""Whether what an action writes can ever be what a remote field's type takes."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.mapping.fitting import misfit, untranslated
from xkit_crm.mapping.transformations import check_action, parse_action
from xkit_crm.providers.base import Choice, RemoteField
from xkit_crm.providers.base import RemoteType as T

SCHEMA: dict[str, Any] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "truth": {"type": "boolean"},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "day": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "datetime"},
    "state": {"type": "string", "enum": ["a", {"value": "c", "label": "Sea"}]},
    "mail": {"type": "string", "format": "email"},
    "owner": {"type": "object", "properties": {"age": {"type": "integer"}}},
}
TAGS = (Choice("a", "A"), Choice("b", "B"))


def told(type_: T, choices: tuple[Choice, ...] = (), *, judge: Any = misfit, **row: Any) -> str:
    data = {"action": "update", "transformations": [{"field": "It", **row}]}
    assert check_action(data) == []
    (transformation,) = parse_action(data).transformations
    found: str = judge(transformation, RemoteField("It", "It", type_, choices=choices), SCHEMA)
    return found


def refused(**row: Any) -> set[T]:
    """The types that it can never be."""
    return {kind for kind in T if told(kind, **row)}


@pytest.mark.parametrize(
    ("key", "never"),
    [
        ("text", set()),
        ("number", {T.DATE, T.DATETIME, T.MULTIPICKLIST}),
        ("integer", {T.DATE, T.DATETIME, T.MULTIPICKLIST}),
        (
            "truth",
            {T.INTEGER, T.NUMBER, T.DATE, T.DATETIME, T.REFERENCE, T.MULTIPICKLIST},
        ),
        ("list", {T.INTEGER, T.NUMBER, T.DATE, T.DATETIME, T.BOOLEAN, T.REFERENCE}),
        ("object", {T.INTEGER, T.NUMBER, T.DATE, T.DATETIME, T.BOOLEAN, T.REFERENCE}),
        ("day", {T.INTEGER, T.NUMBER, T.BOOLEAN, T.REFERENCE}),
        ("moment", {T.INTEGER, T.NUMBER, T.BOOLEAN, T.REFERENCE}),
        ("mail", {T.INTEGER, T.NUMBER, T.BOOLEAN, T.DATE, T.DATETIME}),
        ("owner.age", {T.DATE, T.DATETIME, T.MULTIPICKLIST}),
        ("gone", set()),
        ("text.gone", set()),
    ],
)
def test_a_payload_key_is_refused_by_types_that_it_can_never_be(key: str, never: set[T]) -> None:
    assert refused(kind="direct", key=key) == never
    assert refused(kind="date", key=key) == never
    assert refused(kind="default", key=key, value=None) == never


def test_what_depends_on_the_value_is_left_to_the_crm() -> None:
    assert refused(kind="value_map", key="truth", values={"true": "1"}) == set()
    assert refused(kind="template", template="{truth}") == set()
    assert refused(kind="empty") == set()


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("2026-01-31", {T.DATE, T.DATETIME}),
        ("12.5", {T.NUMBER, T.DATE, T.DATETIME}),
        (12.0, {T.INTEGER, T.NUMBER}),
        (12, {T.INTEGER, T.NUMBER, T.BOOLEAN}),
        ("true", {T.BOOLEAN}),
        (True, {T.BOOLEAN}),
        ("soon", set()),
        ("", {T.INTEGER, T.NUMBER, T.BOOLEAN, T.DATE, T.DATETIME}),
        (None, {T.INTEGER, T.NUMBER, T.BOOLEAN, T.DATE, T.DATETIME}),
    ],
)
def test_a_fixed_value_is_judged_as_it_will_be_written(value: Any, fits: set[T]) -> None:
    judged = {T.INTEGER, T.NUMBER, T.BOOLEAN, T.DATE, T.DATETIME}
    assert judged - refused(kind="static", value=value) == fits
    assert not refused(kind="static", value=value) - judged


def test_a_fixed_value_has_to_be_in_the_picklist() -> None:
    for kind in (T.PICKLIST, T.MULTIPICKLIST):
        assert told(kind, TAGS, kind="static", value="a") == ""
        assert told(kind, TAGS, kind="static", value="c") == "“c” is no choice of It: a, b"
        assert (
            told(kind, TAGS, kind="default", key="text", value="c")
            == "“c” is no choice of It: a, b"
        )
    assert told(T.MULTIPICKLIST, TAGS, kind="static", value=["a", "b"]) == ""
    assert told(T.MULTIPICKLIST, TAGS, kind="static", value=["a", "c"]) != ""
    assert told(T.MULTIPICKLIST, TAGS, kind="static", value=[]) == ""


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"kind": "direct"}, "It doesn't know these values: c"),
        ({"kind": "default", "value": "a"}, "It doesn't know these values: c"),
        ({"kind": "value_map", "values": {"a": "b"}}, "It doesn't know these values: c"),
        ({"kind": "value_map", "values": {"c": "b"}}, ""),
        ({"kind": "value_map", "values": {"a": "b"}, "fallback": "b"}, ""),
        ({"kind": "value_map", "values": {"c": None}}, ""),
        ({"kind": "value_map", "values": {"c": "C"}}, "“C” is no choice of It: a, b"),
        ({"kind": "value_map", "values": {}, "fallback": "C"}, "“C” is no choice of It: a, b"),
        (
            {"kind": "value_map", "values": {"c": "b"}, "fallback": ""},
            "It: say what the values become",
        ),
        ({"kind": "value_map", "values": {}}, "It: say what the values become"),
        ({"kind": "direct", "key": "text"}, ""),
        ({"kind": "static", "value": "c"}, ""),
    ],
)
def test_a_value_of_the_product_that_the_picklist_has_not_is_told(
    row: dict[str, Any], error: str
) -> None:
    """It is one of several, so it doesn't make the rest a misfit."""
    for kind in (T.PICKLIST, T.MULTIPICKLIST):
        assert told(kind, TAGS, judge=untranslated, **{"key": "state", **row}) == error
    if "value_map" in row.values():
        assert told(T.PICKLIST, TAGS, **{"key": "state", **row}) == ""
    assert told(T.PICKLIST, judge=untranslated, key="state", kind="direct") == ""
