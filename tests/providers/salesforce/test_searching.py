"""Salesforce: searches."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.providers.salesforce.conftest import contains, create, draft, equals, found
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.fakes.salesforce import SalesforceFake


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
