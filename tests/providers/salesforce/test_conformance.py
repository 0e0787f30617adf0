"""Salesforce: the conformance suite against its fake."""

from __future__ import annotations

import pytest

from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.salesforce import SalesforceFake

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
