"""XkitClient against the running API, and `invoke()` through it to another deployment."""

from __future__ import annotations

from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from django.db import transaction
from requests import Request

import xkit_crm
from xkit_crm.client import XkitClient
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMUnavailable,
    Malformed,
    PayloadInvalid,
    Unauthenticated,
    UnknownConnection,
    UnknownRecord,
)
from xkit_crm.models import APIKey, Connection, Invocation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(sandbox: Connection, live_server: Any) -> XkitClient:
    key, secret = APIKey.objects.issue("client")
    return XkitClient(f"{live_server.url}/api/v1", key.publishable_key, secret)


def test_an_event_is_fired_and_its_record_read(client: XkitClient) -> None:
    answer = client.invoke("acme", "opportunity", "deal_created", {"name": "Sales"})
    record = answer["record"]
    assert record["data"]["document_name"] == "Sales"
    assert client.record("acme", "opportunity", record["id"])["record"] == record
    updated = client.invoke(
        "acme", "opportunity", "deal_updated", {"name": "Renamed"}, record["id"]
    )
    assert updated["record"]["data"]["document_name"] == "Renamed"


def test_pythons_own_values_become_json(client: XkitClient) -> None:
    payload = {"name": "Sales", "amount": Decimal("12.50")}
    client.invoke("acme", "opportunity", "deal_created", payload)
    assert Invocation.objects.get().payload == {"name": "Sales", "amount": 12.5}
    with pytest.raises(PayloadInvalid):
        client.invoke("acme", "opportunity", "deal_created", {"name": object()})


def test_connections_are_read(client: XkitClient) -> None:
    assert [found["id"] for found in client.connections()] == ["acme"]
    assert client.connections("nobody") == []
    assert client.connection("acme")["status"] == "enabled"


def test_a_preview_writes_nothing(client: XkitClient) -> None:
    preview = client.preview("acme", "opportunity", "deal_created", {"name": "Sales"})
    assert preview["values"]["Name"] == "Sales"
    assert not Invocation.objects.exists()


def test_errors_come_back_as_what_they_are(client: XkitClient) -> None:
    with pytest.raises(UnknownConnection) as unknown:
        client.invoke("nobody", "opportunity", "deal_created", {})
    assert unknown.value.hint
    with pytest.raises(PayloadInvalid) as invalid:
        client.invoke("acme", "opportunity", "deal_created", {"name": 1})
    assert invalid.value.errors[0].path == "payload.name"
    with pytest.raises(UnknownRecord):
        client.record("acme", "opportunity", "Opportunity:99999")


def test_a_wrong_secret_is_unauthenticated(client: XkitClient) -> None:
    client.session.auth = ("xpk_wrong", "xsk_wrong")
    with pytest.raises(Unauthenticated):
        client.connections()


def test_a_call_that_is_repeated_is_carried_out_once(client: XkitClient) -> None:
    for _ in range(2):
        client.invoke("acme", "opportunity", "deal_created", {"name": "x"}, idempotency_key="k")
    assert Invocation.objects.count() == 1


def test_a_lost_answer_is_asked_for_again_without_doing_it_twice(client: XkitClient) -> None:
    class LosesTheFirstAnswer(requests.adapters.HTTPAdapter):
        lost = False

        def send(self, request: Request, **options: Any) -> Any:  # type: ignore[override]
            response = super().send(request, **options)
            if not self.lost:
                self.lost = True
                raise requests.ConnectionError("the line went dead")
            return response

    client.session.mount("http://", LosesTheFirstAnswer())
    answer = client.invoke("acme", "opportunity", "deal_created", {"name": "Once"})
    assert answer["record"]["data"]["document_name"] == "Once"
    assert Invocation.objects.count() == 1


def test_a_deployment_that_is_not_there_is_unavailable() -> None:
    client = XkitClient("http://127.0.0.1:9/api/v1", "xpk", "xsk", retries=0)
    with pytest.raises(CRMUnavailable, match=r"127\.0\.0\.1:9"):
        client.connections()


def test_an_address_that_is_something_else_is_said(client: XkitClient) -> None:
    client.base_url = client.base_url.removesuffix("/api/v1") + "/nothing"
    with pytest.raises(Malformed, match="404"):
        client.connections()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ftp"):
        XkitClient("ftp://crm.example.com", "xpk", "xsk")


def test_the_secret_is_in_no_repr(client: XkitClient) -> None:
    assert "xsk" not in repr(client)


def test_invoke_goes_to_the_deployment_that_the_settings_name(
    sandbox: Connection, live_server: Any, settings: Any
) -> None:
    key, secret = APIKey.objects.issue("product")
    settings.XKIT_CRM = {
        **settings.XKIT_CRM,
        "REMOTE": {
            "base_url": f"{live_server.url}/api/v1",
            "publishable_key": key.publishable_key,
            "secret_key": secret,
        },
    }
    invocation = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Far"})
    assert invocation.pk is None
    assert invocation.status == "succeeded"
    assert invocation.record is not None
    assert invocation.record.data["document_name"] == "Far"
    stored = Invocation.objects.get()
    assert str(stored.uuid) == invocation.uuid
    assert stored.source == "api"
    with pytest.raises(PayloadInvalid):
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": 1})


class Broken(BaseHTTPRequestHandler):
    """A deployment whose answer is lost on the way."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/truncated/"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nab")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("how", ["dropped", "truncated"])
def test_a_request_that_was_sent_and_not_answered_has_an_unknown_outcome(how: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{how}"
        client = XkitClient(address, "xpk", "xsk", retries=0)
        with pytest.raises(CRMUnavailable) as raised:
            client.invoke("acme", "opportunity", "deal_created", {})
        server.shutdown()
    assert raised.value.outcome_unknown


def test_inside_a_transaction_nothing_is_sent_to_another_deployment(settings: Any) -> None:
    settings.XKIT_CRM = {
        **settings.XKIT_CRM,
        "REMOTE": {
            "base_url": "http://127.0.0.1:9/api/v1",
            "publishable_key": "xpk",
            "secret_key": "xsk",
        },
    }
    with pytest.raises(ConfigurationError, match="on_commit"), transaction.atomic():
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
