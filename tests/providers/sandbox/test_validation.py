"""What the sandbox CRM accepts, and what it says about the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.providers.sandbox.conftest import ref_of, refusal
from xkit_crm.providers.base import RemoteType
from xkit_crm.providers.sandbox.models import Field, Org, Record
from xkit_crm.providers.sandbox.records import create_record, delete_record, update_record
from xkit_crm.providers.sandbox.standard import add_field, add_object, ensure_org

pytestmark = pytest.mark.django_db
T = RemoteType


@pytest.fixture
def thing(org: Org) -> Org:
    """The organisation with an object `Thing`, which has a field of each type, called like it."""
    attributes: dict[RemoteType, dict[str, Any]] = {
        T.STRING: {"max_length": 10},
        T.PICKLIST: {"choices": ["Red", "Dark blue"]},
        T.MULTIPICKLIST: {"choices": ["Red", "Dark blue"]},
        T.REFERENCE: {"references": ["Account", "Contact"]},
    }
    fields = [
        {"name": kind.title(), "type": kind, **attributes.get(kind, {})} for kind in RemoteType
    ]
    add_object(org, "Thing", fields=fields)
    create_record(org, "Account", {"Name": "Acme"})
    return org


GOOD: dict[RemoteType, list[Any]] = {
    T.STRING: ["ten chars.", "Ünïcödé 🎉"],
    T.TEXT: ["x" * 100_000, "two\nlines"],
    T.INTEGER: [0, -5, 5.0, 10**18 - 1],
    T.NUMBER: [0.1, -3, 1e17],
    T.BOOLEAN: [True, False],
    T.DATE: ["2024-02-29"],
    T.DATETIME: ["2026-01-31T09:30:00Z", "2026-01-31T09:30:00.123456+02:00"],
    T.EMAIL: ["road.runner+beep@acme.example"],
    T.URL: ["https://acme.example/a?b=c#d"],
    T.PHONE: ["+49 (0)89 / 123-456.7"],
    T.PICKLIST: ["Dark blue"],
    T.MULTIPICKLIST: [["Dark blue", "Red"]],
    T.REFERENCE: ["Account:00001"],
}
NAN, INFINITE = float("nan"), float("inf")
BAD: list[tuple[RemoteType, str, list[Any]]] = [
    (T.STRING, "data value too large: 11 characters, at most 10", ["eleven char"]),
    (T.STRING, "text is expected", [5, True, ["a"], [], {}]),
    (T.STRING, "characters that can't be stored", ["a\0b", "\ud800"]),
    (T.TEXT, "data value too large", ["x" * 100_001]),
    (T.INTEGER, "is not a number", ["5", "x" * 100_000, True, False, [5]]),
    (T.INTEGER, "5.5 is not a whole number", [5.5]),
    (T.INTEGER, "out of range", [NAN, INFINITE, 10**18, -(10**400)]),
    (T.NUMBER, "is not a number", ["1,5", True, Decimal("1.5"), [1]]),
    (T.NUMBER, "out of range", [NAN, -INFINITE, 1e300, 10**400]),
    (T.BOOLEAN, "is neither true nor false", [1, 0, "true"]),
    (T.DATE, "is not a date such as 2026-01-31", ["31.01.2026", "2026-02-29", "20260131"]),
    (T.DATE, "is not a date such as 2026-01-31", ["2026-W05-6", "2026-01-31T09:30:00Z"]),
    (T.DATE, "text is expected", [20260131]),
    (T.DATETIME, "is not a date and time", ["2026-01-31", "2026-01-31T09:30:00"]),
    (T.DATETIME, "is not a date and time", ["2026-01-31T25:00:00Z", "now"]),
    (T.DATETIME, "text is expected", [1769848200]),
    (T.EMAIL, "is not an email address", ["acme.example", "a@b@c"]),
    (T.URL, "is not a web address", ["acme.example", "ftp://acme.example", "javascript:alert(1)"]),
    (T.URL, "data value too large", ["https://acme.example/" + "x" * 300]),
    (T.PHONE, "is not a phone number", ["call me", "12"]),
    (T.PHONE, "text is expected", [4989123456]),
    (T.PICKLIST, "is not one of Red, Dark blue", ["Green", "red"]),
    (T.PICKLIST, "text is expected", [["Red"]]),
    (T.MULTIPICKLIST, "a list of values is expected", ["Red", {"Red": True}]),
    (T.MULTIPICKLIST, "is not one of Red, Dark blue", [["Red", "Green"], [None], [["Red"]]]),
    (T.REFERENCE, "there is no record Account:00099", ["Account:00099"]),
    (T.REFERENCE, "is not a record id", ["Account:" + "9" * 30, "Account:", "Account:abc"]),
    (T.REFERENCE, "is not a record id", ["00001", ":00001"]),
    (T.REFERENCE, "text is expected", [1]),
]


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, good in GOOD.items() for v in good])
def test_a_good_value_is_kept_as_it_is(thing: Org, kind: RemoteType, value: Any) -> None:
    record = create_record(thing, "Thing", {kind.title(): value})
    kept = Record.objects.get(pk=record.pk).values[kind.title()]
    assert kept == value
    # Databases make one number of 1.0 and 1, but true is none.
    assert isinstance(kept, bool) is isinstance(value, bool)


@pytest.mark.parametrize(
    ("kind", "words", "value"), [(k, words, v) for k, words, bad in BAD for v in bad]
)
def test_a_bad_value_is_refused_by_the_fields_label_with_a_reason(
    thing: Org, kind: RemoteType, words: str, value: Any
) -> None:
    name = kind.title()
    Field.objects.filter(object__name="Thing", name=name).update(label="Our label")
    (told,) = refusal(thing, "Thing", {name: value}).items()
    assert told[0] == name
    assert told[1].startswith("Our label: ")
    assert words in told[1]
    assert len(told[1]) < 300


def test_text_has_a_limit_even_where_nobody_set_one(org: Org) -> None:
    add_field(org, "Account", "Motto")
    create_record(org, "Account", {"Name": "a", "Motto": "x" * 255})
    assert "at most 255" in refusal(org, "Account", {"Name": "a", "Motto": "x" * 256})["Motto"]


def test_every_problem_is_told_at_once(org: Org) -> None:
    told = refusal(org, "Opportunity", {"Amount": "much", "StageName": "Won", "Nmae": "x"})
    assert told == {
        "Nmae": "Opportunity has no field Nmae.",
        "Name": "Opportunity Name is required.",
        "Amount": "Amount: 'much' is not a number.",
        "StageName": "Stage: 'Won' is not one of Prospecting, Qualification, Proposal, "
        "Negotiation, Closed Won, Closed Lost.",
    }


@pytest.mark.parametrize("name", ["Nmae", "name", "Name__c", "id", "pk", "values", "", "a.b"])
def test_an_unknown_field_is_refused_whatever_it_is_called(
    org: Org, deal: Record, name: str
) -> None:
    told = f"Opportunity has no field {name}."
    assert refusal(org, "Opportunity", {"Name": "x", name: None}) == {name: told}
    assert refusal(org, "Opportunity", {name: "x"}, record=deal) == {name: told}


# -- required, read-only, defaults ----------------------------------------------------------------


@pytest.mark.parametrize("nothing", [{}, {"Name": None}, {"Name": ""}])
def test_a_required_field_must_be_given_to_a_new_record(org: Org, nothing: Any) -> None:
    assert refusal(org, "Account", nothing) == {"Name": "Account Name is required."}


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_required_field_may_be_left_out_of_an_update_and_not_be_cleared(
    org: Org, deal: Record, nothing: Any
) -> None:
    update_record(org, ref_of(deal), {"Amount": 1})
    told = refusal(org, "Opportunity", {"Name": nothing}, record=deal)
    assert told == {"Name": "Opportunity Name is required."}


def test_false_and_zero_are_values(org: Org) -> None:
    add_field(org, "Account", "Active", type=T.BOOLEAN, required=True)
    add_field(org, "Account", "Visits", type=T.INTEGER, required=True)
    made = create_record(org, "Account", {"Name": "a", "Active": False, "Visits": 0})
    assert (made.values["Active"], made.values["Visits"]) == (False, 0)


def test_a_default_does_for_a_required_field_and_null_does_not(org: Org) -> None:
    made = create_record(org, "Opportunity", {"Name": "x"})
    assert made.values["StageName"] == "Prospecting"
    told = refusal(org, "Opportunity", {"Name": "x", "StageName": None})
    assert told == {"StageName": "Stage is required."}


def test_a_default_that_does_not_fit_is_told_as_a_value_would_be(org: Org) -> None:
    add_field(org, "Account", "Tier", type=T.PICKLIST, choices=["Gold"], default="Silver")
    assert "'Silver' is not one of Gold" in refusal(org, "Account", {"Name": "x"})["Tier"]
    create_record(org, "Account", {"Name": "x", "Tier": "Gold"})


@pytest.mark.parametrize("value", ["2026-01-31T00:00:00Z", None, ""])
def test_a_read_only_field_can_not_be_written_not_even_with_nothing(
    org: Org, deal: Record, value: Any
) -> None:
    told = {"CreatedAt": "Created is read-only."}
    assert refusal(org, "Opportunity", {"Name": "x", "CreatedAt": value}) == told
    assert refusal(org, "Opportunity", {"CreatedAt": value}, record=deal) == told


def test_a_read_only_field_has_its_default_and_may_be_required(org: Org) -> None:
    add_field(org, "Account", "Origin", default="API", read_only=True, required=True)
    account = create_record(org, "Account", {"Name": "a"})
    assert account.values["Origin"] == "API"
    told = refusal(org, "Account", {"Name": "a", "Origin": "API"})
    assert told == {"Origin": "Origin is read-only."}
    update_record(org, ref_of(account), {"Name": "b"})


# -- what only other records can tell -------------------------------------------------------------


def test_an_external_id_is_unique_among_the_records_that_are_there(org: Org) -> None:
    first = create_record(org, "Account", {"Name": "a", "ExternalId": "42"})
    second = create_record(org, "Account", {"Name": "b", "ExternalId": "43"})
    told = {"ExternalId": "External ID: duplicate value '42': Account:00001 has it."}
    assert refusal(org, "Account", {"Name": "c", "ExternalId": "42"}) == told
    assert refusal(org, "Account", {"ExternalId": "42"}, record=second) == told
    update_record(org, ref_of(first), {"ExternalId": "42", "Name": "its own"})


def test_an_external_id_is_free_again_once_it_is_deleted_cleared_or_changed(org: Org) -> None:
    first = create_record(org, "Account", {"Name": "a", "ExternalId": "42"})
    delete_record(org, ref_of(first))
    second = create_record(org, "Account", {"Name": "b", "ExternalId": "42"})
    update_record(org, ref_of(second), {"ExternalId": None})
    third = create_record(org, "Account", {"Name": "c", "ExternalId": "42"})
    update_record(org, ref_of(third), {"ExternalId": "43"})
    create_record(org, "Account", {"Name": "d", "ExternalId": "42"})


def test_no_external_id_is_not_a_duplicate_of_none(org: Org) -> None:
    for nothing in ({}, {"ExternalId": None}, {"ExternalId": ""}):
        create_record(org, "Account", {"Name": "a", **nothing})
        create_record(org, "Account", {"Name": "b", **nothing})


def test_an_external_id_is_its_objects_and_its_organisations_own(org: Org) -> None:
    values = {"Name": "a", "ExternalId": "42"}
    create_record(org, "Account", values)
    create_record(org, "Opportunity", values)
    create_record(ensure_org("globex"), "Account", values)


@pytest.mark.parametrize("value", ["Abc", "abc ", "%", "a_c", "null", '"', "\\"])
def test_only_the_very_same_external_id_is_a_duplicate(org: Org, value: str) -> None:
    create_record(org, "Account", {"Name": "a", "ExternalId": "abc"})
    create_record(org, "Account", {"Name": "b", "ExternalId": value})
    assert "ExternalId" in refusal(org, "Account", {"Name": "c", "ExternalId": value})


def test_a_reference_needs_a_record_that_is_there(org: Org, deal: Record) -> None:
    account = create_record(org, "Account", {"Name": "Acme"})
    update_record(org, ref_of(deal), {"AccountId": account.record_id})
    delete_record(org, ref_of(account))
    told = refusal(org, "Opportunity", {"AccountId": account.record_id}, record=deal)
    assert told == {"AccountId": "Account: there is no record Account:00001."}
    update_record(org, ref_of(deal), {"Amount": 1})


def test_a_reference_may_only_point_where_it_is_meant_to(org: Org, deal: Record) -> None:
    contact = create_record(org, "Contact", {"LastName": "Coyote"})
    told = refusal(org, "Task", {"Subject": "Call", "WhoId": deal.record_id})
    assert told == {"WhoId": "Person: Opportunity:00001 is no Contact or Lead."}
    create_record(org, "Task", {"Subject": "Call", "WhoId": contact.record_id})
    add_field(org, "Task", "AnyId", type=T.REFERENCE)
    create_record(org, "Task", {"Subject": "Call", "AnyId": deal.record_id})


def test_a_reference_can_not_reach_into_another_organisation(org: Org) -> None:
    create_record(ensure_org("globex"), "Account", {"Name": "Theirs"})
    told = refusal(org, "Contact", {"LastName": "x", "AccountId": "Account:00001"})
    assert told == {"AccountId": "Account: there is no record Account:00001."}
