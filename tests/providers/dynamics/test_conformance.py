"""Dynamics 365: the conformance suite against its fake."""

from __future__ import annotations

import pytest

from tests.providers.dynamics.conftest import NOBODY, USER, VENUE
from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.dynamics import WELCOME, DynamicsFake


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
