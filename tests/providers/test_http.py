"""The one way to call a CRM over HTTP: what may be called, and what comes of its answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import http
from xkit_crm.providers.base import Access
from xkit_crm.providers.http import HTTPProvider, request, seconds_until


@contextmanager
def answering(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that gives these answers, one a connection; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            for answer in answers:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                with taken:
                    taken.settimeout(5)
                    taken.recv(65536)
                    if callable(answer):
                        answer(taken)
                    else:
                        taken.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    thread.join(5)


def said(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def named(settings: Any) -> None:
    """The operator has named this machine."""
    settings.XKIT_CRM = {**getattr(settings, "XKIT_CRM", {}), "PRIVATE_HOSTS": ["127.0.0.1"]}


class Vendor(HTTPProvider):
    slug = "vendor"
    label = "The vendor"

    def authorisation(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.access.credentials['token']}"}


# The suite of a whole provider is elsewhere: here nothing but requests is made.
Vendor.__abstractmethods__ = frozenset()


def vendor(url: str, **credentials: Any) -> Any:
    made: Any = Vendor(Access("acme", {"token": "a-secret-token", **credentials}))  # type: ignore[abstract]
    made.options = {"base_url": url}
    return made


# -- what may be called -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1/",
        "https://localhost:1/",
        "https://[::1]:1/",
        "https://0.0.0.0:1/",
        "https://2130706433:1/",
    ],
)
def test_this_machine_is_not_called(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises((ConfigurationError, CRMUnavailable)) as caught:
            request("GET", url.replace(":1/", f":{port}/"))
        assert heard(server) == b""
    assert not caught.value.outcome_unknown


def heard(server: socket.socket) -> bytes:
    """What a server was told by who has connected to it, if anybody has."""
    server.settimeout(0.1)
    try:
        taken, _ = server.accept()
    except TimeoutError:
        return b""
    with taken:
        taken.settimeout(0.1)
        return taken.recv(100)


def test_a_name_that_leads_inside_is_judged_by_where_it_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        looked_up = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: looked_up)
        with pytest.raises(ConfigurationError, match="private network") as caught:
            request("GET", f"https://crm.example:{port}/")
    assert "PRIVATE_HOSTS" in caught.value.hint


def test_whether_a_door_inside_is_open_is_nobodys_to_know() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError) as opened:
            request("GET", f"https://127.0.0.1:{port}/")
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    with pytest.raises(ConfigurationError) as closed:
        request("GET", f"https://127.0.0.1:{port}/")
    assert str(opened.value) == str(closed.value)


@pytest.mark.parametrize(
    "url",
    ["http://crm.example/", "ftp://crm.example/", "https://", "https://user:pass@crm.example/"],
)
def test_only_https_is_called_and_nothing_that_is_no_address(url: str) -> None:
    with pytest.raises(ConfigurationError):
        request("GET", url)


@pytest.mark.usefixtures("named")
def test_a_host_that_the_operator_named_is_called_over_plain_http() -> None:
    with answering(said("200 OK", b'{"a": 1}')) as url:
        assert request("GET", url).body == {"a": 1}


# -- answers that are none ------------------------------------------------------------------------


@pytest.mark.usefixtures("named")
def test_nothing_is_followed_to_another_host() -> None:
    away = said("302 Found", Location="https://elsewhere.example/login?token=abc")
    with answering(away) as url, pytest.raises(CRMError, match=r"elsewhere\.example") as caught:
        request("POST", url, body={})
    assert "token=abc" not in str(caught.value)
    assert not caught.value.outcome_unknown


@pytest.mark.usefixtures("named")
def test_an_answer_that_never_ends_is_given_up() -> None:
    def drip(taken: socket.socket) -> None:
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(60):
            try:
                taken.sendall(b" ")
            except OSError:
                return
            time.sleep(0.05)

    began = time.monotonic()
    with answering(drip) as url, pytest.raises(CRMUnavailable, match="too long") as caught:
        request("POST", url, body={}, timeout=(0.2, 0.5))
    assert caught.value.outcome_unknown
    assert time.monotonic() - began < 3


@pytest.mark.usefixtures("named")
def test_an_answer_that_never_begins_is_given_up() -> None:
    with (
        answering(lambda taken: time.sleep(1.0)) as url,
        pytest.raises(CRMUnavailable) as caught,
    ):
        request("POST", url, body={}, timeout=(0.2, 0.2))
    assert caught.value.outcome_unknown


@pytest.mark.usefixtures("named")
def test_no_more_is_read_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER", 100_000)
    with (
        answering(said("200 OK", b"x" * 300_000)) as url,
        pytest.raises(CRMError, match="larger than"),
    ):
        request("GET", url)


def test_who_does_not_listen_was_told_nothing(settings: Any) -> None:
    settings.XKIT_CRM = {"PRIVATE_HOSTS": ["127.0.0.1"]}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(CRMUnavailable) as caught:
        request("POST", f"http://127.0.0.1:{port}/", body={})
    assert not caught.value.outcome_unknown


@pytest.mark.usefixtures("named")
def test_a_certificate_that_can_not_be_trusted_is_told_as_that() -> None:
    def not_tls(taken: socket.socket) -> None:
        taken.sendall(b"this is no handshake")

    with answering(not_tls) as url, pytest.raises(CRMUnavailable) as caught:
        request("POST", url.replace("http://", "https://"), body={})
    assert "certificate" in caught.value.message
    assert not caught.value.outcome_unknown


@pytest.mark.usefixtures("named")
def test_cookies_of_one_customers_crm_are_not_sent_for_another() -> None:
    seen: list[bytes] = []

    def note(taken: socket.socket) -> None:
        taken.sendall(said("200 OK", b"{}"))

    with answering(said("200 OK", b"{}", Set_Cookie="session=first; Path=/")) as url:
        request("GET", url)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            taken, _ = server.accept()
            with taken:
                seen.append(taken.recv(65536))
                note(taken)

        thread = threading.Thread(target=serve)
        thread.start()
        request("GET", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(5)
    assert b"Cookie" not in seen[0]


# -- typed errors ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("status", "kind", "in_doubt"),
    [
        ("400 Bad Request", RejectedByCRM, False),
        ("401 Unauthorized", CRMUnauthorized, False),
        ("403 Forbidden", RejectedByCRM, False),
        ("404 Not Found", RemoteRecordNotFound, False),
        ("409 Conflict", RejectedByCRM, False),
        ("422 Unprocessable", RejectedByCRM, False),
        ("423 Locked", RecordLocked, False),
        ("429 Too Many", RateLimited, False),
        ("500 Internal", CRMUnavailable, True),
        ("502 Bad Gateway", CRMUnavailable, True),
        ("503 Unavailable", CRMUnavailable, False),
        ("504 Timeout", CRMUnavailable, True),
        ("418 Teapot", CRMError, False),
    ],
)
def test_each_status_is_an_error_of_its_kind(
    status: str, kind: type[CRMError], in_doubt: bool
) -> None:
    with answering(said(status, b'{"message": "no"}')) as url, pytest.raises(kind) as caught:
        vendor(url).call("POST", "/things", {"a": 1})
    assert caught.value.outcome_unknown is in_doubt
    assert "The vendor" in caught.value.message
    assert "a-secret-token" not in str(caught.value)


@pytest.mark.usefixtures("named")
def test_what_only_reads_is_never_in_doubt() -> None:
    with answering(said("502 Bad Gateway")) as url, pytest.raises(CRMUnavailable) as caught:
        vendor(url).call("POST", "/search", {}, writes=False)
    assert not caught.value.outcome_unknown


@pytest.mark.usefixtures("named")
def test_new_credentials_are_tried_once() -> None:
    class Renewing(Vendor):
        renewed = 0

        def renew(self) -> bool:
            self.renewed += 1
            return True

    refused = said("401 Unauthorized")
    with answering(refused, said("200 OK", b"[]")) as url:
        made: Any = Renewing(Access("acme", {"token": "t"}))  # type: ignore[abstract]
        made.options = {"base_url": url}
        assert made.call("GET", "/").body == []
        assert (made.renewed, made.usage.requests) == (1, 2)
    with answering(refused, refused) as url, pytest.raises(CRMUnauthorized):
        made.options = {"base_url": url}
        made.call("GET", "/")
    assert made.renewed == 2


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_until("2.5") == 2.5
    assert seconds_until("-3") == 0
    later = datetime.now(UTC) + timedelta(seconds=60)
    assert 55 < (seconds_until(format_datetime(later, usegmt=True)) or 0) <= 61
    assert seconds_until(None) is None
    assert seconds_until("soon") is None
    assert seconds_until("nan") is None
    assert seconds_until("inf") == seconds_until("1e308") == 24 * 3600
    assert seconds_until("99999999999") == 24 * 3600


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::a00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),
        ("::127.0.0.1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("224.0.0.1", False),
    ],
)
def test_an_address_is_public_by_where_it_leads(address: str, public: bool) -> None:
    assert http.is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "https://[",
        "https://acme..odoo.com/",
        f"https://{'a' * 64}.example/",
        "https://crm.example:port/",
    ],
)
def test_what_is_no_address_is_told_as_that(url: str) -> None:
    with pytest.raises(ConfigurationError):
        request("GET", url)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("token", ["copied\n", "one\r\nX-Other: two", "zero\u200bwidth", "three…"])
def test_credentials_that_can_not_be_sent_are_told_as_that(token: str) -> None:
    with answering() as url, pytest.raises(CRMUnauthorized, match="can't be sent") as caught:
        vendor(url, token=token).call("GET", "/")
    assert token not in str(caught.value)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("path", ["/things/..", "/things/%2e%2e/more", "/./things", "/.."])
def test_nothing_climbs_to_another_place_of_the_api(path: str) -> None:
    with answering() as url, pytest.raises(RemoteRecordNotFound):
        vendor(url).call("DELETE", path)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    "answer",
    [
        said("304 Not Modified"),
        said("302 Found", Location="https://["),
        said("200 OK", b"[" * 200_000),
    ],
)
def test_nonsense_is_an_error_of_the_crm(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(CRMError):
        vendor(url).call("GET", "/")
