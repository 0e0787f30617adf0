"""Which addresses a CRM may be called at."""

from __future__ import annotations

import socket

import pytest

from xkit_crm.exceptions import ConfigurationError, CRMUnavailable
from xkit_crm.providers.addresses import is_public
from xkit_crm.providers.http import request


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
    assert is_public(address) is public


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
