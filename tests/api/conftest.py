"""A caller of the HTTP API, with a key."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from xkit_crm.models import APIKey, Connection

ROOT = "/api/v1/crm"


def basic(publishable_key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{publishable_key}:{secret}".encode()).decode()


@dataclass
class Caller:
    """Sends JSON with a key, as curl would."""

    client: Client
    authorization: str

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(
            f"{ROOT}/{path}", query, headers={"Authorization": self.authorization}
        )

    def post(self, path: str, body: Any, **headers: str) -> Any:
        raw = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(
            f"{ROOT}/{path}",
            raw,
            content_type="application/json",
            headers={"Authorization": self.authorization, **headers},
        )


@pytest.fixture
def api_key(db: None) -> tuple[APIKey, str]:
    return APIKey.objects.issue("tests")


@pytest.fixture
def caller(api_key: tuple[APIKey, str]) -> Caller:
    key, secret = api_key
    return Caller(Client(), basic(key.publishable_key, secret))


@pytest.fixture
def opportunity(sandbox: Connection, caller: Caller) -> str:
    """The id of a record that exists."""
    answer = caller.post(
        "acme/objects/opportunity/events/deal_created", {"payload": {"name": "Sales Contract"}}
    ).json()
    return answer["record"]["id"]
