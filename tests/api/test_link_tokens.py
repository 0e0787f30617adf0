"""`POST crm/link-tokens`: a token that opens CRM Link for one context."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Caller, basic
from tests.factories import ConnectionFactory
from xkit_crm.crm_link.tokens import open_session
from xkit_crm.models import APIKey

pytestmark = pytest.mark.django_db


def test_a_token_opens_crm_link_for_its_context(caller: Caller) -> None:
    answer = caller.post("link-tokens", {"context": "workspace-1", "author": "Ada"})
    assert answer.status_code == 201
    session = open_session(answer.json()["token"], origin="https://app.example.com")
    assert (session.context, session.author) == ("workspace-1", "Ada")
    assert answer.json()["expires_at"].endswith("Z")


def test_a_token_may_be_for_one_connection(caller: Caller) -> None:
    answer = caller.post("link-tokens", {"context": "workspace-1", "connection": "acme"})
    assert open_session(answer.json()["token"], origin="x").connection_id == "acme"


@pytest.mark.parametrize("body", [{}, {"context": ""}, {"context": None}, [], "x", {"context": {}}])
def test_what_names_no_context_is_refused(caller: Caller, body: Any) -> None:
    answer = caller.post("link-tokens", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed"


def test_a_misspelled_key_opens_nothing(caller: Caller) -> None:
    answer = caller.post("link-tokens", {"context": "workspace-1", "conection": "acme"})
    assert answer.status_code == 400
    assert [problem["path"] for problem in answer.json()["error"]["errors"]] == ["conection"]


def test_what_is_no_json_is_not_told_to_send_a_payload(caller: Caller) -> None:
    answer = caller.post("link-tokens", "{")
    assert "payload" not in answer.json()["error"]["hint"]


def test_another_contexts_connection_is_unknown(caller: Caller) -> None:
    ConnectionFactory.create(id="theirs", context="workspace-2")
    answer = caller.post("link-tokens", {"context": "workspace-1", "connection": "theirs"})
    assert answer.status_code == 404


def test_a_key_for_some_contexts_makes_no_tokens_for_others(client: Any) -> None:
    key, secret = APIKey.objects.issue("limited", contexts=["workspace-1"])
    limited = Caller(client, basic(key.publishable_key, secret))
    assert limited.post("link-tokens", {"context": "workspace-1"}).status_code == 201
    answer = limited.post("link-tokens", {"context": "workspace-2"})
    assert answer.status_code == 404
