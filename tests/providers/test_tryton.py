"""Tryton: the conformance suite against a real server, and what is its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import need
from xkit_crm.providers.base import Access
from xkit_crm.providers.tryton import TrytonProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes import FakeCRM, Misbehaviour
from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import Response
from xkit_crm.testing.live.tryton import NotInstalled, Tryton, tryton

pytestmark = pytest.mark.service

PARTY, OPPORTUNITY = "party.party", "sale.opportunity"


class Between(FakeCRM):
    """Stands before the real one, hands on what is asked, and misbehaves when it is told to."""

    def __init__(self, server: Tryton) -> None:
        self.server = server
        self.renewals = 0
        self.requests: list[Request] = []
        self._faults: deque[Misbehaviour] = deque()
        self._seen: dict[str, str] = {}

    @property
    def credentials(self) -> dict[str, str]:
        return {**self.server.credentials, "url": self.url}

    def next_fault(self, request: Request) -> Misbehaviour | None:
        logs_in = request.body["method"] == "common.db.login"
        return self._faults.popleft() if self._faults and not logs_in else None

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        self.renewals += request.body["method"] == "common.db.login"
        self._seen = {k: v for k, v in request.headers.items() if k == "Authorization"}
        return self._ask(request.path, request.body)

    def _ask(self, path: str, body: Any) -> Response:
        found = requests.post(f"{self.server.url}{path}", json=body, headers=self._seen, timeout=30)
        try:
            return Response(found.status_code, found.json())
        except ValueError:
            return Response(found.status_code, found.text)

    def too_many(self) -> Response:
        return Response(429, "<!doctype html><title>429 Too Many Requests</title>")

    def expire(self) -> None:
        """End the session that was used last."""
        body = {"id": 1, "method": "common.db.logout", "params": []}
        assert self._ask(f"/{self.server.database}/rpc/", body).status == 200


@pytest.fixture(scope="session")
def server() -> Iterator[Tryton]:
    try:
        with tryton() as found:
            yield found
    except NotInstalled as error:
        need(False, f"Tryton: {error}")


@pytest.fixture
def crm(server: Tryton, settings: Any) -> Iterator[Between]:
    settings.XKIT_CRM = {**getattr(settings, "XKIT_CRM", {}), "PRIVATE_HOSTS": ["127.0.0.1"]}
    with Between(server) as between:
        yield between


@pytest.fixture(scope="session")
def session(server: Tryton) -> str:
    """One for all tests: to log in takes Tryton a while, on purpose."""
    body = {"id": 1, "method": "common.db.login", "params": []}
    body["params"] = [server.user, {"password": server.password}]
    found = requests.post(f"{server.url}/{server.database}/rpc/", json=body, timeout=30).json()
    number, token, _ = found["result"]
    return f"{number}:{token}"


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
