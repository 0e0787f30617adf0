"""Zoho CRM: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import requests

from tests.providers.vendors import at_work
from xkit_crm.exceptions import (
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Draft,
    Edit,
    Operator,
    RecordRef,
    RemoteType,
)
from xkit_crm.providers.http import Answer
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.zoho import ZohoFake

BACK = "https://product.example/crm/oauth/callback"
VERIFIER = "v" * 43


@pytest.fixture
def crm(settings: Any) -> Iterator[ZohoFake]:
    with at_work(ZohoFake(), "zoho", settings) as fake:
        yield fake


@pytest.fixture
def provider(crm: ZohoFake) -> ZohoProvider:
    return ZohoProvider(Access("acme", crm.credentials))


class TestSignedIn(ProviderConformance):
    subject = Subject(
        remote_object="Leads",
        text="Last_Name",
        values={
            "Last_Name": "Lovelace",
            "Company": "Analytical Engines",
            "Email": "ada@example.com",
            "Phone": "+44 20 7946 0000",
            "Website": "https://example.com/ada",
            "Description": "First line\nsecond line",
            "No_of_Employees": 12,
            "Annual_Revenue": 1234.5,
            "Email_Opt_Out": True,
            "Birthday": "1815-12-10",
            "Last_Visit": "2026-11-02T08:15:30Z",
            "Lead_Source": "Trade Show",
            "Interests": ["CRM", "Support"],
            "Owner": "4712",
        },
        changes={
            "First_Name": "Ada",
            "Email_Opt_Out": False,
            "Interests": ["Billing"],
            "Description": None,
            "Last_Visit": None,
        },
        refused={"No_of_Employees": "many"},
        at_fault="No_of_Employees",
        least={"Company": "Analytical Engines"},
        long_text="Description",
        workflow="501",
    )

    @pytest.fixture
    def make(self, crm: ZohoFake) -> Make:
        return lambda: ZohoProvider(Access("acme", crm.credentials))


def lead(provider: ZohoProvider, name: str = "Lovelace", **values: Any) -> RecordRef:
    values = {"Last_Name": name, "Company": "Engines", **values}
    return provider.create("Leads", values, key=str(uuid4()))


def names(provider: ZohoProvider, *criteria: Criterion) -> list[str]:
    found = provider.search("Leads", criteria, ["Last_Name"], limit=10)
    return [record.values["Last_Name"] for record in found]


# -- signing in ---------------------------------------------------------------------------------


def test_a_person_is_sent_with_commas_between_scopes_and_for_a_refresh_token(settings: Any) -> None:
    settings.XKIT_CRM = {"PROVIDER_OPTIONS": {"zoho": {"client_id": "a", "client_secret": "b"}}}
    url = oauth.sign_in_url(ZohoProvider, {}, redirect_uri=BACK, state="s", verifier=VERIFIER)
    asked = parse_qs(urlsplit(url).query)
    assert url.startswith("https://accounts.zoho.com/oauth/v2/auth?")
    assert "ZohoCRM.modules.ALL" in asked["scope"][0].split(",")
    assert (asked["access_type"], asked["prompt"]) == (["offline"], ["consent"])


def test_a_person_comes_back_with_tokens_and_the_address_of_their_api(crm: ZohoFake) -> None:
    url = oauth.sign_in_url(ZohoProvider, {}, redirect_uri=BACK, state="s", verifier=VERIFIER)
    page = requests.get(url, timeout=5).text
    allow = page.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    brought = {name: value for name, (value,) in parse_qs(urlsplit(allow).query).items()}
    credentials = oauth.exchanged(
        ZohoProvider,
        {name: brought[name] for name in ("location", "accounts-server")},
        code=brought["code"],
        redirect_uri=BACK,
        verifier=VERIFIER,
    )
    assert credentials["api_domain"] == crm.url
    assert credentials["refresh_token"] == crm.refresh_token
    assert ZohoProvider(Access("acme", credentials)).base_url == crm.url


@pytest.mark.parametrize(
    ("brought", "server"),
    [
        ({}, "accounts.zoho.com"),
        ({"location": "in"}, "accounts.zoho.in"),
        ({"location": "ca", "accounts-server": "https://accounts.zohocloud.ca"}, "zohocloud.ca"),
        ({"location": "moon"}, "accounts.zoho.com"),
    ],
)
def test_tokens_come_from_the_data_centre_of_the_person(
    settings: Any, brought: dict[str, str], server: str
) -> None:
    settings.XKIT_CRM = {}
    token = ZohoProvider.endpoints(brought).token
    assert urlsplit(token).hostname in (server, f"accounts.{server}")
    assert token.endswith("/oauth/v2/token")


@pytest.mark.parametrize(
    "server",
    [
        "https://evil.example",
        "https://accounts.zoho.com.evil.example",
        "https://accounts.zoho.com@evil.example",
        "https://accounts.zoho.com:8443",
        "http://accounts.zoho.com",
        "accounts.zoho.com",
    ],
)
def test_no_other_server_is_sent_our_secret(settings: Any, server: str) -> None:
    settings.XKIT_CRM = {}
    with pytest.raises(CRMUnauthorized, match="no accounts server"):
        ZohoProvider.endpoints({"location": "us", "accounts-server": server})


def test_a_token_is_renewed_and_the_refresh_token_kept(crm: ZohoFake) -> None:
    renewed = oauth.refreshed(ZohoProvider, crm.credentials)
    assert renewed["access_token"] == crm.token
    assert renewed["refresh_token"] == crm.refresh_token
    assert renewed["accounts-server"] == "https://accounts.zoho.eu"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("invalid_code", CRMUnauthorized),
        ("invalid_client", CRMUnavailable),
        ("invalid_client_secret", CRMUnavailable),
        ("Access Denied", RateLimited),
    ],
)
def test_a_refused_token_says_whose_fault_it_is(
    crm: ZohoFake, code: str, error: type[Exception]
) -> None:
    crm.refuse_token = code
    with pytest.raises(error):
        oauth.refreshed(ZohoProvider, crm.credentials)


def test_the_operator_may_name_another_api(settings: Any) -> None:
    own = ZohoProvider(Access("acme", {"api_domain": "https://www.zohoapis.eu"}))
    assert own.base_url == "https://www.zohoapis.eu"
    settings.XKIT_CRM = {"PROVIDER_OPTIONS": {"zoho": {"base_url": "https://proxy.example/"}}}
    proxied = ZohoProvider(Access("acme", {"api_domain": "https://www.zohoapis.eu"}))
    assert proxied.base_url == "https://proxy.example"


# -- describing ---------------------------------------------------------------------------------


def test_modules_that_the_api_or_the_person_cannot_see_are_left_out(provider: ZohoProvider) -> None:
    found = {one.name: one.label for one in provider.describe_objects()}
    assert found.keys() == {"Leads", "Accounts", "Deals", "Tasks", "Surveys"}
    assert found["Leads"] == "Lead"


def test_fields_are_described_as_zoho_means_them(provider: ZohoProvider) -> None:
    found = {one.name: one for one in provider.describe_fields("Leads")}
    assert [c.value for c in found["Lead_Source"].choices] == ["Trade Show", "Web Research"]
    assert (found["Last_Name"].max_length, found["Description"].max_length) == (80, 32_000)
    assert found["Referred_By"].references == ("Accounts",)
    assert found["xkit_key"].unique
    assert not found["Last_Name"].unique
    assert not found["Description"].searchable
    score = found["Score"]
    assert (score.type, score.createable, score.updateable) == (RemoteType.NUMBER, False, False)
    assert not found["Created_Time"].updateable
    assert found.keys().isdisjoint({"Visits", "Tag"}), "they have no value of ours"


def test_what_can_point_to_any_module_is_only_read(provider: ZohoProvider) -> None:
    found = {one.name: one for one in provider.describe_fields("Tasks")}
    assert not found["What_Id"].createable
    assert found["Subject"].required, "also where there are no layouts"


def test_what_every_layout_wants_is_required(provider: ZohoProvider) -> None:
    leads = {one.name for one in provider.describe_fields("Leads") if one.required}
    assert leads == {"Last_Name", "Company"}
    deals = {one.name for one in provider.describe_fields("Deals") if one.required}
    assert deals == {"Deal_Name"}, "the other layout takes a deal without an amount"


# -- values -------------------------------------------------------------------------------------


def test_moments_travel_with_an_offset_and_come_back_in_utc(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider, Last_Visit="2026-11-02T08:15:30.250Z")
    assert crm.records["Leads"][ref.crm_id]["Last_Visit"] == "2026-11-02T13:45:30+05:30"
    assert provider.get(ref, ["Last_Visit"]).values == {"Last_Visit": "2026-11-02T08:15:30Z"}


def test_references_are_ids(provider: ZohoProvider) -> None:
    account = provider.create("Accounts", {"Account_Name": "Engines"}, key="k")
    ref = lead(provider, Referred_By=account.crm_id)
    assert provider.get(ref, ["Referred_By"]).values == {"Referred_By": account.crm_id}
    provider.update(ref, {"Referred_By": None})
    assert provider.get(ref, ["Referred_By"]).values == {"Referred_By": None}


# -- records ------------------------------------------------------------------------------------


def test_more_fields_than_a_call_takes_are_read_in_several(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {f"Answer_{n}": f"No. {n}" for n in range(1, 61)}
    ref = provider.create("Surveys", {"Name": "Wide", **values}, key="k")
    assert provider.get(ref, list(values)).values == values
    (read,) = provider.get_many([ref], list(values))
    assert read.values == values  # type: ignore[union-attr]
    equal = Criterion("Name", Operator.EQUALS, "Wide")
    (found,) = provider.search("Surveys", [equal], list(values), limit=5)
    assert found.values == values


def test_a_converted_lead_is_still_read(provider: ZohoProvider, crm: ZohoFake) -> None:
    ref = lead(provider)
    crm.converted.add(ref.crm_id)
    (found,) = provider.get_many([ref], ["Last_Name"])
    assert found.values == {"Last_Name": "Lovelace"}  # type: ignore[union-attr]


def test_an_id_with_a_comma_is_one_record_and_none(provider: ZohoProvider, crm: ZohoFake) -> None:
    one, other = lead(provider), lead(provider)
    both = RecordRef("Leads", f"{one.crm_id},{other.crm_id}")
    assert isinstance(provider.delete_many([both])[0], RemoteRecordNotFound)
    assert isinstance(provider.get_many([both], ["Last_Name"])[0], RemoteRecordNotFound)
    (deleted, gone) = provider.delete_many([one, both])
    assert deleted is None
    assert isinstance(gone, RemoteRecordNotFound)
    assert crm.records["Leads"].keys() == {other.crm_id}


@pytest.mark.parametrize("crm_id", ["..", "1/2", "1?fields=x", "٤٢", ""])
def test_what_is_no_id_is_not_asked_for(provider: ZohoProvider, crm: ZohoFake, crm_id: str) -> None:
    with pytest.raises(RemoteRecordNotFound):
        provider.get(RecordRef("Leads", crm_id), ["Last_Name"])
    with pytest.raises(RemoteRecordNotFound):
        provider.delete(RecordRef("Leads", crm_id))
    assert crm.requests == []


def test_each_record_of_a_mixed_batch_gets_its_own_answer(provider: ZohoProvider) -> None:
    kept, gone, wrong = lead(provider), lead(provider), lead(provider)
    provider.delete(gone)
    answers = provider.update_many(
        [
            Edit(gone, {"First_Name": "Ada"}),
            Edit(kept, {"First_Name": "Ada"}),
            Edit(wrong, {"Email": "nobody"}),
        ]
    )
    assert isinstance(answers[0], RemoteRecordNotFound)
    assert answers[1] is None
    assert isinstance(answers[2], RejectedByCRM)
    assert [problem.path for problem in answers[2].errors] == ["Email"]


def test_what_is_said_of_a_deletion_goes_by_the_id(provider: ZohoProvider) -> None:
    gone, there = lead(provider), lead(provider)
    provider.delete(gone)
    answers = provider.delete_many([gone, there])
    assert isinstance(answers[0], RemoteRecordNotFound)
    assert answers[1] is None


def test_a_batch_of_which_none_is_taken_tells_of_each(provider: ZohoProvider) -> None:
    drafts = [Draft({"Company": "E"}, "1"), Draft({"Last_Name": "L" * 81, "Company": "E"}, "2")]
    first, second = provider.create_many("Leads", drafts)
    assert isinstance(first, RejectedByCRM)
    assert isinstance(second, RejectedByCRM)
    assert [str(one) for one in first.errors] == ["Last_Name: required field not found"]
    assert [str(one) for one in second.errors] == [
        "Last_Name: invalid data (at most 80 characters)"
    ]


def test_every_field_at_fault_is_named(provider: ZohoProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        lead(provider, Email="nobody", No_of_Employees="many", Referred_By="77")
    assert {problem.path for problem in caught.value.errors} == {
        "Email",
        "No_of_Employees",
        "Referred_By",
    }
    assert "No_of_Employees: invalid data (it takes: integer)" in map(str, caught.value.errors)


def test_a_reference_to_nothing_does_not_say_that_the_record_is_gone(
    provider: ZohoProvider,
) -> None:
    ref = lead(provider)
    with pytest.raises(RejectedByCRM) as caught:
        provider.update(ref, {"Referred_By": "77"})
    assert [problem.path for problem in caught.value.errors] == ["Referred_By"]


def test_a_module_that_is_none_is_told_once_for_all(provider: ZohoProvider, crm: ZohoFake) -> None:
    known = provider.fields("Leads")
    provider.described["fields Nonsense"] = list(known.values())
    with pytest.raises(RejectedByCRM, match="INVALID_MODULE"):
        provider.create_many("Nonsense", [Draft({}, "1"), Draft({}, "2")])


def test_an_error_is_one_whatever_its_status(provider: ZohoProvider) -> None:
    said = {"code": "INVALID_DATA", "details": {}, "message": "invalid", "status": "error"}
    assert isinstance(provider.refusal(Answer(200, {}, said)), RejectedByCRM)
    unknown = {**said, "details": {"resource_path_index": 1}}
    assert isinstance(provider.refusal(Answer(400, {}, unknown)), RemoteRecordNotFound)
    assert provider.refusal(Answer(200, {}, {"data": [{"status": "error"}]})) is None


def test_a_locked_record_can_be_written_later(provider: ZohoProvider, crm: ZohoFake) -> None:
    ref = lead(provider)
    crm.locked.add(ref.crm_id)
    with pytest.raises(RecordLocked):
        provider.update(ref, {"First_Name": "Ada"})


# -- finding what was made ----------------------------------------------------------------------


def test_a_create_with_a_key_that_is_there_gives_the_record_that_has_it(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {"Last_Name": "Lovelace", "Company": "Engines"}
    ref = provider.create("Leads", values, key="the-key")
    assert provider.create("Leads", values, key="the-key") == ref
    assert len(crm.records["Leads"]) == 1


def test_a_create_that_repeats_other_unique_values_as_well_gives_it_too(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {"Last_Name": "Lovelace", "Company": "Engines", "Email": "ada@example.com"}
    ref = provider.create("Leads", values, key="the-key")
    assert provider.create("Leads", values, key="the-key") == ref
    with pytest.raises(RejectedByCRM) as caught:
        provider.create("Leads", values, key="another")
    assert [str(problem) for problem in caught.value.errors] == ["Email: duplicate data"]


def test_more_keys_than_a_query_takes_are_looked_up_in_several(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    keys = [str(uuid4()) for _ in range(100)]
    values = {"Last_Name": "Lovelace", "Company": "Engines"}
    made = provider.create_many("Leads", [Draft(values, key) for key in keys])
    assert list(provider.find_created_many("Leads", keys)) == list(made)


def test_without_the_field_nothing_is_looked_up(provider: ZohoProvider) -> None:
    assert provider.finds_created("Leads")
    assert not provider.finds_created("Accounts")


# -- queries ------------------------------------------------------------------------------------


def test_quotes_in_a_search_are_only_quotes(provider: ZohoProvider) -> None:
    name = "O'Brien' or id is not null or Last_Name = '"
    lead(provider, "Somebody else")
    lead(provider, name)
    assert names(provider, Criterion("Last_Name", Operator.EQUALS, name)) == [name]
    assert names(provider, Criterion("Last_Name", Operator.CONTAINS, "O'Brien'")) == [name]


def test_a_backslash_is_not_searched_for(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.fields("Leads")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM) as caught:
        names(provider, Criterion("Last_Name", Operator.EQUALS, "\\' or id is not null"))
    assert [problem.path for problem in caught.value.errors] == ["Last_Name"]
    assert len(crm.requests) == before


def test_what_is_no_name_gets_into_no_query(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.fields("Leads")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM):
        names(provider, Criterion("id is not null or Last_Name", Operator.EQUALS, "x"))
    with pytest.raises(RejectedByCRM):
        provider.search("Leads", [], ["id from Deals where id is not null--"], limit=1)
    assert len(crm.requests) == before


def test_several_criteria_of_every_type_must_all_hold(provider: ZohoProvider) -> None:
    values = {
        "Email_Opt_Out": True,
        "No_of_Employees": 12,
        "Birthday": "1815-12-10",
        "Last_Visit": "2026-11-02T08:15:30Z",
        "Owner": "4712",
        "Phone": None,
    }
    lead(provider, "Mine", **values)
    for name, other in {**values, "Email_Opt_Out": False, "Owner": "4711"}.items():
        if other != values[name]:
            lead(provider, "Other", **{**values, name: other})
    criteria = [Criterion(name, Operator.EQUALS, value) for name, value in values.items()]
    assert names(provider, *criteria) == ["Mine"]


def test_the_newest_come_first(provider: ZohoProvider) -> None:
    for name in ("First", "Second", "Third"):
        lead(provider, name)
    assert names(provider) == ["Third", "Second", "First"]


# -- automations --------------------------------------------------------------------------------


def test_writes_start_every_automation_unless_told_otherwise(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider)
    provider.delete(ref)
    assert "trigger" not in crm.requests[-2].body
    assert "wf_trigger" not in crm.requests[-1].query


@pytest.mark.parametrize(
    ("said", "trigger"),
    [
        ([], []),
        (["workflow"], ["workflow"]),
        ("", []),
        ("workflow, approval", ["workflow", "approval"]),
    ],
)
def test_a_connection_says_which_automations_its_writes_start(
    crm: ZohoFake, said: Any, trigger: list[str]
) -> None:
    provider = ZohoProvider(Access("acme", {**crm.credentials, "trigger": said}))
    ref = lead(provider)
    provider.update(ref, {"First_Name": "Ada"})
    provider.delete(ref)
    created, updated, deleted = crm.requests[-3:]
    assert created.body["trigger"] == updated.body["trigger"] == trigger
    assert deleted.query.get("wf_trigger") == (None if trigger else "false")


def test_the_operator_says_it_for_all_connections(settings: Any, crm: ZohoFake) -> None:
    options = {"zoho": {**crm.options, "trigger": []}}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": options}
    lead(ZohoProvider(Access("acme", crm.credentials)))
    assert crm.requests[-1].body["trigger"] == []


def test_cadences_for_enrolment_by_hand_are_listed_page_by_page(provider: ZohoProvider) -> None:
    found = {one.label: one.inputs[0].references for one in provider.list_workflows()}
    assert found == {"Welcome": ("Leads",), "Win back": ("Deals",)}


def test_a_record_is_enrolled_in_a_cadence_of_its_module(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider)
    assert provider.run_workflow("501", {}, key="k", ref=ref) == ref
    assert provider.run_workflow("501", {"record": ref.crm_id}, key="k", ref=None) == ref
    assert crm.enrolled == [("501", ref.crm_id)] * 2
    with pytest.raises(RejectedByCRM) as caught:
        provider.run_workflow("504", {}, key="k", ref=ref)
    assert [problem.path for problem in caught.value.errors] == ["record"]
    with pytest.raises(RejectedByCRM, match="given id seems to be invalid"):
        provider.run_workflow("501", {"record": "77"}, key="k", ref=None)


# -- what it says of itself ---------------------------------------------------------------------


def test_the_credits_that_are_left_are_noted(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.describe_objects()
    assert provider.usage.quota_left is None, "it is told once half are used"
    crm.said = {"X-API-CREDITS-REMAINING": "4821"}
    provider.describe_objects()
    assert provider.usage.quota_left == 4821


@pytest.mark.parametrize(
    ("module", "credentials", "url"),
    [
        ("Leads", {"location": "eu"}, "https://crm.zoho.eu/crm/tab/Leads/42"),
        (
            "Deals",
            {"accounts-server": "https://accounts.zohocloud.ca"},
            "https://crm.zohocloud.ca/crm/tab/Potentials/42",
        ),
        ("Surveys", {"location": "eu"}, ""),
        ("Leads", {"api_domain": "https://sandbox.zohoapis.com"}, ""),
    ],
)
def test_a_records_page_is_in_the_persons_data_centre(
    settings: Any, module: str, credentials: dict[str, str], url: str
) -> None:
    settings.XKIT_CRM = {}
    assert ZohoProvider(Access("acme", credentials)).record_url(RecordRef(module, "42")) == url
