"""HubSpot: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import Access
from xkit_crm.providers.hubspot import HubSpotProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.hubspot import HubSpotFake


@pytest.fixture
def crm(settings: Any) -> Iterator[HubSpotFake]:
    with at_work(HubSpotFake(), "hubspot", settings) as fake:
        yield fake


SUBJECT = Subject(
    remote_object="contacts",
    text="lastname",
    values={
        "lastname": "Lovelace",
        "email": "ada@example.com",
        "phone": "+44 20 7946 0000",
        "message": "First line\nsecond line",
        "numemployees_guess": 12,
        "annual_budget": 1234.5,
        "birthday": "1815-12-10",
        "last_visit": "2026-11-02T08:15:30Z",
        "newsletter": True,
        "lifecyclestage": "lead",
        "interests": ["crm", "support"],
        "hubspot_owner_id": "4711",
    },
    changes={"firstname": "Ada", "newsletter": False, "interests": ["billing"], "message": None},
    refused={"numemployees_guess": "many"},
    at_fault="numemployees_guess",
    long_text="message",
    workflow="501",
    inputs={"email": "ada@example.com"},
)


class TestServiceKey(ProviderConformance):
    subject = SUBJECT

    @pytest.fixture
    def make(self, crm: HubSpotFake) -> Make:
        return lambda: HubSpotProvider(Access("acme", crm.credentials))


class TestSignedIn(ProviderConformance):
    subject = SUBJECT

    @pytest.fixture
    def make(self, crm: HubSpotFake) -> Make:
        return lambda: HubSpotProvider(Access("acme", crm.signed_in))
