"""Pipedrive: what is written as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.providers.pipedrive.conftest import BUDGET, make
from xkit_crm.exceptions import (
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of


def test_another_first_email_leaves_the_others(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "persons", name="Ada", emails="ada@example.com")
    held = crm.records["persons"][ref.crm_id]
    held["emails"][0]["label"] = "home"
    held["emails"].append({"value": "a@example.org", "primary": False, "label": "work"})
    provider.update(ref, {"emails": "countess@example.com"})
    assert held["emails"] == [
        {"value": "countess@example.com", "primary": True, "label": "home"},
        {"value": "a@example.org", "primary": False, "label": "work"},
    ]


def test_an_email_that_is_there_already_becomes_the_first_one(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "persons", name="Ada", emails="ada@example.com")
    held = crm.records["persons"][ref.crm_id]
    held["emails"].append({"value": "a@example.org", "primary": False, "label": "home"})
    provider.update(ref, {"emails": "a@example.org"})
    assert held["emails"] == [
        {"value": "a@example.org", "primary": True, "label": "home"},
    ]


def test_an_amount_keeps_its_currency(provider: PipedriveProvider) -> None:
    ref = make(provider, "persons", name="Ada", **{BUDGET: 5, f"{BUDGET}.currency": "CHF"})
    provider.update(ref, {BUDGET: 6})
    values = provider.get(ref, [BUDGET, f"{BUDGET}.currency"]).values
    assert values == {BUDGET: 6, f"{BUDGET}.currency": "CHF"}
    provider.update(ref, {f"{BUDGET}.currency": "EUR"})
    values = provider.get(ref, [BUDGET, f"{BUDGET}.currency"]).values
    assert values == {BUDGET: 6, f"{BUDGET}.currency": "EUR"}
    provider.update(ref, {BUDGET: None})
    values = provider.get(ref, [BUDGET, f"{BUDGET}.currency"]).values
    assert values == {BUDGET: None, f"{BUDGET}.currency": None}


def test_a_new_address_keeps_no_part_of_the_old_one(provider: PipedriveProvider) -> None:
    where = {"address": "Piazza Venezia 1, Rome", "address.locality": "Rome"}
    ref = make(provider, "organizations", name="Acme", **where)
    names = ["address", "address.locality", "address.country"]
    provider.update(ref, {"address.country": "Italy"})
    values = provider.get(ref, names).values
    assert values == {**where, "address.country": "Italy"}
    provider.update(ref, {"address": "Unter den Linden 1, Berlin"})
    values = provider.get(ref, names).values
    assert values == {
        "address": "Unter den Linden 1, Berlin",
        "address.locality": None,
        "address.country": None,
    }


def test_a_price_leaves_those_in_other_currencies(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "products", name="Pencil", prices=5, **{"prices.currency": "EUR"})
    held = crm.records["products"][ref.crm_id]
    held["prices"][0]["cost"] = 2
    held["prices"].append({"product_id": 1, "price": 7, "currency": "USD", "notes": ""})
    provider.update(ref, {"prices": 6})
    assert [{k: v for k, v in one.items() if k != "product_id"} for one in held["prices"]] == [
        {"price": 6, "currency": "EUR", "cost": 2},
        {"price": 7, "currency": "USD"},
    ]
    assert provider.get(ref, ["prices", "prices.currency"]).values == {
        "prices": 6,
        "prices.currency": "EUR",
    }


def test_the_person_of_an_activity_takes_part_in_it(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "activities", subject="Call", person_id="12")
    held = crm.records["activities"][ref.crm_id]
    held["participants"].append({"person_id": 13, "primary": False})
    provider.update(ref, {"person_id": "14"})
    assert held["participants"] == [
        {"person_id": 14, "primary": True},
        {"person_id": 13, "primary": False},
    ]
    assert provider.get(ref, ["person_id"]).values == {"person_id": "14"}


@pytest.mark.parametrize(
    ("remote_object", "values", "changes"),
    [
        (
            "organizations",
            {"name": "Acme", "website": "https://acme.example", "address": "Rome"},
            {"website": None, "address": None},
        ),
        (
            "products",
            {"name": "Pencil", "code": "P1", "tax": 20, "is_linkable": False, "category": "51"},
            {"code": None, "description": "Of wood", "category": "52"},
        ),
        (
            "activities",
            {
                "subject": "Call",
                "type": "call",
                "due_date": "2026-11-02",
                "due_time": "09:30:00",
                "done": False,
                "priority": "264",
                "lead_id": "adf21080-0e10-11eb-879b-05d71fb426ec",
                "location": "Rome",
            },
            {"done": True, "note": None, "due_date": None, "location": None},
        ),
        (
            "notes",
            {"content": "<p>Hello</p>", "deal_id": "5", "pinned_to_deal_flag": True},
            {"content": "<p>Bye</p>", "pinned_to_deal_flag": False},
        ),
    ],
)
def test_other_objects_are_written_and_read_back(
    provider: PipedriveProvider,
    remote_object: str,
    values: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> None:
    ref = make(provider, remote_object, **values)
    assert provider.get(ref, list(values)).values == values
    provider.update(ref, changes)
    expected = {**values, **changes}
    held = provider.get(ref, list(expected)).values
    assert {name: held[name] or None for name in changes} == {
        name: value or None for name, value in changes.items()
    }
    provider.delete(ref)
    with pytest.raises(RemoteRecordNotFound):
        provider.get(ref, list(values))


def test_the_times_of_v1_are_told_in_utc(provider: PipedriveProvider, crm: PipedriveFake) -> None:
    crm.records["notes"]["1"] = {"id": 1, "add_time": "2019-12-09 13:59:21"}
    values = provider.get(RecordRef("notes", "1"), ["add_time"]).values
    assert values == {"add_time": "2019-12-09T13:59:21Z"}


def test_fractions_of_seconds_are_not_written(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "deals", title="A", status="won", won_time="2026-11-02T08:15:30.250Z")
    assert crm.records["deals"][ref.crm_id]["won_time"] == "2026-11-02T08:15:30Z"


def test_more_custom_fields_than_can_be_named_are_read_all_the_same(
    provider: PipedriveProvider,
) -> None:
    ref = make(provider, "persons", name="Ada", **{code_of("Shoe size"): 38})
    names = [code_of("Shoe size"), *(code_of(str(n)) for n in range(15))]
    assert provider.get(ref, names).values[code_of("Shoe size")] == 38
