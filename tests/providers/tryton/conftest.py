"""Tryton: what its tests share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.conftest import need
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.tryton import TrytonProvider
from xkit_crm.testing.fakes import FakeCRM, Misbehaviour
from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import Response
from xkit_crm.testing.live.tryton import NotInstalled, Tryton, tryton

PARTY, OPPORTUNITY = "party.party", "sale.opportunity"


class Between(FakeCRM):
    """Stands before the real one, hands on what is asked, and misbehaves when it is told to."""

    def __init__(self, server: Tryton) -> None:
        self.server = server
        self.renewals = 0
        self.requests: list[Request] = []
        self._faults: deque[Misbehaviour] = deque()
        self._said: deque[Any] = deque()
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
        if self._said:
            return Response(200, self._said.popleft())
        return self._ask(request.path, request.body)

    def _ask(self, path: str, body: Any) -> Response:
        found = requests.post(f"{self.server.url}{path}", json=body, headers=self._seen, timeout=30)
        try:
            return Response(found.status_code, found.json())
        except ValueError:
            return Response(found.status_code, found.text)

    def too_many(self) -> Response:
        return Response(429, "<!doctype html><title>429 Too Many Requests</title>")

    def unauthorised(self) -> Response:
        raise AssertionError("the real one behind says so itself")

    def say(self, body: Any) -> None:
        """Answer the next request with this."""
        self._said.append(body)

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does to a party: the wizard "Replace"."""
        if remote_object != PARTY:
            return False
        (held,) = self.server.as_admin(f"model.{PARTY}.read", [int(kept)], ["name"], {})
        named = {"name": held["name"]}  # it warns of different names
        self.server.as_admin(f"model.{PARTY}.write", [int(merged)], named, {})
        wizard = "wizard.party.replace"
        number, first, _ = self.server.as_admin(f"{wizard}.create", {})
        said = {first: {"source": int(merged), "destination": int(kept)}}
        self.server.as_admin(f"{wizard}.execute", number, said, "replace", {})
        return True

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


@pytest.fixture
def provider(crm: Between, session: str) -> TrytonProvider:
    return TrytonProvider(Access("acme", {**crm.credentials, "session": session}))


def party(provider: TrytonProvider, **values: Any) -> RecordRef:
    return provider.create(PARTY, {"name": "Ada", **values}, key=str(uuid4()))


def opportunity(provider: TrytonProvider, **values: Any) -> RecordRef:
    given = {"description": "Forty licences", "party": "1", "employee": "1", **values}
    return provider.create(OPPORTUNITY, given, key=str(uuid4()))


def asked(crm: Between, method: str) -> list[Any]:
    """What the requests of this method were given."""
    found = [one.body for one in crm.requests]
    return [one["params"] for one in found if one["method"].endswith(method)]
