"""Pipedrive: the conformance suite against its fake."""

from __future__ import annotations

import pytest

from tests.providers.pipedrive.conftest import BUDGET, CALL, HOLIDAY, HOME
from xkit_crm.providers.base import Access
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of

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
