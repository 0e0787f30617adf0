"""Salesforce: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Draft,
    Edit,
    Operator,
    RecordRef,
    RemoteType,
)
from xkit_crm.providers.oauth import exchanged, sign_in_url
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.salesforce import SalesforceFake
from xkit_crm.testing.fakes.server import Response


@pytest.fixture
def crm(settings: Any) -> Iterator[SalesforceFake]:
    with at_work(SalesforceFake(), "salesforce", settings) as fake:
        yield fake


SUBJECT = Subject(
    remote_object="Contact",
    text="LastName",
    values={
        "LastName": "Lovelace",
        "Email": "ada@example.com",
        "Phone": "+44 20 7946 0000",
        "Website__c": "https://example.com/ada",
        "Notes__c": "First line\nsecond line",
        "Visits__c": 12,
        "Rank__c": 3,
        "Budget__c": 1234.5,
        "Birthdate": "1815-12-10",
        "Last_Visit__c": "2026-11-02T08:15:30Z",
        "Newsletter__c": True,
        "LeadSource": "web",
        "Interests__c": ["crm", "support"],
        "OwnerId": "005000000000001AAA",
    },
    changes={
        "FirstName": "Ada",
        "Newsletter__c": False,
        "Interests__c": ["billing"],
        "Notes__c": None,
        "Visits__c": 0,
        "Last_Visit__c": None,
    },
    refused={"Email": "no address"},
    at_fault="Email",
    long_text="Notes__c",
    no_such_id="003999999999999AAA",
    workflow="Welcome",
    inputs={"email": "ada@example.com", "score": 7.5, "tags": ["a", "b"]},
)


class TestSignedIn(ProviderConformance):
    subject = SUBJECT

    @pytest.fixture
    def make(self, crm: SalesforceFake) -> Make:
        return lambda: SalesforceProvider(Access("acme", crm.credentials))


class TestAccessTokenAlone(ProviderConformance):
    """A session that can't be renewed, such as one for a trial."""

    subject = SUBJECT

    @pytest.fixture
    def make(self, crm: SalesforceFake) -> Make:
        given = {**crm.credentials}
        del given["refresh_token"]
        return lambda: SalesforceProvider(Access("acme", given))


# -- what is Salesforce's own ---------------------------------------------------------------------


@pytest.fixture
def salesforce(crm: SalesforceFake) -> SalesforceProvider:
    return SalesforceProvider(Access("acme", crm.credentials))


def create(provider: SalesforceProvider, name: str = "Ada", **values: Any) -> RecordRef:
    return provider.create("Contact", {"LastName": name, **values}, key=str(uuid4()))


def draft(name: str = "Ada", **values: Any) -> Draft:
    return Draft({"LastName": name, **values}, str(uuid4()))


def found(provider: SalesforceProvider, *criteria: Criterion, limit: int = 10) -> list[Any]:
    rows = provider.search("Contact", criteria, ["LastName"], limit=limit)
    return [row.values["LastName"] for row in rows]


def equals(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.EQUALS, value)


def contains(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.CONTAINS, value)


# Describing.


def test_objects_are_those_that_records_can_be_written_to(salesforce: SalesforceProvider) -> None:
    names = [one.name for one in salesforce.describe_objects()]
    assert names == ["Contact", "Opportunity", "Lead", "Order__c"]


def test_a_field_is_described_as_the_user_may_use_it(salesforce: SalesforceProvider) -> None:
    fields = {one.name: one for one in salesforce.describe_fields("Contact")}
    assert [name for name, one in fields.items() if one.required] == ["LastName"]
    assert not fields["Name"].createable
    assert not fields["Name"].updateable
    assert not fields["Notes__c"].searchable
    assert fields["LastName"].max_length == 80
    assert fields["Visits__c"].max_length is None
    assert fields["xkit_key__c"].unique
    assert fields["OwnerId"].references == ("Group", "User")
    assert "MailingAddress" not in fields, "its parts are fields of their own"


def test_a_choice_that_was_retired_is_not_offered(salesforce: SalesforceProvider) -> None:
    fields = {one.name: one for one in salesforce.describe_fields("Contact")}
    assert [one.value for one in fields["LeadSource"].choices] == ["web", "phone", "partner"]


def test_a_key_that_the_user_may_not_write_is_none(salesforce: SalesforceProvider) -> None:
    assert salesforce.finds_created("Contact")
    assert not salesforce.finds_created("Lead"), "there it is read only"
    assert not salesforce.finds_created("Opportunity")
    salesforce.create("Lead", {"LastName": "Ada"}, key="a-key")


# Searching.


def test_a_search_reads_every_page_newest_first(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    for number in range(5):
        create(salesforce, f"Ada {number}")
    before = len(crm.requests)
    assert found(salesforce, limit=4) == ["Ada 4", "Ada 3", "Ada 2", "Ada 1"]
    assert len(crm.requests) == before + 2


@pytest.mark.parametrize(
    "name",
    ["O'Brien", "x' OR LastName != '", "\\", "\\'", 'two\nlines\tand "quotes"', "100%", "a_b"],
)
def test_nothing_that_is_searched_for_changes_the_query(
    salesforce: SalesforceProvider, name: str
) -> None:
    create(salesforce, name)
    create(salesforce, "Somebody else, 100 axb")
    assert found(salesforce, equals("LastName", name)) == [name]
    assert found(salesforce, contains("LastName", name)) == [name]


@pytest.mark.parametrize("field", ["Id FROM User", "LastName = '' OR LastName", "", "x.y", "é"])
def test_what_is_no_name_gets_into_no_query(
    salesforce: SalesforceProvider, crm: SalesforceFake, field: str
) -> None:
    salesforce.describe_fields("Contact")
    salesforce.fields("Contact")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.search("Contact", [equals(field, "x")], [], limit=1)
    assert [one.path for one in caught.value.errors] == [field]
    with pytest.raises(RejectedByCRM):
        salesforce.search("Contact", [], [field], limit=1)
    with pytest.raises(RejectedByCRM):
        salesforce.describe_fields(f"Contact/{field}")
    assert len(crm.requests) == before


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        ("Visits__c", 12.5, 13),
        ("Rank__c", "3", 4),
        ("Newsletter__c", True, False),
        ("Birthdate", "1815-12-10", "1815-12-11"),
        ("Last_Visit__c", "2026-11-02T08:15:30Z", "2026-11-02T08:15:31Z"),
        ("Interests__c", ["crm", "support"], ["crm"]),
        ("LeadSource", "web", "phone"),
    ],
)
def test_every_type_is_searched_in_its_own_spelling(
    salesforce: SalesforceProvider, field: str, value: Any, other: Any
) -> None:
    create(salesforce, "Ada", **{field: value})
    assert found(salesforce, equals(field, value)) == ["Ada"]
    assert found(salesforce, equals(field, other)) == []


def test_what_is_empty_and_what_one_of_several_holds_is_found(
    salesforce: SalesforceProvider,
) -> None:
    create(salesforce, "Ada", Interests__c=["crm", "billing"])
    create(salesforce, "Bob")
    assert found(salesforce, equals("Interests__c", None)) == ["Bob"]
    assert found(salesforce, contains("Interests__c", "billing")) == ["Ada"]
    assert found(salesforce, contains("Interests__c", "support")) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Visits__c", "1 OR Id != null"),
        ("Newsletter__c", "true OR Id != null"),
        ("Birthdate", "2026-01-01 OR Id != null"),
        ("Last_Visit__c", "2026-01-01T00:00:00Z OR Id != null"),
        ("LastName", ["a", "list"]),
    ],
)
def test_what_is_no_value_of_its_type_is_searched_for_nowhere(
    salesforce: SalesforceProvider, crm: SalesforceFake, field: str, value: Any
) -> None:
    salesforce.fields("Contact")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM) as caught:
        found(salesforce, equals(field, value))
    assert [one.path for one in caught.value.errors] == [field]
    assert len(crm.requests) == before


def test_an_object_without_a_created_date_is_searched_too(salesforce: SalesforceProvider) -> None:
    ref = salesforce.create("Order__c", {"Name": "A 1"}, key=str(uuid4()))
    rows = salesforce.search("Order__c", [equals("Name", "A 1")], [], limit=5)
    assert [row.ref for row in rows] == [ref]


def test_more_keys_than_a_page_has_are_all_found(salesforce: SalesforceProvider) -> None:
    drafts = [draft() for _ in range(5)]
    made = salesforce.create_many("Contact", drafts)
    keys = [one.key for one in drafts]
    assert salesforce.find_created_many("Contact", [*keys, "another"]) == [*made, None]


# Values.


def test_an_empty_checkbox_is_one_that_is_not_ticked(salesforce: SalesforceProvider) -> None:
    ref = create(salesforce, Newsletter__c=True)
    salesforce.update(ref, {"Newsletter__c": None, "Interests__c": []})
    values = salesforce.get(ref, ["Newsletter__c", "Interests__c"]).values
    assert values == {"Newsletter__c": False, "Interests__c": None}


def test_a_moment_of_another_zone_is_kept_in_utc(salesforce: SalesforceProvider) -> None:
    ref = create(salesforce, Last_Visit__c="2026-11-02T10:15:30+02:00")
    assert salesforce.get(ref, ["Last_Visit__c"]).values == {
        "Last_Visit__c": "2026-11-02T08:15:30Z"
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Visits__c", "many"),
        ("Visits__c", True),
        ("Newsletter__c", "perhaps"),
        ("Birthdate", "yesterday"),
        ("Last_Visit__c", "soonZ"),
        ("FirstName", ["a", "list"]),
    ],
)
def test_a_value_of_a_wrong_type_names_its_field_and_spoils_no_other(
    salesforce: SalesforceProvider, field: str, value: Any
) -> None:
    ref = create(salesforce)
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.update(ref, {field: value})
    assert [one.path for one in caught.value.errors] == [field]
    answers = salesforce.create_many("Contact", [draft(), draft(**{field: value}), draft()])
    assert [type(one) for one in answers] == [RecordRef, RejectedByCRM, RecordRef]


# What it says.


@pytest.mark.parametrize(
    ("values", "at_fault"),
    [
        ({"LastName": None}, "LastName"),
        ({"LastName": "x" * 81}, "LastName"),
        ({"LeadSource": "fax"}, "LeadSource"),
        ({"Name": "Ada"}, "Name"),
        ({"OwnerId": "nobody"}, "OwnerId"),
    ],
)
def test_each_refusal_names_its_field_alone_and_among_many(
    salesforce: SalesforceProvider, values: Mapping[str, Any], at_fault: str
) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.create("Contact", {"LastName": "Ada", **values}, key=str(uuid4()))
    assert [one.path for one in caught.value.errors] == [at_fault]
    wrong = Draft({"LastName": "Ada", **values}, str(uuid4()))
    good, bad = salesforce.create_many("Contact", [draft(), wrong])
    assert isinstance(good, RecordRef)
    assert isinstance(bad, RejectedByCRM)
    assert [one.path for one in bad.errors] == [at_fault]


def test_a_field_that_is_gone_is_named_and_nothing_is_made(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.create_many("Contact", [draft(), draft(Gone__c="x")])
    assert [one.path for one in caught.value.errors] == ["Gone__c"]
    assert not caught.value.outcome_unknown
    assert crm.records["Contact"] == {}


def test_a_value_that_another_record_has_names_the_field(salesforce: SalesforceProvider) -> None:
    salesforce.create("Contact", {"LastName": "Ada"}, key="one-key")
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.create("Contact", {"LastName": "Bob"}, key="one-key")
    assert [one.path for one in caught.value.errors] == ["xkit_key__c"]


def test_a_reference_to_what_was_deleted_is_refused_and_nothing_is_taken_for_gone(
    salesforce: SalesforceProvider,
) -> None:
    boss, ref = create(salesforce), create(salesforce)
    salesforce.delete(boss)
    values = {"ReportsToId": boss.crm_id}
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.update(ref, values)
    assert [one.path for one in caught.value.errors] == ["ReportsToId"]
    (answer,) = salesforce.update_many([Edit(ref, values)])
    assert isinstance(answer, RejectedByCRM)
    assert [one.path for one in answer.errors] == ["ReportsToId"]


def test_an_object_that_is_gone_refuses_what_is_made(
    salesforce: SalesforceProvider, crm: SalesforceFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    salesforce.fields("Contact")
    gone = [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
    monkeypatch.setattr(crm, "create", lambda *_, **__: Response(404, gone), raising=True)
    with pytest.raises(RejectedByCRM, match="does not exist"):
        create(salesforce)


def test_a_record_that_is_locked_is_told_so_and_the_others_are_written(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    free, locked = create(salesforce), create(salesforce)
    crm.locked.add(locked.crm_id)
    with pytest.raises(RecordLocked) as caught:
        salesforce.update(locked, {"FirstName": "Ada"})
    assert not caught.value.outcome_unknown
    written, refused = salesforce.update_many(
        [Edit(one, {"FirstName": "Ada"}) for one in (free, locked)]
    )
    assert written is None
    assert isinstance(refused, RecordLocked)
    gone, kept = salesforce.delete_many([free, locked])
    assert gone is None
    assert isinstance(kept, RecordLocked)


def test_the_calls_of_the_day_are_waited_for_longer_than_those_at_a_time(
    salesforce: SalesforceProvider, crm: SalesforceFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    salesforce.fields("Contact")
    crm.misbehave(Misbehaviour.RATE_LIMIT)
    with pytest.raises(RateLimited) as of_the_day:
        create(salesforce)
    assert of_the_day.value.retry_after == 3600
    said = {
        "errorCode": "REQUEST_LIMIT_EXCEEDED",
        "message": "ConcurrentPerOrgLongTxn Limit exceeded.",
    }
    monkeypatch.setattr(crm, "create", lambda *_, **__: Response(403, [said]))
    with pytest.raises(RateLimited) as at_a_time:
        create(salesforce)
    assert at_a_time.value.retry_after is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("QUERY_TIMEOUT", CRMUnavailable),
        ("API_DISABLED_FOR_ORG", CRMUnauthorized),
        ("DUPLICATES_DETECTED", RejectedByCRM),
        ("UNKNOWN_EXCEPTION", RejectedByCRM),
    ],
)
def test_a_code_tells_whether_to_try_again_to_sign_in_or_neither(
    salesforce: SalesforceProvider,
    crm: SalesforceFake,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: type[CRMError],
) -> None:
    salesforce.fields("Contact")
    said = [{"errorCode": code, "message": "No."}]
    monkeypatch.setattr(crm, "create", lambda *_, **__: Response(400, said))
    with pytest.raises(CRMError, match=code) as caught:
        create(salesforce)
    assert type(caught.value) is kind
    assert not caught.value.outcome_unknown


def test_each_answer_tells_how_much_of_the_day_is_left(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    salesforce.describe_objects()
    salesforce.describe_objects()
    assert (salesforce.usage.quota, salesforce.usage.quota_left) == (15_000, 14_998)
    crm.allowed_a_day = 2
    salesforce.describe_objects()
    assert salesforce.usage.quota_left == 0


def test_answers_for_others_than_were_asked_leave_the_outcome_open(
    salesforce: SalesforceProvider, crm: SalesforceFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    salesforce.fields("Contact")
    monkeypatch.setattr(crm, "create_collection", lambda _: Response(200, []))
    with pytest.raises(CRMError) as caught:
        salesforce.create_many("Contact", [draft()])
    assert caught.value.outcome_unknown


# Ids and addresses.


@pytest.mark.parametrize(
    "crm_id", ["..", "short-id", "003/x", "003000000000001AAA,003000000000002AAA"]
)
def test_what_can_be_no_id_is_not_found_without_asking(
    salesforce: SalesforceProvider, crm: SalesforceFake, crm_id: str
) -> None:
    ref, no_id = create(salesforce), RecordRef("Contact", crm_id)
    for call in (
        lambda: salesforce.get(no_id, ["LastName"]),
        lambda: salesforce.update(no_id, {"LastName": "x"}),
        lambda: salesforce.delete(no_id),
    ):
        with pytest.raises(RemoteRecordNotFound):
            call()
    read = salesforce.get_many([no_id, ref], ["LastName"])
    written = salesforce.update_many([Edit(one, {"FirstName": "x"}) for one in (no_id, ref)])
    deleted = salesforce.delete_many([no_id, ref])
    for missing, good in (read, written, deleted):
        assert isinstance(missing, RemoteRecordNotFound)
        assert not isinstance(good, Exception)
    assert not any(crm_id in str(one.body) or crm_id in one.path for one in crm.requests)


def test_no_record_of_another_object_is_deleted(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    other = salesforce.create("Opportunity", {"Name": "Big"}, key="k")
    (answer,) = salesforce.delete_many([RecordRef("Contact", other.crm_id)])
    assert isinstance(answer, RemoteRecordNotFound)
    assert list(crm.records["Opportunity"]) == [other.crm_id]


def test_the_short_form_of_an_id_is_good_as_well(salesforce: SalesforceProvider) -> None:
    short = RecordRef("Contact", create(salesforce, "Ada").crm_id[:15])
    (read,) = salesforce.get_many([short], ["LastName"])
    assert not isinstance(read, Exception)
    assert read.values == {"LastName": "Ada"}
    assert salesforce.update_many([Edit(short, {"LastName": "Bob"})]) == [None]
    assert salesforce.get(short, ["LastName"]).values == {"LastName": "Bob"}
    assert salesforce.delete_many([short]) == [None]


def test_a_records_page_is_in_the_customers_own_salesforce(
    salesforce: SalesforceProvider,
) -> None:
    url = salesforce.record_url(RecordRef("Contact", "003000000000001AAA"))
    there = "https://acme.my.salesforce.com"
    assert url == f"{there}/lightning/r/Contact/003000000000001AAA/view"


def test_the_operator_chooses_the_version_and_where_the_api_is(settings: Any) -> None:
    provider = SalesforceProvider(Access("acme", {"instance_url": "https://a.my.salesforce.com/"}))
    assert provider.base_url == "https://a.my.salesforce.com"
    assert provider._path("query") == "/services/data/v68.0/query"
    options = {"version": "70.0", "base_url": "https://proxy.example/sf/"}
    settings.XKIT_CRM = {"PROVIDER_OPTIONS": {"salesforce": options}}
    provider = SalesforceProvider(Access("acme", {"instance_url": "https://a.my.salesforce.com"}))
    assert provider.base_url == "https://proxy.example/sf"
    assert provider._path("query") == "/services/data/v70.0/query"


# Signing in.


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("", "login.salesforce.com"),
        ("test.salesforce.com", "test.salesforce.com"),
        ("acme", "acme.my.salesforce.com"),
        ("https://Acme.my.salesforce.com/", "acme.my.salesforce.com"),
        ("acme--dev.sandbox.lightning.force.com", "acme--dev.sandbox.my.salesforce.com"),
        ("acme.my.salesforce-setup.com/lightning/setup", "acme.my.salesforce.com"),
    ],
)
def test_people_sign_in_at_the_address_they_give(given: str, host: str) -> None:
    endpoints = SalesforceProvider.endpoints({"domain": given})
    assert endpoints.authorize == f"https://{host}/services/oauth2/authorize"
    assert endpoints.token == f"https://{host}/services/oauth2/token"


@pytest.mark.parametrize(
    "given",
    [
        "evil.example",
        "salesforce.com.evil.example",
        "evilsalesforce.com",
        "evil.example#.salesforce.com",
        "u:p@acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "acme.my.salesforce.com:8443",
    ],
)
def test_the_products_secret_goes_to_salesforce_only(given: str) -> None:
    with pytest.raises(ConfigurationError):
        SalesforceProvider.endpoints({"domain": given})


def test_a_person_is_sent_to_sign_in_and_comes_back_with_tokens(crm: SalesforceFake) -> None:
    verifier = "v" * 43
    url = sign_in_url(
        SalesforceProvider, {}, redirect_uri="https://us.example/cb", state="s", verifier=verifier
    )
    asked = dict(parse_qsl(urlsplit(url).query))
    assert asked["scope"] == "api refresh_token"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "https://us.example/cb"
    credentials = exchanged(
        SalesforceProvider,
        {"domain": "acme"},
        code="a-code",
        redirect_uri="https://us.example/cb",
        verifier=verifier,
    )
    assert credentials == {
        "domain": "acme",
        "access_token": crm.token,
        "refresh_token": crm.refresh_token,
        "instance_url": "https://acme.my.salesforce.com",
    }


@pytest.mark.parametrize("rotates", [True, False])
def test_a_refresh_token_is_replaced_where_it_was_rotated(
    crm: SalesforceFake, *, rotates: bool
) -> None:
    crm.rotates = rotates
    provider = SalesforceProvider(Access("acme", crm.credentials))
    first = crm.refresh_token
    for _ in range(2):
        crm.expire()
        provider.describe_objects()
    assert crm.renewals == 2
    assert provider.credentials["refresh_token"] == crm.refresh_token
    assert (crm.refresh_token == first) is not rotates


def test_the_api_is_where_the_last_token_says(settings: Any) -> None:
    moved = {"access_token": "b", "instance_url": "https://new.my.salesforce.com"}
    old = {"access_token": "a", "refresh_token": "r", "instance_url": "https://old.example"}
    provider = SalesforceProvider(Access("acme", old, renew=lambda used, ask: {**used, **moved}))
    assert provider.renew()
    assert provider.base_url == "https://new.my.salesforce.com"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (("invalid_grant", "expired access/refresh token"), CRMUnauthorized),
        (("invalid_grant", "token request is already being processed"), CRMUnavailable),
        (("unknown_error", "retry your request"), CRMUnavailable),
        (("invalid_client_id", "client identifier invalid"), CRMUnavailable),
    ],
)
def test_only_a_token_that_is_no_good_asks_people_to_sign_in_again(
    salesforce: SalesforceProvider,
    crm: SalesforceFake,
    refusal: tuple[str, str],
    kind: type[Exception],
) -> None:
    crm.expire()
    crm.token_refusal = refusal
    with pytest.raises(kind, match=refusal[1]) as caught:
        salesforce.describe_objects()
    assert type(caught.value) is kind


# Flows.


def test_a_flow_is_told_the_key_and_the_record_that_it_is_about(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    ref = create(salesforce)
    inputs = {"email": "ada@example.com", "tags": ["a", "b"], "score": None}
    assert salesforce.run_workflow("Welcome", inputs, key="a-key", ref=ref) is None
    given = {
        "email": "ada@example.com",
        "tags": ["a", "b"],
        "xkit_key": "a-key",
        "recordId": ref.crm_id,
    }
    assert crm.ran == [("Welcome", given)]


def test_the_record_that_a_flow_gives_back_is_what_it_made(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    made = salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)
    assert made == RecordRef("Opportunity", next(iter(crm.records["Opportunity"])))


def test_a_flow_that_fails_names_the_input_at_fault(salesforce: SalesforceProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.run_workflow("Won", {}, key="k", ref=None)
    assert [one.path for one in caught.value.errors] == ["name"]
    assert not caught.value.outcome_unknown


def test_a_failed_run_with_a_good_status_is_none_the_less_refused(
    salesforce: SalesforceProvider, crm: SalesforceFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"statusCode": "INVALID_INPUT", "message": "No.", "fields": ["name"]}
    run = {"actionName": "Won", "isSuccess": False, "errors": [error], "outputValues": None}
    monkeypatch.setattr(crm, "run_flow", lambda *_, **__: Response(200, [run]))
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)
    assert [one.path for one in caught.value.errors] == ["name"]


def test_a_flow_that_was_deactivated_meanwhile_is_refused(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    descriptions.workflows(salesforce)
    crm.inactive.add("Won")
    with pytest.raises(RejectedByCRM):
        salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)


def test_flows_are_listed_with_the_inputs_that_can_be_given(
    salesforce: SalesforceProvider,
) -> None:
    listed = {one.name: one for one in salesforce.list_workflows()}
    assert list(listed) == ["Welcome", "Won"], "one that can't be described hides no other"
    inputs = {one.name: one for one in listed["Welcome"].inputs}
    assert "contact" not in inputs, "a whole record can't be given"
    assert inputs["email"].required
    assert inputs["score"].type is RemoteType.NUMBER
    assert inputs["tags"].type is RemoteType.MULTIPICKLIST
