"""Pipedrive: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.exceptions import (
    ConfigurationError,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import Access, Criterion, Operator, RecordRef, RemoteType
from xkit_crm.providers.pipedrive import provider as adapter
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of
from xkit_crm.testing.fakes.server import Response


@pytest.fixture
def crm(settings: Any) -> Iterator[PipedriveFake]:
    with at_work(PipedriveFake(), "pipedrive", settings) as fake:
        yield fake


BUDGET, HOLIDAY, CALL, HOME = (code_of(one) for one in ("Budget", "Holiday", "Call at", "Home"))

PERSONS = Subject(
    remote_object="persons",
    text="name",
    values={
        "name": "Ada Lovelace",
        "emails": "ada@example.com",
        "phones": "+44 20 7946 0000",
        "owner_id": "4711",
        "label_ids": ["31", "32"],
        "visible_to": "3",
        code_of("Story"): "First line\nsecond line",
        code_of("Shoe size"): 38.5,
        BUDGET: 1200,
        f"{BUDGET}.currency": "EUR",
        code_of("Born"): "1815-12-10",
        HOLIDAY: "2026-11-02",
        f"{HOLIDAY}.until": "2026-11-09",
        CALL: "09:30:00",
        f"{CALL}.timezone_name": "Europe/London",
        code_of("Rank"): "11",
        code_of("Interests"): ["21", "23"],
        code_of("Friend"): "12",
        HOME: "Piazza Venezia 1, Rome",
        f"{HOME}.locality": "Rome",
        code_of("Fax"): "0049 30 1",
    },
    changes={
        "emails": "countess@example.com",
        "phones": None,
        "label_ids": [],
        code_of("Story"): None,
        code_of("Shoe size"): None,
        BUDGET: 900,
        code_of("Interests"): None,
        code_of("Rank"): "12",
        code_of("Friend"): None,
    },
    refused={code_of("Shoe size"): "large"},
    at_fault=code_of("Shoe size"),
    long_text=code_of("Story"),
)
DEALS = Subject(
    remote_object="deals",
    text="title",
    values={
        "title": "A deal",
        "value": 1234.5,
        "currency": "EUR",
        "status": "won",
        "won_time": "2026-11-02T08:15:30Z",
        "expected_close_date": "2026-12-24",
        "probability": 40,
        "stage_id": "5",
        "owner_id": "4711",
        "label_ids": ["41"],
        "is_archived": False,
        code_of("Region"): "7",
        code_of("Ends"): "2027-01-31",
    },
    changes={"status": "lost", "lost_reason": "No budget", "person_id": None, "value": 1},
    refused={code_of("Region"): "9"},
    at_fault=code_of("Region"),
)
LEADS = Subject(
    remote_object="leads",
    text="title",
    values={
        "title": "A lead",
        "value": 10,
        "value.currency": "EUR",
        "person_id": "12",
        "label_ids": ["f08b42a0-4e75-11ea-9643-03698ef1cfd6"],
        "expected_close_date": "2026-12-24",
        "visible_to": "3",
        "was_seen": True,
        code_of("Region"): "8",
        code_of("Tags"): ["61", "62"],
    },
    changes={"value": 12, "expected_close_date": None, "was_seen": False, code_of("Tags"): None},
    refused={"title": ""},
    at_fault="title",
    least={"person_id": "12"},
    no_such_id="adf21080-0e10-11eb-879b-05d71fb426ec",
)


class TestPersonsByToken(ProviderConformance):
    subject = PERSONS

    @pytest.fixture
    def make(self, crm: PipedriveFake) -> Make:
        return lambda: PipedriveProvider(Access("acme", crm.credentials))


class TestDealsSignedIn(ProviderConformance):
    subject = DEALS

    @pytest.fixture
    def make(self, crm: PipedriveFake) -> Make:
        return lambda: PipedriveProvider(Access("acme", crm.signed_in))


class TestLeadsSignedIn(ProviderConformance):
    subject = LEADS

    @pytest.fixture
    def make(self, crm: PipedriveFake) -> Make:
        return lambda: PipedriveProvider(Access("acme", crm.signed_in))


@pytest.fixture
def provider(crm: PipedriveFake) -> PipedriveProvider:
    return PipedriveProvider(Access("acme", crm.credentials))


def make(provider: PipedriveProvider, remote_object: str, **values: Any) -> RecordRef:
    return provider.create(remote_object, values, key=str(uuid4()))


def equals(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.EQUALS, value)


def contains(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.CONTAINS, value)


def ids(found: Any) -> list[str]:
    return [record.ref.crm_id for record in found]


# -- describing -----------------------------------------------------------------------------------


def test_fields_of_all_pages_are_described_once(provider: PipedriveProvider) -> None:
    names = [one.name for one in provider.describe_fields("persons")]
    assert names[0] == "name"
    assert {code_of("XKIT KEY"), code_of("Fax"), "add_time"} <= set(names)
    assert len(names) == len(set(names))


def test_a_field_is_described_as_it_is_written(provider: PipedriveProvider) -> None:
    found = provider.fields("persons")
    assert found["emails"].type is RemoteType.EMAIL
    assert "email" not in found, "its code in older descriptions"
    assert found["name"].required
    assert found["owner_id"].references == ("users",)
    assert not found["add_time"].createable
    assert found["add_time"].type is RemoteType.DATETIME
    interests = found[code_of("Interests")]
    assert interests.type is RemoteType.MULTIPICKLIST
    assert [one.value for one in interests.choices] == ["21", "22", "23"]
    assert not interests.searchable
    assert found[code_of("Friend")].references == ("persons",)
    assert found[code_of("Fax")].max_length == 255
    assert found[f"{HOLIDAY}.until"].type is RemoteType.DATE
    assert found[f"{HOLIDAY}.until"].createable


def test_fields_that_the_company_may_not_have_are_those_it_describes(
    provider: PipedriveProvider,
) -> None:
    assert "job_title" not in provider.fields("persons")
    assert provider.fields("organizations")["website"].updateable
    assert "linkedin" not in provider.fields("organizations")


def test_fields_that_must_be_asked_for_one_by_one_are_left_out(
    provider: PipedriveProvider,
) -> None:
    assert "next_activity_id" not in provider.fields("persons")
    assert code_of("Gone") not in provider.fields("leads"), "it is deleted"


# -- what is written as a whole -------------------------------------------------------------------


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


# -- finding --------------------------------------------------------------------------------------


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


# -- what Pipedrive says --------------------------------------------------------------------------


def refused(provider: PipedriveProvider, remote_object: str, **values: Any) -> RejectedByCRM:
    with pytest.raises(RejectedByCRM) as caught:
        make(provider, remote_object, **values)
    return caught.value


def test_each_value_that_is_refused_is_named(provider: PipedriveProvider) -> None:
    wrong = {"name": "", code_of("Shoe size"): "large", code_of("Rank"): "13"}
    error = refused(provider, "persons", **wrong)
    assert {problem.path for problem in error.errors} == set(wrong)
    assert "Validation failed" not in str(error)
    assert "Expected 'number'" in str(error)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("Validation failed: emails.0.value: is not an email", "emails"),
        ("Validation failed: participants[0].person_id: must be a number", "person_id"),
        ("Validation failed: custom_fields: Unknown key 'colour'", "colour"),
        ("Validation failed: title: is too long; value: is no number", "title"),
        ('"title" is required', "title"),
    ],
)
def test_the_field_at_fault_is_read_from_the_words(
    provider: PipedriveProvider,
    crm: PipedriveFake,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    path: str,
) -> None:
    answer = Response(400, {"success": False, "error": said, "code": "ERR"})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert refused(provider, "deals", title="A").errors[0].path == path


def test_words_without_a_field_are_told(provider: PipedriveProvider) -> None:
    assert "must be linked" in str(refused(provider, "leads", title="A"))


def test_a_create_that_refers_to_what_is_not_there_is_refused(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Response(404, {"success": False, "error": "Person not found"})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert "Person not found" in str(refused(provider, "deals", title="A", person_id="99"))


def test_a_good_status_does_not_hide_a_failure(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Response(200, {"success": False, "error": "Not now", "data": None})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert "Not now" in str(refused(provider, "deals", title="A"))


def answer_with(crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch, answer: Response) -> None:
    monkeypatch.setattr(crm, "read_deal", lambda request, **named: answer)


def test_a_burst_that_is_too_large_is_over_when_the_header_says(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, crm.too_many())
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    assert caught.value.retry_after == 2
    assert provider.usage.left == 0


def test_a_day_without_tokens_left_is_waited_out(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, Response(429, {"success": False, "error": "over limit"}))
    crm.tokens = 1
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    resets_at = provider.usage.quota_resets_at
    assert resets_at is not None
    assert resets_at.hour == 0
    wait = (resets_at - datetime.now(UTC)).total_seconds()
    assert caught.value.retry_after == pytest.approx(wait, abs=5)


def test_a_page_that_shuts_us_out_is_waited_out(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, Response(403, "<h1>You have been blocked</h1>"))
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    assert caught.value.retry_after == 600


def test_a_403_in_words_is_a_refusal(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"success": False, "error": "Limit reached", "code": "feature_capping_deals_limit"}
    answer_with(crm, monkeypatch, Response(403, body))
    with pytest.raises(RejectedByCRM, match="Limit reached"):
        provider.get(RecordRef("deals", "1"), ["title"])


def test_what_is_left_of_the_quota_is_noted(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    make(provider, "deals", title="A")
    assert provider.usage.left == 19
    assert provider.usage.quota == 30_000
    assert provider.usage.quota_left == crm.tokens


# -- signing in -----------------------------------------------------------------------------------


def test_a_sign_in_tells_where_the_company_is(crm: PipedriveFake) -> None:
    credentials = oauth.exchanged(
        PipedriveProvider, {}, code="a-code", redirect_uri="https://us.example/", verifier="v" * 43
    )
    assert credentials["api_domain"] == crm.url
    assert credentials["access_token"] == crm.token
    assert "client_secret" not in str(crm.requests[-1].body), "it goes in the header"


def test_no_scopes_are_asked_for_as_the_app_has_them(crm: PipedriveFake) -> None:
    url = oauth.sign_in_url(
        PipedriveProvider, {}, redirect_uri="https://us.example/", state="s", verifier="v" * 43
    )
    assert "scope" not in url


def test_a_renewed_sign_in_keeps_its_refresh_token(crm: PipedriveFake) -> None:
    provider = PipedriveProvider(Access("acme", {**crm.signed_in, "expires_at": 1}))
    provider.search("deals", [], [], limit=1)
    assert crm.renewals == 1
    assert provider.credentials["refresh_token"] == crm.refresh_token
    assert provider.credentials["access_token"] == crm.token


@pytest.mark.parametrize(
    ("credentials", "url"),
    [
        ({"token": "t"}, "https://api.pipedrive.com"),
        ({"token": "t", "domain": "acme"}, "https://acme.pipedrive.com"),
        ({"token": "t", "domain": " https://Acme.pipedrive.com/ "}, "https://acme.pipedrive.com"),
        ({"api_domain": "https://acme.pipedrive.com"}, "https://acme.pipedrive.com"),
    ],
)
def test_the_company_has_an_address_of_its_own(credentials: dict[str, str], url: str) -> None:
    provider = PipedriveProvider(Access("acme", credentials))
    assert provider.base_url == url
    page = provider.record_url(RecordRef("deals", "5"))
    assert page == ("" if "//api." in url else f"{url}/deal/5")


@pytest.mark.parametrize("domain", ["evil.example", "acme.pipedrive.com.evil.example", "a/b", "@"])
def test_a_token_is_sent_to_no_other_domain(domain: str) -> None:
    provider = PipedriveProvider(Access("acme", {"token": "t", "domain": domain}))
    with pytest.raises(ConfigurationError):
        provider.search("deals", [], [], limit=1)
