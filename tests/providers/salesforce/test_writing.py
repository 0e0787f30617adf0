"""Salesforce: values, and what it says to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.salesforce.conftest import create, draft
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import (
    Access,
    Draft,
    Edit,
    RecordRef,
)
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.salesforce import SalesforceFake
from xkit_crm.testing.fakes.server import Response


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
