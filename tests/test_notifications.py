"""Webhooks: the product's endpoint hears of a connection's status, signed, until it says yes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

import xkit_crm
from xkit_crm.connections import disconnect, set_status
from xkit_crm.models import Connection, Notification
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.notifications import send_due, signature

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()


@dataclass
class Endpoint:
    """The product's side: what it was told, and what it answers."""

    url: str = ""
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    found = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/crm"
        webhook = {"url": found.url, "secret": SECRET}
        settings.XKIT_CRM = {**settings.XKIT_CRM, "WEBHOOK": webhook}
        yield found
        server.shutdown()
        thread.join(5)


@pytest.fixture
def acme(endpoint: Endpoint, definitions: None) -> Connection:
    return xkit_crm.connect("acme", provider="sandbox", context="workspace-1")


def later(time: timedelta) -> None:
    """So much time goes by."""
    Notification.objects.update(due_at=timezone.now() - time)


def test_the_endpoint_is_told_of_each_change_in_the_references_form(
    acme: Connection, endpoint: Endpoint
) -> None:
    set_status(acme, ConnectionStatus.ERRORED, "The CRM answered 401.")
    disconnect(acme, "Disconnected by the customer.")
    assert send_due() == 3
    assert [body["event_type"] for body in endpoint.bodies] == [
        "connection.enabled",
        "connection.errored",
        "connection.disabled",
    ]
    assert endpoint.bodies[1]["payload"] == {
        "connector_slug": "sandbox",
        "context_external_id": "workspace-1",
        "connection_external_id": "acme",
        "reason": "The CRM answered 401.",
    }
    assert send_due() == 0


def test_the_signature_can_be_checked_by_the_standard(acme: Connection, endpoint: Endpoint) -> None:
    send_due()
    headers, body = endpoint.heard[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{proof}"
    assert headers["webhook-id"] == str(Notification.objects.get().uuid)


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """The test vector of the Standard Webhooks specification's reference libraries."""
    assert (
        signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            body=b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("answer", [500, 404, 301])
def test_what_was_not_heard_is_said_again(
    acme: Connection, endpoint: Endpoint, answer: int
) -> None:
    endpoint.answers = [answer]
    assert send_due() == 1
    told = Notification.objects.get()
    assert (told.status, told.tries) == ("pending", 1)
    assert str(answer) in told.error
    later(timedelta())
    assert send_due() == 1
    assert endpoint.heard[0][0]["webhook-id"] == endpoint.heard[1][0]["webhook-id"]
    assert Notification.objects.get().status == "delivered"


def test_after_twenty_retries_it_is_given_up(acme: Connection, endpoint: Endpoint) -> None:
    endpoint.answers = [503] * 100
    for _ in range(30):
        later(timedelta())
        send_due()
    told = Notification.objects.get()
    assert (told.status, told.tries) == ("failed", 21)
    assert len(endpoint.heard) == 21


def test_an_endpoint_that_is_not_there_fails_nobody(
    acme: Connection, endpoint: Endpoint, settings: Any
) -> None:
    webhook = {"url": "http://127.0.0.1:9/", "secret": SECRET}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "WEBHOOK": webhook}
    assert send_due() == 1
    assert "No answer" in Notification.objects.get().error


@pytest.mark.parametrize("secret", ["whsec_abc", "whsec_...", "whsec_", ""])
def test_a_secret_that_signs_nothing_stops_nobody(
    acme: Connection, endpoint: Endpoint, settings: Any, secret: str
) -> None:
    webhook = {"url": endpoint.url, "secret": secret}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "WEBHOOK": webhook}
    set_status(acme, ConnectionStatus.ERRORED, "No.")
    assert send_due() == 2
    assert not endpoint.heard
    for told in Notification.objects.all():
        assert (told.status, told.tries) == ("pending", 1)
        assert "can't be signed" in told.error


def test_no_password_of_the_account_it_runs_under_is_sent(
    acme: Connection, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password lovelace\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert send_due() == 1
    assert "authorization" not in endpoint.heard[0][0]


def test_a_change_that_is_rolled_back_is_not_told(acme: Connection, endpoint: Endpoint) -> None:
    from django.db import transaction

    send_due()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        set_status(acme, ConnectionStatus.DISABLED, "No.")
        raise ZeroDivisionError
    assert send_due() == 0


def test_without_a_worker_it_is_told_at_the_commit(
    endpoint: Endpoint, definitions: None, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "immediate"}
    xkit_crm.connect("acme", provider="sandbox")
    assert [body["event_type"] for body in endpoint.bodies] == ["connection.enabled"]


def test_nobody_is_told_where_there_is_no_endpoint(definitions: None) -> None:
    xkit_crm.connect("acme", provider="sandbox")
    assert not Notification.objects.exists()
    assert send_due() == 0
