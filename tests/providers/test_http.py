"""The one way to call a CRM over HTTP, and what comes of its answers."""

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
from xkit_crm.providers.http import Answer, HTTPProvider, request, seconds_until


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


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("ahead", [-timedelta(hours=1), timedelta(), timedelta(hours=1)])
def test_a_date_to_retry_at_is_by_the_clock_of_the_crm(ahead: timedelta) -> None:
    theirs = datetime.now(UTC) + ahead
    dates = {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry_After": format_datetime(theirs + timedelta(seconds=60), usegmt=True),
    }
    with answering(said("429 Too Many", **dates)) as url, pytest.raises(RateLimited) as caught:
        vendor(url).call("GET", "/things")
    assert caught.value.retry_after == 60


def test_a_clock_that_makes_no_sense_is_taken_for_ours() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (seconds_until(later, clock="noon") or 0) <= 61


@pytest.mark.usefixtures("named")
def test_headers_that_make_no_sense_undo_no_write() -> None:
    class Counting(Vendor):
        def note(self, answer: Answer) -> None:
            self.usage.resets_at = datetime.now(UTC) + timedelta(seconds=int(answer.headers["X"]))

    with answering(said("201 Created", b'{"id": 1}', X="9" * 20)) as url:
        made: Any = Counting(Access("acme", {"token": "t"}))  # type: ignore[abstract]
        made.options = {"base_url": url}
        assert made.call("POST", "/things", {}).body == {"id": 1}


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
