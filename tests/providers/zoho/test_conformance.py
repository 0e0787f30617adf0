"""Zoho CRM: the conformance suite against its fake."""

from __future__ import annotations

import pytest

from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes.zoho import ZohoFake


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
