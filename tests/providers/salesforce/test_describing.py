"""Salesforce: what it says of itself."""

from __future__ import annotations

from xkit_crm.providers.salesforce.provider import SalesforceProvider


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
