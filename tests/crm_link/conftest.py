"""CRM Link without a browser: what its pages answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

import xkit_crm
from xkit_crm.providers.sandbox.standard import ensure_org

ORIGIN = "http://testserver"


class Visitor:
    """Somebody in CRM Link: `at` is where their session's pages are."""

    def __init__(self, client: Client, connection_id: str = "acme", context: str = "workspace-1"):
        self.client = client
        self.connection_id = connection_id
        self.context = context
        self.at = ""

    def start(self, token: str | None = None, **fields: Any) -> Any:
        """What `linkCRM()` posts."""
        token = xkit_crm.link_token(self.context, author="Ada") if token is None else token
        sent = {"token": token, "origin": ORIGIN, "connectionID": self.connection_id, **fields}
        answer = self.client.post(
            "/crm-link/start", {k: v for k, v in sent.items() if v is not None}
        )
        if answer.status_code == 303:
            self.at = answer.headers["Location"]
        return answer

    def connect(self) -> None:
        """Come in and connect the sandbox."""
        self.start()
        self.client.post(f"{self.at}crms/sandbox/", {})

    def get(self, path: str = "", **query: Any) -> Any:
        return self.client.get(f"{self.at}{path}", query)

    def part(self, path: str, **query: Any) -> Any:
        """A part of a page, as htmx asks for it."""
        return self.client.get(f"{self.at}{path}", query, HTTP_HX_REQUEST="true")

    def part_post(self, path: str, data: dict[str, Any]) -> Any:
        """What htmx posts."""
        return self.post(path, data, HTTP_HX_REQUEST="true")

    def post(self, path: str, data: dict[str, Any] | None = None, **named: Any) -> Any:
        return self.client.post(f"{self.at}{path}", data or {}, **named)


@pytest.fixture
def visitor(definitions: None, client: Client) -> Visitor:
    """Somebody of the customer `workspace-1`, who has not come in yet."""
    return Visitor(client)


@pytest.fixture
def inside(visitor: Visitor) -> Visitor:
    """The same, with the sandbox connected and nothing confirmed."""
    ensure_org("acme")
    visitor.connect()
    return visitor


def text(answer: HttpResponse) -> str:
    return answer.content.decode()
