"""A payload becomes remote values, and a record's values the CRM object's fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.resolving import (
    criteria,
    needs_current,
    read_back,
    remote_fields,
    resolve,
    sources,
)
from xkit_crm.mapping.transformations import (
    Action,
    check_action,
    parse_action,
    parse_object_map,
)
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType

NOTHING: dict[str, Any] = {}


def action(*rows: dict[str, Any], does: str = "update") -> Action:
    data = {"action": does, "remote_object": "Opportunity", "transformations": list(rows)}
    assert check_action(data) == []
    return parse_action(data)


def written(
    row: dict[str, Any],
    payload: dict[str, Any],
    *,
    type: RemoteType | None = None,  # noqa: A002 - the remote field's own word for it
    creating: bool = False,
    current: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What one transformation writes to the field `F`."""
    return resolve(
        action({"field": "F", **row}),
        payload,
        fields={"F": RemoteField("F", "F", type)} if type else None,
        creating=creating,
        current=current,
    )


# -- kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Ada", "", 0, 12.5, False, None, [], ["a"], {"b": 1}])
def test_direct_writes_the_payloads_value(value: Any) -> None:
    assert written({"kind": "direct", "key": "a"}, {"a": value}) == {"F": value}


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "direct", "key": "a.b"},
        {"kind": "date", "key": "a.b"},
        {"kind": "value_map", "key": "a.b", "values": {}, "fallback": "x"},
    ],
)
def test_a_missing_key_writes_nothing_and_null_clears_the_field(row: dict[str, Any]) -> None:
    assert written(row, {}) == NOTHING
    assert written(row, {"a": {}}) == NOTHING
    assert written(row, {"a": None}) == NOTHING
    assert written(row, {"a": {"b": None}}) == {"F": None}


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (RemoteType.DATE, "2022-05-17"),
        (RemoteType.DATETIME, "2022-05-17T21:17:53Z"),
        (RemoteType.STRING, "2022-05-17T23:17:53+02:00"),
    ],
)
def test_date_writes_what_the_remote_fields_type_wants(type: RemoteType, value: str) -> None:  # noqa: A002
    payload = {"at": "2022-05-17T23:17:53+02:00"}

    assert written({"kind": "date", "key": "at"}, payload, type=type) == {"F": value}


@pytest.mark.parametrize("value", ["Ours", True, 0, None, ["New"]])
def test_static_writes_its_value_whatever_the_payload_says(value: Any) -> None:
    assert written({"kind": "static", "value": value}, {"F": "theirs"}) == {"F": value}


def test_empty_writes_nothing_though_it_has_a_key_and_a_value() -> None:
    row = {"kind": "empty", "key": "a", "value": "x", "template": "{a}"}

    assert written(row, {"a": 1}, creating=True) == NOTHING


@pytest.mark.parametrize(
    ("payload", "value"),
    [({}, "x"), ({"a": None}, "x"), ({"a": ""}, ""), ({"a": 0}, 0), ({"a": False}, False)],
)
def test_default_stands_in_where_the_payload_has_no_value(
    payload: dict[str, Any], value: Any
) -> None:
    assert written({"kind": "default", "key": "a", "value": "x"}, payload) == {"F": value}


@pytest.mark.parametrize(
    ("value", "mapped"),
    [
        ("signed", "Closed Won"),
        ("draft", None),
        (True, "yes"),
        (False, "no"),
        (1, "one"),
        (1.0, "one"),
        (-0.0, "none"),
        (2.5, "half"),
        (0.00001, "tiny"),
        ("unknown", "other"),
        ("True", "other"),
        (7, "other"),
        (["signed"], ["signed"]),
        ({"signed": 1}, {"signed": 1}),
    ],
)
def test_a_value_map_finds_texts_booleans_and_numbers_or_falls_back(
    value: Any, mapped: Any
) -> None:
    values = {
        "signed": "Closed Won",
        "draft": None,
        "true": "yes",
        "false": "no",
        "1": "one",
        "0": "none",
        "2.5": "half",
        "0.00001": "tiny",
    }
    row = {"kind": "value_map", "key": "a", "values": values, "fallback": "other"}

    assert written(row, {"a": value}) == {"F": mapped}


@pytest.mark.parametrize("value", ["unknown", 7, True])
def test_a_value_map_without_fallback_leaves_the_value_as_it_is(value: Any) -> None:
    assert written({"kind": "value_map", "key": "a", "values": {}}, {"a": value}) == {"F": value}


def test_a_fallback_of_null_clears_the_field() -> None:
    row = {"kind": "value_map", "key": "a", "values": {}, "fallback": None}

    assert written(row, {"a": "unknown"}) == {"F": None}


# -- templates -------------------------------------------------------------------------------------

PAYLOAD = {
    "name": "Lease",
    "amount": 12.0,
    "rate": 0.00005,
    "signed": True,
    "owner": {"email": "ada@example.com", "phone": None},
    "tags": ["new", 2, None],
    "nothing": None,
    "sneaky": "{owner.email} {{x}} %s",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Contract {name} ({owner.email})", "Contract Lease (ada@example.com)"),
        ("{name}{name}", "LeaseLease"),
        ("{ name }", "Lease"),
        ("{amount} at {rate}: {signed}", "12 at 0.00005: true"),
        ("Tags: {tags}", "Tags: new, 2, "),
        ("{name} {missing}{owner.phone}{owner.missing}", "Lease "),
        ("no placeholder", "no placeholder"),
        ("{{name}} {{{name}}}", "{name} {Lease}"),
        ("{sneaky}", "{owner.email} {{x}} %s"),
        ("{name} {__class__}{name.__init__}{owner.__class__.__mro__}", "Lease "),
        ("{name} %(amount)s ${amount} $amount", "Lease %(amount)s $12 $amount"),
    ],
)
def test_a_template_is_its_text_with_payload_values(template: str, text: str) -> None:
    assert written({"kind": "template", "template": template}, PAYLOAD) == {"F": text}


@pytest.mark.parametrize("template", ["{missing}", "A {nothing} {owner.phone}", "{__class__}"])
def test_a_template_none_of_whose_keys_has_a_value_writes_nothing(template: str) -> None:
    assert written({"kind": "template", "template": template}, PAYLOAD) == NOTHING


def test_a_payload_key_may_look_like_an_attribute_of_python() -> None:
    row = {"kind": "template", "template": "{__class__} {a.__init__}"}

    assert written(row, {"__class__": "1st", "a": {"__init__": 5}}) == {"F": "1st 5"}


_values = st.dictionaries(strategies.keys, st.text(max_size=8) | st.integers() | st.none())


@given(_values, st.lists(st.tuples(st.text(max_size=5), strategies.keys)), st.data())
def test_a_template_has_nothing_but_its_text_and_payload_values(
    payload: dict[str, Any], parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    if payload:
        parts = [(t, data.draw(st.sampled_from([k, *payload]))) for t, k in parts]
    template = "end" + "".join(
        f"{text.replace('{', '{{').replace('}', '}}')}{{{key}}}" for text, key in parts
    )
    found = [payload.get(key) for _, key in parts]
    expected = "end" + "".join(
        f"{text}{'' if value is None else value}"
        for (text, _), value in zip(parts, found, strict=True)
    )
    is_silent = bool(parts) and all(value is None for value in found)

    assert written({"kind": "template", "template": template}, payload) == (
        NOTHING if is_silent else {"F": expected}
    )


# -- when a field is written -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["always", "when_empty", "on_create"])
def test_a_create_writes_in_every_mode(mode: str) -> None:
    row = {"kind": "direct", "key": "a", "mode": mode}

    assert written(row, {"a": 1}, creating=True) == {"F": 1}


@pytest.mark.parametrize(("mode", "writes"), [("always", True), ("on_create", False)])
def test_an_update_leaves_alone_what_is_for_creates(mode: str, writes: bool) -> None:
    row = {"kind": "static", "value": 1, "mode": mode}

    assert written(row, {}, current={}) == ({"F": 1} if writes else NOTHING)


@pytest.mark.parametrize("current", [{}, {"F": None}, {"F": ""}, {"F": []}])
def test_when_empty_writes_where_the_crm_has_nothing(current: dict[str, Any]) -> None:
    row = {"kind": "static", "value": 1, "mode": "when_empty"}

    assert written(row, {}, current=current) == {"F": 1}


@pytest.mark.parametrize("value", ["theirs", 0, False, ["New"]])
def test_when_empty_leaves_what_the_crm_has(value: Any) -> None:
    row = {"kind": "static", "value": 1, "mode": "when_empty"}

    assert written(row, {}, current={"F": value}) == NOTHING


def test_only_fields_written_when_empty_have_to_be_known_before() -> None:
    modes = ["always", "when_empty", "on_create", "when_empty"]
    rows = [
        {"field": f"F{n}", "kind": "static", "value": 1, "mode": mode}
        for n, mode in enumerate(modes)
    ]

    assert needs_current(action(*rows)) == ("F1", "F3")


def test_values_are_converted_for_their_fields_and_left_alone_for_unknown_ones() -> None:
    rows = [{"field": name, "kind": "direct", "key": "at"} for name in ("Day", "Gone")]
    fields = {"Day": RemoteField("Day", "Day", RemoteType.DATE)}
    payload = {"at": "2022-05-17T10:00:00Z"}

    assert resolve(action(*rows), payload, fields=fields, creating=True, current=None) == {
        "Day": "2022-05-17",
        "Gone": "2022-05-17T10:00:00Z",
    }


def test_a_workflow_has_inputs_in_every_mode() -> None:
    rows = [
        {"field": mode, "kind": "static", "value": 1, "mode": mode}
        for mode in ("always", "when_empty", "on_create")
    ]
    handed_over = parse_action({"action": "workflow", "workflow": "W", "transformations": rows})

    assert resolve(handed_over, {}, fields={}, creating=True, current=None) == {
        "always": 1,
        "when_empty": 1,
        "on_create": 1,
    }


def test_sources_name_the_payload_key_of_each_field_that_has_one() -> None:
    rows = [
        {"field": "A", "kind": "direct", "key": "a"},
        {"field": "B", "kind": "date", "key": "a.b"},
        {"field": "C", "kind": "default", "key": "c", "value": 1},
        {"field": "D", "kind": "value_map", "key": "d", "values": {}},
        {"field": "E", "kind": "static", "value": 1, "key": "e"},
        {"field": "F", "kind": "template", "template": "{f}"},
        {"field": "G", "kind": "empty"},
    ]

    assert sources(action(*rows)) == {
        "A": "payload.a",
        "B": "payload.a.b",
        "C": "payload.c",
        "D": "payload.d",
    }


# -- searches --------------------------------------------------------------------------------------


def test_transformations_are_the_conditions_of_a_search() -> None:
    rows = [
        {"field": "Name", "kind": "direct", "key": "name", "operator": "contains"},
        {"field": "Name", "kind": "template", "template": "{name}!", "operator": "contains"},
        {"field": "Stage", "kind": "static", "value": "Open"},
    ]

    assert criteria(action(*rows, does="search"), {"name": "Lease"}) == [
        Criterion("Name", Operator.CONTAINS, "Lease"),
        Criterion("Name", Operator.CONTAINS, "Lease!"),
        Criterion("Stage", Operator.EQUALS, "Open"),
    ]


@pytest.mark.parametrize("payload", [{}, {"name": None}])
def test_a_key_that_is_missing_or_null_makes_no_condition(payload: dict[str, Any]) -> None:
    rows = [
        {"field": "Name", "kind": "direct", "key": "name"},
        {"field": "Label", "kind": "template", "template": "{name}"},
        {"field": "Stage", "kind": "empty"},
    ]

    assert criteria(action(*rows, does="search"), payload) == []


@pytest.mark.parametrize("mode", ["always", "when_empty", "on_create"])
def test_a_search_writes_nothing_so_its_modes_say_nothing(mode: str) -> None:
    row = {"field": "Name", "kind": "direct", "key": "name", "mode": mode}

    [criterion] = criteria(action(row, does="search"), {"name": "Lease"})
    assert criterion.value == "Lease"


def test_a_search_compares_equals_in_the_fields_type_and_contains_by_the_text() -> None:
    fields = {"Day": RemoteField("Day", "Day", RemoteType.DATE)}
    rows = [
        {"field": "Day", "kind": "date", "key": "at", "operator": operator}
        for operator in ("equals", "contains")
    ]
    search = action(*rows, does="search")

    found = criteria(search, {"at": "2022-05-17T10:00:00Z"}, fields=fields)
    assert [criterion.value for criterion in found] == ["2022-05-17", "2022-05-17T10:00:00Z"]


# -- reading back ----------------------------------------------------------------------------------

OBJECT_MAP = parse_object_map(
    {
        "remote_object": "Opportunity",
        "fields": {
            "name": "Name",
            "amount": "Amount",
            "close": "CloseDate",
            "at": "ChangedAt",
            "probability": "Probability",
            "tags": {"City": "City__c", "Zip": "Zip__c"},
            "address": "Address",
        },
    }
)


def read(key: str, description: dict[str, Any], values: dict[str, Any]) -> Any:
    return read_back(OBJECT_MAP, {key: description}, values)[key]


@pytest.mark.parametrize(
    ("key", "description", "values", "value"),
    [
        ("name", {"type": "string"}, {"Name": "Lease", "Amount": 5}, "Lease"),
        ("name", {"type": "string"}, {"Name": ""}, None),
        ("name", {"type": "string"}, {"Name": None}, None),
        ("name", {"type": "string"}, {}, None),
        ("unmapped", {"type": "string"}, {"unmapped": "x"}, None),
        ("amount", {"type": "number"}, {"Amount": 0}, 0),
        ("close", {"type": "string", "format": "date"}, {"CloseDate": "2022-05-17"}, "2022-05-17"),
        (
            "close",
            {"type": "string", "format": "date"},
            {"CloseDate": "2022-05-17T23:30:00-02:00"},
            "2022-05-18",
        ),
        (
            "at",
            {"type": "string", "format": "datetime"},
            {"ChangedAt": "2022-05-17T12:00:00+02:00"},
            "2022-05-17T10:00:00Z",
        ),
        (
            "at",
            {"type": "string", "format": "datetime"},
            {"ChangedAt": "2022-05-17"},
            "2022-05-17T00:00:00Z",
        ),
        ("probability", {"type": "string"}, {"Probability": 50.0}, "50"),
        ("probability", {"type": "string"}, {"Probability": False}, "false"),
        ("probability", {"type": "integer"}, {"Probability": 50}, 50),
        ("tags", {"type": "object"}, {"City__c": "Rome", "Zip__c": ""}, {"City": "Rome"}),
        ("tags", {"type": "object"}, {"City__c": 0, "Zip__c": False}, {"City": 0, "Zip": False}),
        ("tags", {"type": "object"}, {}, {}),
        ("address", {"type": "object"}, {"Address": "Rome"}, {"Address": "Rome"}),
        ("unmapped", {"type": "object"}, {"unmapped": "x"}, {}),
        ("tags", {"type": "string"}, {"City__c": "Rome"}, None),
    ],
)
def test_a_field_is_read_back_as_its_description_says(
    key: str, description: dict[str, Any], values: dict[str, Any], value: Any
) -> None:
    found = read(key, description, values)

    assert found == value
    assert type(found) is type(value)


def test_remote_fields_are_those_that_feed_a_field_each_once() -> None:
    fields = {"a": "Name", "b": "Name", "c": {"x": "City", "y": "Name"}, "d": ""}

    assert remote_fields(parse_object_map({"fields": fields})) == ("Name", "City")


@given(strategies.schemas(), st.dictionaries(strategies.texts, strategies.any_json))
def test_every_field_of_the_crm_object_is_read_and_no_other(
    fields: dict[str, Any], values: dict[str, Any]
) -> None:
    object_map = parse_object_map({"fields": {**{key: key for key in fields}, "gone": "gone"}})

    assert read_back(object_map, fields, values).keys() == fields.keys()
