"""Tryton: the conformance suite against a real server, a process beside this one."""

from __future__ import annotations

import sys

import pytest

from tests.providers.tryton.conftest import OPPORTUNITY, PARTY, Between
from xkit_crm.providers.base import Access
from xkit_crm.providers.tryton import TrytonProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.live.tryton import Tryton

pytestmark = pytest.mark.service


class TrytonConformance(ProviderConformance):
    @pytest.fixture
    def make(self, crm: Between, session: str) -> Make:
        return lambda: TrytonProvider(Access("acme", {**crm.credentials, "session": session}))

    def test_a_token_that_has_ended_is_renewed_or_told(  # type: ignore[override]
        self, crm: Between
    ) -> None:
        provider = TrytonProvider(Access("acme", crm.credentials))
        ref = self._create(provider)
        assert crm.renewals == 1
        crm.expire()
        provider.get(ref, [self.subject.text])
        assert crm.renewals == 2


class TestParties(TrytonConformance):
    subject = Subject(
        remote_object=PARTY,
        text="name",
        values={
            "name": "Lovelace",
            "email": "ada@example.com",
            "phone": "+442079460000",
            "sale_invoice_method": "order",
            "active": True,
            "lang": "1",
        },
        changes={"name": "Byron", "sale_invoice_method": None, "active": False},
        long_text="name",
        refused={"sale_invoice_method": "whenever"},
        at_fault="sale_invoice_method",
    )


class TestOpportunities(TrytonConformance):
    subject = Subject(
        remote_object=OPPORTUNITY,
        text="description",
        values={
            "description": "Forty licences",
            "reference": "A-1",
            "comment": "First line\nsecond line",
            "amount": 1234.5,
            "conversion_probability": 0.25,
            "end_date": "2026-12-31",
            "party": "1",
            "currency": "1",
        },
        changes={"amount": None, "conversion_probability": 1, "end_date": "2027-01-31"},
        refused={"conversion_probability": 2},
        at_fault="conversion_probability",
        long_text="comment",
        workflow="sale.opportunity.lost",
    )


def test_tryton_is_a_process_beside_and_never_imported(server: Tryton) -> None:
    assert not [name for name in sys.modules if name.split(".")[0] == "trytond"]
