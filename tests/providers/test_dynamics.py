"""Dynamics 365: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.dynamics import DynamicsProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.dynamics import WELCOME, DynamicsFake

VENUE = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0001"
USER = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0002"
NOBODY = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0003"


@pytest.fixture
def crm(settings: Any) -> Iterator[DynamicsFake]:
    fake = DynamicsFake()
    fake.records["account"][VENUE] = {"accountid": VENUE, "name": "Contoso"}
    fake.records["systemuser"][USER] = {"systemuserid": USER, "fullname": "Ada"}
    with at_work(fake, "dynamics", settings):
        yield fake


class TestSignedIn(ProviderConformance):
    subject = Subject(
        remote_object="contact",
        text="lastname",
        values={
            "lastname": "Lovelace",
            "emailaddress1": "ada@example.com",
            "telephone1": "+44 20 7946 0000",
            "websiteurl": "https://example.com/ada?x=1&y=2",
            "description": "First line\nsecond line",
            "numberofchildren": 3,
            "creditlimit": 1234.5,
            "xk_score": 0.25,
            "birthdate": "1815-12-10",
            "lastusedincampaign": "2026-11-02T08:15:30Z",
            "donotemail": True,
            "gendercode": "2",
            "xk_interests": ["100", "300"],
            "parentcustomerid": f"account:{VENUE}",
            "xk_venueid": VENUE,
            "ownerid": f"systemuser:{USER}",
        },
        changes={
            "firstname": "Ada",
            "donotemail": False,
            "xk_interests": ["200"],
            "description": None,
            "gendercode": None,
            "birthdate": None,
            "parentcustomerid": None,
            "xk_venueid": None,
        },
        refused={"numberofchildren": "many"},
        at_fault="numberofchildren",
        long_text="description",
        no_such_id=NOBODY,
        workflow=WELCOME,
    )

    @pytest.fixture
    def make(self, crm: DynamicsFake) -> Make:
        return lambda: DynamicsProvider(Access("acme", crm.signed_in))
