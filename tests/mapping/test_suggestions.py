"""The mapping to start with, from labels, names and aliases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.completeness import missing
from xkit_crm.mapping.suggestions import Proposal, likeness, propose, words
from xkit_crm.mapping.transformations import check_action, parse_action, parse_object_map
from xkit_crm.providers.base import Choice, RemoteField, RemoteObject, RemoteType

T = RemoteType
TEXT = {"type": "string"}
NAME = RemoteField("Name", "Opportunity Name", T.STRING, required=True)


def remote(name: str, kind: T = T.STRING, label: str = "", **flags: Any) -> RemoteField:
    return RemoteField(name, label or name, kind, **flags)


def picklist(name: str, *values: str, **flags: Any) -> RemoteField:
    choices = tuple(Choice(value, value.title()) for value in values)
    return remote(name, T.PICKLIST, choices=choices, **flags)


def chosen(slug: str, *objects: str) -> str | None:
    """Which of the CRM's objects is proposed for a CRM object."""
    describe = [(RemoteObject(name, name), []) for name in objects]
    proposal = propose(slug, slug, {}, {}, describe)
    return proposal.object_map["remote_object"] if proposal else None


def proposed(
    *fields: RemoteField,
    reads: dict[str, Any] | None = None,
    payload: dict[str, Any] | None = None,
    event: str = "create",
) -> Proposal:
    """The mapping of an opportunity whose one event is `it`."""
    events = {"it": {"type": event, "payloadSchema": payload or {}}}
    describe = [(RemoteObject("Opportunity", "Opportunity"), fields)]
    proposal = propose("opportunity", "Opportunity", reads or {}, events, describe)
    assert proposal is not None
    return proposal


def fed(
    *fields: RemoteField, payload: dict[str, Any], event: str = "update"
) -> dict[str, list[Any]]:
    """Kind and key of what is proposed for each remote field."""
    rows = proposed(*fields, payload=payload, event=event).actions["it"]["transformations"]
    return {row["field"]: [row["kind"], row["key"]] for row in rows}


# -- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("opportunity", "Opportunity"),
        ("sales_order", "Sales Order"),
        ("sales-order", "SalesOrder"),
        ("account", "Company"),
        ("company", "Account"),
        ("organisation", "Account"),
        ("customer", "Contact"),
        ("contact", "Person"),
        ("prospect", "Lead"),
        ("deal", "Opportunity"),
        ("opportunity", "deal"),
        ("event", "Meeting"),
        ("meeting", "Event"),
        ("todo", "Task"),
        ("projekt_größe", "Projekt Größe"),
        ("見積", "見積"),
    ],
)
def test_an_object_is_found_by_its_name_or_an_alias(slug: str, name: str) -> None:
    assert chosen(slug, "Unrelated", name, "Another") == name


@pytest.mark.parametrize("slug", ["invoice", "opportunity", "größe", "見積"])
def test_no_mapping_is_proposed_where_no_object_is_alike(slug: str) -> None:
    assert chosen(slug, "Campaign", "Produkt", "顧客", "---") is None
    assert chosen(slug) is None


@pytest.mark.parametrize("objects", [("Contact", "Customer"), ("Customer", "Contact")])
def test_the_same_name_is_preferred_to_an_alias(objects: Sequence[str]) -> None:
    assert chosen("customer", *objects) == "Customer"
    assert chosen("contact", *objects) == "Contact"


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("close_date", "CloseDate"),
        ("closeDate", "Close Date"),
        ("title", "Name"),
        ("opportunity_name", "Name"),
        ("name", "OpportunityName"),
        ("total", "Amount"),
        ("status", "StageName"),
        ("notes", "Description"),
        ("mobile", "Phone"),
        ("homepage", "Website"),
        ("straße", "Straße"),
    ],
)
def test_a_field_is_found_by_its_name_or_an_alias(key: str, name: str) -> None:
    assert fed(remote("Other"), remote(name), payload={key: TEXT}) == {name: ["direct", key]}


def test_a_label_says_it_where_the_name_does_not() -> None:
    field = remote("x_17", label="Renewal Note")

    assert fed(field, payload={"k": {**TEXT, "label": "Renewal note"}}) == {"x_17": ["direct", "k"]}


@pytest.mark.parametrize("names", [("LastName", "Title"), ("Title", "LastName")])
def test_a_field_of_the_same_name_is_preferred_to_an_alias(names: Sequence[str]) -> None:
    assert fed(*map(remote, names), payload={"title": TEXT}) == {"Title": ["direct", "title"]}


def test_a_field_is_fed_once_by_the_likest_key() -> None:
    payload = {"topic": TEXT, "name": TEXT}

    assert fed(remote("Name"), payload=payload) == {"Name": ["direct", "name"]}


@pytest.mark.parametrize(
    ("description", "kind", "row"),
    [
        ({"type": "string"}, T.TEXT, "direct"),
        ({"type": "string", "format": "email"}, T.EMAIL, "direct"),
        ({"type": "string", "format": "uri"}, T.URL, "direct"),
        ({"type": "string", "format": "date"}, T.DATE, "date"),
        ({"type": "string", "format": "date"}, T.DATETIME, "date"),
        ({"type": "string", "format": "datetime"}, T.DATE, "date"),
        ({"type": "integer"}, T.NUMBER, "direct"),
        ({"type": "boolean"}, T.BOOLEAN, "direct"),
        ({"type": "array"}, T.MULTIPICKLIST, "direct"),
        ({"type": "string"}, T.DATE, None),
        ({"type": "string"}, T.NUMBER, None),
        ({"type": "string"}, T.PICKLIST, None),
        ({"type": "string"}, T.REFERENCE, None),
        ({"type": "string", "format": "email"}, T.DATE, None),
        ({"type": "number"}, T.INTEGER, None),
        ({"type": "boolean"}, T.STRING, None),
        ({"type": "object"}, T.TEXT, None),
    ],
)
def test_a_field_is_proposed_where_its_type_fits(
    description: dict[str, Any], kind: T, row: str | None
) -> None:
    expected = {"Thing": [row, "thing"]} if row else {}

    assert fed(remote("Thing", kind), payload={"thing": description}) == expected


@pytest.mark.parametrize(("enum", "fits"), [(["open", {"value": "won"}], True), (["draft"], False)])
def test_a_picklist_is_fed_only_by_what_is_in_it(enum: list[Any], fits: bool) -> None:
    rows = fed(picklist("Stage", "open", "won", "lost"), payload={"stage": {**TEXT, "enum": enum}})

    assert rows == ({"Stage": ["direct", "stage"]} if fits else {})


def test_text_is_read_from_a_field_of_any_type_but_lists_and_references() -> None:
    kinds = [T.NUMBER, T.DATE, T.PICKLIST, T.BOOLEAN, T.REFERENCE, T.MULTIPICKLIST]
    fields = [remote(f"x {kind}", kind) for kind in kinds]

    proposal = proposed(*fields, reads={f"x_{kind}": TEXT for kind in kinds})
    assert proposal.object_map["fields"] == {f"x_{kind}": f"x {kind}" for kind in kinds[:4]}


@pytest.mark.parametrize("flag", ["readable", "createable", "updateable", "searchable"])
def test_a_field_is_proposed_only_for_what_the_crm_allows(flag: str) -> None:
    field = remote("Name", **{flag: False})

    allowed = {
        "readable": proposed(field, reads={"name": TEXT}).object_map["fields"] != {},
        "createable": fed(field, payload={"name": TEXT}, event="create") != {},
        "updateable": fed(field, payload={"name": TEXT}, event="update") != {},
        "searchable": fed(field, payload={"name": TEXT}, event="search") != {},
    }
    assert [name for name, is_allowed in allowed.items() if not is_allowed] == [flag]


# -- actions ---------------------------------------------------------------------------------------


def test_a_delete_event_deletes() -> None:
    action = proposed(NAME, payload={"name": TEXT}, event="delete").actions["it"]

    assert action == {"action": "delete", "transformations": []}


def test_a_search_compares_for_equals() -> None:
    [row] = proposed(NAME, payload={"name": TEXT}, event="search").actions["it"]["transformations"]

    assert row == {"field": "Name", "kind": "direct", "key": "name", "operator": "equals"}


@pytest.mark.parametrize(
    ("field", "row"),
    [
        (picklist("Stage", "open", "won"), {"kind": "static", "value": "open"}),
        (remote("DoNotCall", T.BOOLEAN), {"kind": "static", "value": False}),
        (NAME, {"kind": "default", "key": "remark", "value": "Opportunity"}),
        (remote("Notes", T.TEXT), {"kind": "default", "key": "remark", "value": "Opportunity"}),
    ],
)
def test_a_create_gets_something_for_what_the_crm_requires(
    field: RemoteField, row: dict[str, Any]
) -> None:
    required = RemoteField(field.name, field.label, field.type, True, choices=field.choices)
    payload = {"at": {"type": "string", "format": "date"}, "remark": TEXT}

    action = proposed(required, remote("Optional"), payload=payload).actions["it"]
    assert action["transformations"] == [{"field": field.name, **row}]


def test_a_required_text_is_the_objects_label_where_the_payload_has_no_text() -> None:
    [row] = proposed(NAME).actions["it"]["transformations"]

    assert row == {"field": "Name", "kind": "static", "value": "Opportunity"}


@pytest.mark.parametrize("kind", [T.DATE, T.NUMBER, T.REFERENCE, T.EMAIL])
def test_what_nobody_can_guess_is_left_to_the_customer(kind: T) -> None:
    action = proposed(remote("Unlike", kind, required=True), payload={"name": TEXT}).actions["it"]

    assert action["transformations"] == []


# -- for anything ----------------------------------------------------------------------------------

_names = st.sampled_from(["name", "Title", "close date", "StageName", "amount", "Größe", "id"])


@st.composite
def _fields(draw: st.DrawFn) -> list[RemoteField]:
    return [
        RemoteField(
            name,
            draw(_names | strategies.texts),
            draw(st.sampled_from(T)),
            *draw(st.lists(st.booleans(), min_size=5, max_size=5)),
            choices=draw(st.sampled_from([(), (Choice("a", "A"), Choice("b", "B"))])),
        )
        for name in draw(st.lists(_names | strategies.keys, unique=True, max_size=6))
    ]


_payloads = st.dictionaries(
    st.sampled_from(["name", "title", "close_date", "stage", "amount", "grade"]) | strategies.keys,
    strategies.descriptions(depth=2) | st.just({**TEXT, "enum": ["a", {"value": "b"}]}),
    max_size=5,
)


@given(_fields(), _payloads, st.sampled_from(["create", "update", "delete", "search"]))
def test_what_is_proposed_is_sound_and_misses_only_what_nobody_can_guess(
    fields: list[RemoteField], payload: dict[str, Any], event: str
) -> None:
    proposal = proposed(*fields, reads=payload, payload=payload, event=event)
    by_name = {field.name: field for field in fields}
    action = {"remote_object": "Opportunity", **proposal.actions["it"]}

    assert check_action(action) == []
    problems = missing(parse_action(action), event_type=event, fields=by_name)
    assert [p for p in problems if not p.error.endswith(" is required by the CRM")] == []
    read = list(parse_object_map(proposal.object_map).fields.values())
    assert len(read) == len(set(map(str, read)))
    assert all(by_name[str(name)].readable for name in read)


@given(st.text(), st.text())
def test_likeness_is_mutual_and_whole_only_for_the_same_words(one: str, other: str) -> None:
    ours, theirs = words(one), words(other)

    assert 0 <= likeness(ours, theirs) == likeness(theirs, ours) <= 1
    assert (likeness(ours, theirs) == 1) == (ours == theirs != ())
