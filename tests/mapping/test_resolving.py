"""A payload becomes remote values, and a record's values the CRM object's fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping import resolving
from xkit_crm.mapping.resolving import criteria, needs_current, read_back, resolve, sources
from xkit_crm.mapping.transformations import (
    Action,
    Kind,
    check_action,
    parse_action,
    parse_object_map,
)
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType

DAY = {"F": RemoteField("F", "F", RemoteType.DATE)}
NOTHING: dict[str, Any] = {}


def action(*rows: dict[str, Any], does: str = "update") -> Action:
    data = {"action": does, "workflow": "W", "transformations": list(rows)}
    assert check_action(data) == []
    return parse_action(data)


def written(
    row: dict[str, Any],
    payload: dict[str, Any],
    *,
    fields: dict[str, RemoteField] | None = None,
    current: dict[str, Any] | None = None,
    creating: bool = False,
) -> dict[str, Any]:
    """What one transformation writes to the field `F`."""
    does = action({"field": "F", **row})
    return resolve(does, payload, fields=fields, creating=creating, current=current)


# -- kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Ada", "", 0, 12.5, False, None, [], ["a"], {"b": 1}])
def test_direct_writes_the_payloads_value_and_static_its_own(value: Any) -> None:
    assert written({"kind": "direct", "key": "a"}, {"a": value}) == {"F": value}
    assert written({"kind": "static", "value": value}, {"F": "x", "value": "y"}) == {"F": value}


@pytest.mark.parametrize("kind", ["direct", "date", "value_map"])
def test_a_missing_key_writes_nothing_and_null_clears_the_field(kind: str) -> None:
    row = {"kind": kind, "key": "a.b"} | ({"values": {}, "fallback": "x"} if "_" in kind else {})

    for payload in ({}, {"a": None}, {"a": {}}, {"a": "text"}):
        assert written(row, payload) == NOTHING
    assert written(row, {"a": {"b": None}}) == {"F": None}


@pytest.mark.parametrize("kind", ["direct", "date"])
def test_a_datetime_is_written_as_its_field_wants_it(kind: str) -> None:
    row, payload = {"kind": kind, "key": "at"}, {"at": "2022-05-17T10:00:00Z"}

    assert written(row, payload, fields=DAY) == {"F": "2022-05-17"}
    assert written(row, payload, fields={}) == written(row, payload) == {"F": payload["at"]}


def test_empty_writes_nothing_though_it_has_a_key_and_a_value() -> None:
    row = {"kind": "empty", "key": "a", "value": "x", "template": "{a}"}

    assert written(row, {"a": 1}, creating=True) == NOTHING


def test_default_stands_in_where_the_payload_has_no_value() -> None:
    row = {"kind": "default", "key": "a", "value": "x"}

    assert written(row, {}) == written(row, {"a": None}) == {"F": "x"}
    for value in ("", 0, False, "y"):
        assert written(row, {"a": value}) == {"F": value}


@pytest.mark.parametrize(
    ("value", "mapped"),
    [
        ("signed", "Closed Won"),
        ("draft", None),
        (True, "yes"),
        (1, "one"),
        (1.0, "one"),
        (2.5, "half"),
        ("unknown", "other"),
        (False, "other"),
        (["signed"], ["signed"]),
        ({"signed": 1}, {"signed": 1}),
    ],
)
def test_a_value_map_finds_texts_booleans_and_numbers_or_falls_back(
    value: Any, mapped: Any
) -> None:
    values = {"signed": "Closed Won", "draft": None, "true": "yes", "1": "one", "2.5": "half"}
    row = {"kind": "value_map", "key": "a", "values": values}

    assert written(row | {"fallback": "other"}, {"a": value}) == {"F": mapped}
    assert written(row | {"fallback": None}, {"a": value}) == (
        {"F": None if mapped == "other" else mapped}
    )
    assert written(row, {"a": value}) == {"F": value if mapped == "other" else mapped}


# -- templates -------------------------------------------------------------------------------------

PAYLOAD = {
    "name": "Lease",
    "amount": 12.0,
    "owner": {"email": "ada@example.com", "phone": None},
    "tags": ["new", "big"],
    "sneaky": "{owner.email} {{x}} %s",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Contract {name} ({owner.email})", "Contract Lease (ada@example.com)"),
        ("{ name }{name}", "LeaseLease"),
        ("{amount}: {tags}", "12: new, big"),
        ("{name} {gone}{owner.phone}{owner.gone}", "Lease "),
        ("no placeholder", "no placeholder"),
        ("{{name}} {{{name}}} {sneaky}", "{name} {Lease} {owner.email} {{x}} %s"),
        ("{name} {__class__}{name.__init__}{owner.__class__.__mro__}", "Lease "),
        ("{name} %(amount)s ${amount} $amount", "Lease %(amount)s $12 $amount"),
    ],
)
def test_a_template_is_its_text_with_payload_values(template: str, text: str) -> None:
    assert written({"kind": "template", "template": template}, PAYLOAD) == {"F": text}


@pytest.mark.parametrize("template", ["{gone}", "A {owner.phone} {gone}", "{__class__}"])
def test_a_template_none_of_whose_keys_has_a_value_writes_nothing(template: str) -> None:
    assert written({"kind": "template", "template": template}, PAYLOAD) == NOTHING


@given(st.dictionaries(strategies.keys, st.text(max_size=8) | st.integers()), st.text(), st.data())
def test_a_template_has_nothing_but_its_text_and_payload_values(
    payload: dict[str, Any], text: str, data: st.DataObject
) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    keys = data.draw(st.lists(st.sampled_from(["a", *payload])))
    template = doubled + "".join(f"{{{key}}}{doubled}" for key in keys)
    filled = text + "".join(f"{payload.get(key, '')}{text}" for key in keys)

    found = written({"kind": "template", "template": f"-{template}"}, payload)
    assert found == (NOTHING if keys and not payload.keys() & keys else {"F": f"-{filled}"})


# -- when a field is written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "updates"), [("always", True), ("when_empty", False), ("on_create", False)]
)
def test_a_create_writes_in_every_mode_and_an_update_as_it_says(mode: str, updates: bool) -> None:
    row = {"kind": "static", "value": 1, "mode": mode}

    assert written(row, {}, creating=True) == {"F": 1}
    assert written(row, {}, current={"F": "theirs"}) == ({"F": 1} if updates else NOTHING)
    assert written(row, {}, current={}) == (NOTHING if mode == "on_create" else {"F": 1})


def test_when_empty_writes_where_the_crm_has_nothing_and_false_is_something() -> None:
    row = {"kind": "static", "value": 1, "mode": "when_empty"}

    for nothing in ({}, {"F": None}, {"F": ""}, {"F": []}):
        assert written(row, {}, current=nothing) == {"F": 1}
    for something in ("theirs", 0, False, ["New"]):
        assert written(row, {}, current={"F": something}) == NOTHING


def test_only_fields_written_when_empty_have_to_be_known_before() -> None:
    modes = ("always", "when_empty", "on_create")
    rows = [{"field": mode, "kind": "static", "value": 1, "mode": mode} for mode in modes]

    assert needs_current(action(*rows)) == ("when_empty",)


def test_sources_name_the_payload_key_of_each_field_that_has_one() -> None:
    all_keywords = {"key": "a.b", "value": 1, "values": {}, "template": "{a}"}
    does = action(*({"field": str(kind), "kind": str(kind), **all_keywords} for kind in Kind))

    keyed = ("direct", "date", "default", "value_map")
    assert sources(does) == dict.fromkeys(keyed, "payload.a.b")


# -- searches --------------------------------------------------------------------------------------


def test_transformations_are_the_conditions_of_a_search_whatever_their_mode() -> None:
    rows = [
        {"field": "Name", "kind": "direct", "key": "name", "mode": "when_empty"},
        {"field": "Name", "kind": "template", "template": "{name}!", "operator": "contains"},
        {"field": "Stage", "kind": "static", "value": "Open", "mode": "on_create"},
        {"field": "Notes", "kind": "empty"},
    ]
    search, stage = action(*rows, does="search"), Criterion("Stage", Operator.EQUALS, "Open")

    assert criteria(search, {"name": "Lease"}) == [
        Criterion("Name", Operator.EQUALS, "Lease"),
        Criterion("Name", Operator.CONTAINS, "Lease!"),
        stage,
    ]
    assert criteria(search, {}) == criteria(search, {"name": None}) == [stage]


def test_a_search_compares_equals_in_the_fields_type_and_contains_by_the_text() -> None:
    row = {"field": "F", "kind": "date", "key": "at"}
    search = action(row, row | {"operator": "contains"}, does="search")

    found = criteria(search, {"at": "2022-05-17T10:00:00Z"}, fields=DAY)
    assert [criterion.value for criterion in found] == ["2022-05-17", "2022-05-17T10:00:00Z"]


# -- reading back ----------------------------------------------------------------------------------

TEXT = {"type": "string"}
DATE, DATETIME = TEXT | {"format": "date"}, TEXT | {"format": "datetime"}
OBJECT = {"type": "object"}
MAP = parse_object_map({"fields": {"one": "F", "many": {"City": "F", "Zip": "Zip__c"}}})


@pytest.mark.parametrize(
    ("key", "description", "value", "read"),
    [
        ("one", TEXT, "", None),
        ("one", TEXT, 50.0, "50"),
        ("one", TEXT, False, "false"),
        ("one", {"type": "integer"}, 0, 0),
        ("one", DATE, "2022-05-17T23:30:00-02:00", "2022-05-18"),
        ("one", DATETIME, "2022-05-17T12:00:00+02:00", "2022-05-17T10:00:00Z"),
        ("one", DATETIME, "2022-05-17", "2022-05-17T00:00:00Z"),
        ("one", OBJECT, "Rome", {"F": "Rome"}),
        ("many", OBJECT, 0, {"City": 0}),
        ("many", OBJECT, "", {}),
        ("many", TEXT, "Rome", None),
        ("unmapped", TEXT, "Rome", None),
        ("unmapped", OBJECT, "Rome", {}),
    ],
)
def test_a_field_is_read_back_as_its_description_says(
    key: str, description: dict[str, Any], value: Any, read: Any
) -> None:
    assert repr(read_back(MAP, {key: description}, {"F": value})) == repr({key: read})


def test_remote_fields_are_those_that_feed_a_field_each_once() -> None:
    fields = {"a": "Name", "b": "Name", "c": {"x": "City", "y": "Name"}, "d": ""}

    assert resolving.remote_fields(parse_object_map({"fields": fields})) == ("Name", "City")


@given(strategies.schemas(), st.dictionaries(strategies.texts, strategies.any_json))
def test_every_field_of_the_crm_object_is_read_and_no_other(
    fields: dict[str, Any], values: dict[str, Any]
) -> None:
    feeds = dict.fromkeys([*fields, "another"], "F")
    read = read_back(parse_object_map({"fields": feeds}), fields, {"F": values})

    assert read.keys() == fields.keys()
