"""Pipedrive: finding records."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.providers.pipedrive.conftest import contains, equals, ids, make
from xkit_crm.exceptions import (
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.pipedrive import provider as adapter
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of


@pytest.mark.parametrize(
    ("remote_object", "values"),
    [("deals", {"title": "A"}), ("leads", {"title": "A", "person_id": "12"})],
)
def test_what_the_index_does_not_know_yet_is_found_by_its_key(
    provider: PipedriveProvider, crm: PipedriveFake, remote_object: str, values: dict[str, Any]
) -> None:
    crm.index_lags = True
    key = str(uuid4())
    ref = provider.create(remote_object, values, key=key)
    for _ in range(4):
        make(provider, remote_object, **values)
    assert ids(provider.search(remote_object, [equals("title", "A")], [], limit=9)) == []
    assert provider.find_created(remote_object, key=key) == ref
    assert provider.find_created(remote_object, key=str(uuid4())) is None


def test_what_is_not_among_the_newest_is_found_by_the_index(
    provider: PipedriveProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid4())
    ref = provider.create("deals", {"title": "A"}, key=key)
    for _ in range(4):
        make(provider, "deals", title="B")
    provider.fields("deals")
    monkeypatch.setattr(adapter, "_PAGE", 2)
    assert provider.find_created("deals", key=key) == ref


def test_objects_without_custom_fields_cannot_be_asked_for_a_key(
    provider: PipedriveProvider,
) -> None:
    assert provider.finds_created("persons")
    assert not provider.finds_created("organizations"), "the customer made no field there"
    assert not provider.finds_created("activities")
    assert not provider.finds_created("notes")


def test_a_person_is_found_by_any_of_their_emails(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    ref = make(provider, "persons", name="Ada", emails="ada@example.com")
    make(provider, "persons", name="Eve", emails="eve@example.com")
    more = {"value": "Countess@example.org", "primary": False, "label": "home"}
    crm.records["persons"][ref.crm_id]["emails"].append(more)
    for one in (equals("emails", "countess@example.org"), contains("emails", "ess@")):
        assert ids(provider.search("persons", [one], ["name"], limit=5)) == [ref.crm_id]


def test_criteria_that_a_search_is_not_asked_hold_too(provider: PipedriveProvider) -> None:
    for owner in ("1", "2", "1"):
        make(provider, "deals", title="A", owner_id=owner, value=5)
    both = [equals("title", "A"), equals("owner_id", "1")]
    found = provider.search("deals", both, ["value"], limit=5)
    assert ids(found) == ["10003", "10001"], "the newest first"
    assert [record.values for record in found] == [{"value": 5}] * 2


def test_a_list_is_narrowed_and_read_as_far_as_needed(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    for _ in range(8):
        make(provider, "activities", subject="Call", deal_id="5")
    make(provider, "activities", subject="Call", deal_id="6")
    before = len(crm.requests)
    found = provider.search("activities", [equals("deal_id", "5")], ["subject"], limit=4)
    assert ids(found) == ["10008", "10007", "10006", "10005"]
    assert len(crm.requests) == before + 2, "pages have three"


def test_leads_of_a_person_come_newest_first(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    refs = [make(provider, "leads", title="A", person_id="12") for _ in range(4)]
    for day, ref in enumerate(refs):
        crm.records["leads"][ref.crm_id]["add_time"] = f"2026-11-0{day + 1}T09:30:00.000Z"
    found = provider.search("leads", [equals("person_id", "12")], [], limit=2)
    assert [record.ref for record in found] == [refs[3], refs[2]]


def test_a_lead_that_only_the_index_knows_is_not_found(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    kept, gone = (make(provider, "leads", title="A", person_id="12") for _ in range(2))
    crm.no_leads = {gone.crm_id}
    found = provider.search("leads", [equals("title", "A")], [], limit=5)
    assert [record.ref for record in found] == [kept]


@pytest.mark.parametrize("term", ["A&field=name", "100% +1", "a/b?c#d", 'O\'Hara "x" <y>'])
def test_terms_are_only_ever_terms(
    provider: PipedriveProvider, crm: PipedriveFake, term: str
) -> None:
    ref = make(provider, "deals", title=term)
    assert ids(provider.search("deals", [equals("title", term)], [], limit=5)) == [ref.crm_id]
    asked = next(one for one in crm.requests if one.path.endswith("/itemSearch/field"))
    assert (asked.query["term"], asked.query["field"]) == (term, "title")


def test_what_cannot_be_searched_is_refused_by_name(provider: PipedriveProvider) -> None:
    for remote_object, name in (("notes", "content"), ("persons", code_of("Rank"))):
        with pytest.raises(RejectedByCRM) as caught:
            provider.search(remote_object, [equals(name, "x")], [], limit=5)
        assert [problem.path for problem in caught.value.errors] == [name]


def test_ids_that_are_no_numbers_are_not_asked_for(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    before = len(crm.requests)
    for crm_id in ("../users", "5/products", "5?x=y", "٥"):
        with pytest.raises(RemoteRecordNotFound):
            provider.delete(RecordRef("deals", crm_id))
    assert len(crm.requests) == before


def test_ids_of_leads_are_escaped(provider: PipedriveProvider, crm: PipedriveFake) -> None:
    with pytest.raises(RemoteRecordNotFound):
        provider.delete(RecordRef("leads", "../notes/1?x=y"))
    assert crm.requests[-1].path == "/v1/leads/..%2Fnotes%2F1%3Fx%3Dy"
    theirs = PipedriveProvider(Access("acme", {"token": "t", "domain": "acme"}))
    page = theirs.record_url(RecordRef("leads", "../deal/1"))
    assert page == "https://acme.pipedrive.com/leads/inbox/..%2Fdeal%2F1"
