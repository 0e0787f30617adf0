"""The mapping to start with, from labels, names and aliases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.completeness import missing
from xkit_crm.mapping.suggestions import Proposal, likest, propose
from xkit_crm.mapping.transformations import check_action, parse_action
from xkit_crm.providers.base import Choice, RemoteField, RemoteObject
from xkit_crm.providers.base import RemoteType as T

TEXT = {"type": "string"}
DATE, EMAIL = TEXT | {"format": "date"}, TEXT | {"format": "email"}
STAGES = (Choice("open", "Open"), Choice("won", "Closed Won"), Choice("lost", "Closed Lost"))


def remote(name: str, kind: T = T.STRING, label: str = "", **more: Any) -> RemoteField:
    return RemoteField(name, label or name, kind, **more)


def chosen(slug: str, *names: str) -> str | None:
    """Which of the CRM's objects is proposed for a CRM object."""
    found = likest(slug, slug, [RemoteObject(name, name) for name in names])
    return found.name if found else None


def proposed(
    fields: list[RemoteField], payload: dict[str, Any], *, event: str = "update"
) -> Proposal:
    """The mapping of a deal that reads the payload's keys back, with one event `it`."""
    events = {"it": {"type": event, "payloadSchema": payload}}
    return propose("deal", "Our Deal", payload, events, RemoteObject("Deal", "Deal"), fields)


def rows(fields: list[RemoteField], payload: dict[str, Any], *, event: str = "update") -> Any:
    return proposed(fields, payload, event=event).actions["it"]["transformations"]


def fed(fields: list[RemoteField], payload: dict[str, Any], *, event: str = "update") -> Any:
    """Which payload key feeds each remote field."""
    return {row["field"]: row["key"] for row in rows(fields, payload, event=event)}


# -- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alike",
    [
        ["opportunity", "Opportunity", "deal"],
        ["sales_order", "Sales Order", "SalesOrder"],
        ["account", "Company", "Organisation"],
        ["contact", "Customer", "person"],
        ["lead", "Prospect"],
        ["meeting", "Event", "Appointment"],
        ["task", "Todo"],
        ["projekt_größe", "Projekt Größe"],
        ["見積", "見積"],
    ],
)
def test_an_object_is_found_by_its_name_or_an_alias(alike: list[str]) -> None:
    for slug in alike:
        for name in alike:
            assert chosen(slug, "Unlike", name, "Another") == name


@pytest.mark.parametrize("slug", ["invoice", "opportunity", "größe", "見積", "---"])
def test_no_mapping_is_proposed_where_no_object_is_alike(slug: str) -> None:
    assert chosen(slug, "Campaign", "Produkt", "顧客", "-") is None
    assert chosen(slug) is None


@pytest.mark.parametrize("names", [("Contact", "Customer"), ("Customer", "Contact")])
def test_the_same_name_is_preferred_to_an_alias(names: tuple[str, str]) -> None:
    assert (chosen("customer", *names), chosen("contact", *names)) == ("Customer", "Contact")


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("close_date", "CloseDate"),
        ("closing-date", "Close Date"),
        ("title", "Name"),
        ("name", "DealName"),
        ("status", "Stage"),
        ("notes", "Description"),
        ("mobile", "Phone"),
        ("straße", "Straße"),
        ("amount_of_the_deal", "Amount"),
        ("date_close", "Close Date"),
        ("signer_phone", "Work Phone"),
        ("new", "New"),
    ],
)
def test_a_field_is_found_by_its_name_label_or_an_alias(key: str, name: str) -> None:
    for field in (remote(name), remote("x_17", label=name)):
        assert fed([remote("Other"), field], {key: TEXT}) == {field.name: key}
        assert fed([remote("Other"), field], {"k": {**TEXT, "label": key}}) == {field.name: "k"}
        assert proposed([field], {key: TEXT}).object_map["fields"] == {key: field.name}


def test_a_field_that_shares_only_some_first_word_is_not_proposed() -> None:
    assert fed([remote("Phone Extension"), remote("Signer Note")], {"signer_phone": TEXT}) == {}
    assert fed([remote("Phone Extension")], {"phone": TEXT}) == {}


@pytest.mark.parametrize("names", [("LastName", "Title"), ("Title", "LastName")])
def test_a_field_of_the_same_name_is_preferred_to_an_alias(names: tuple[str, str]) -> None:
    assert fed(list(map(remote, names)), {"title": TEXT}) == {"Title": "title"}


@pytest.mark.parametrize("payload", [{"topic": TEXT, "name": TEXT}, {"name": TEXT, "topic": TEXT}])
def test_a_field_is_fed_once_by_the_likest_key(payload: dict[str, Any]) -> None:
    assert fed([remote("Name")], payload) == {"Name": "name"}


def test_a_key_of_the_fields_own_format_is_preferred() -> None:
    payload = {"his_email": TEXT, "my_email": EMAIL, "your_email": TEXT}

    assert fed([remote("Email", T.EMAIL)], payload) == {"Email": "my_email"}


@pytest.mark.parametrize(
    ("description", "fitting"),
    [
        (TEXT, {T.STRING, T.TEXT, T.EMAIL, T.PHONE, T.URL}),
        (EMAIL, {T.EMAIL}),
        (TEXT | {"format": "uri"}, {T.URL}),
        (DATE, {T.DATE, T.DATETIME}),
        (TEXT | {"format": "datetime"}, {T.DATE, T.DATETIME}),
        (TEXT | {"enum": ["open", {"value": "won"}]}, {T.STRING, T.TEXT, T.PICKLIST}),
        (TEXT | {"enum": ["open", "draft"]}, {T.STRING, T.TEXT}),
        ({"type": "integer"}, {T.INTEGER, T.NUMBER}),
        ({"type": "number"}, {T.NUMBER}),
        ({"type": "boolean"}, {T.BOOLEAN}),
        ({"type": "array"}, {T.MULTIPICKLIST}),
        ({"type": "object"}, set()),
    ],
)
def test_a_field_is_written_where_its_type_fits(
    description: dict[str, Any], fitting: set[T]
) -> None:
    found = {k for k in T if fed([remote("Grade", k, choices=STAGES)], {"grade": description})}

    assert found - ({T.EMAIL, T.PHONE, T.URL} if "enum" in description else set()) == fitting


def test_text_is_read_from_a_field_of_any_type_but_references_and_lists() -> None:
    fits = {k for k in T if proposed([remote("Grade", k)], {"grade": TEXT}).object_map["fields"]}

    assert fits == set(T) - {T.REFERENCE, T.MULTIPICKLIST}


@pytest.mark.parametrize("flag", ["readable", "createable", "updateable", "searchable"])
def test_a_field_is_proposed_only_for_what_the_crm_allows(flag: str) -> None:
    field, payload = remote("Name", **{flag: False}), {"name": TEXT}

    used = {f"{event}able": fed([field], payload, event=event) for event in ("create", "search")}
    used |= {"updateable": fed([field], payload, event="update")}
    used |= {"readable": proposed([field], payload).object_map["fields"]}
    assert [name for name, found in used.items() if not found] == [flag]


# -- actions ---------------------------------------------------------------------------------------


def test_an_event_does_what_its_type_says() -> None:
    name, at = {"field": "Name", "key": "name"}, {"field": "Close Date", "key": "close_date"}
    fields, payload = [remote("Name"), remote("Close Date", T.DATE)], {"name": TEXT}
    written = [name | {"kind": "direct"}, at | {"kind": "date"}]

    for event, expected in {
        "create": written,
        "update": written,
        "delete": [],
        "search": [row | {"operator": "equals"} for row in written],
    }.items():
        action = proposed(fields, payload | {"close_date": DATE}, event=event).actions["it"]
        assert action == {"action": event, "transformations": expected}


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (T.PICKLIST, {"kind": "static", "value": "open"}),
        (T.BOOLEAN, {"kind": "static", "value": False}),
        (T.STRING, {"kind": "default", "key": "k", "value": "Our Deal"}),
        (T.TEXT, {"kind": "default", "key": "k", "value": "Our Deal"}),
        *((kind, None) for kind in (T.DATE, T.NUMBER, T.REFERENCE, T.EMAIL)),
    ],
)
def test_a_create_gets_something_for_what_the_crm_requires_unless_nobody_can_guess(
    kind: T, row: dict[str, Any] | None
) -> None:
    choices = STAGES if kind is T.PICKLIST else ()
    fields = [remote("Unlike", kind, required=True, choices=choices), remote("Optional")]
    payload = {"at": DATE, "k": TEXT, "later": TEXT}

    guessed = [{"field": "Unlike", **row}] if row else []
    assert rows(fields, payload, event="create") == guessed
    assert rows(fields, payload, event="update") == []


def test_a_required_text_is_the_objects_label_where_the_payload_has_no_text() -> None:
    [row] = rows([remote("Name", required=True)], {"at": DATE}, event="create")

    assert row == {"field": "Name", "kind": "static", "value": "Our Deal"}


# -- for anything ----------------------------------------------------------------------------------

_names = st.sampled_from(["name", "Title", "close date", "stage", "amount", "Größe"])
_fields = st.builds(
    RemoteField,
    _names | strategies.keys,
    _names | strategies.texts,
    st.sampled_from(T),
    *[st.booleans()] * 5,
    choices=st.sampled_from([(), STAGES]),
)
_payloads = st.dictionaries(
    st.sampled_from(["name", "title", "close_date", "stage", "amount"]) | strategies.keys,
    strategies.descriptions(depth=2) | st.just(TEXT | {"enum": ["open"]}),
    max_size=5,
)


@given(
    st.lists(_fields, unique_by=lambda field: field.name, max_size=6),
    _payloads,
    st.sampled_from(["create", "update", "delete", "search"]),
)
def test_what_is_proposed_is_sound_and_misses_only_what_nobody_can_guess(
    fields: list[RemoteField], payload: dict[str, Any], event: str
) -> None:
    proposal, known = proposed(fields, payload, event=event), {f.name: f for f in fields}
    action = {"remote_object": "Deal", **proposal.actions["it"]}

    assert check_action(action) == []
    problems = missing(parse_action(action), event_type=event, fields=known)
    assert [p for p in problems if not p.error.endswith(" is required by the CRM")] == []
    reads = list(proposal.object_map["fields"].values())
    assert [known[name].readable for name in reads] == [True] * len(set(reads))
