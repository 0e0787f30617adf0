"""Signing in at the vendor's: away in a window of its own, and back with what lets us in."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from django.test import Client

import xkit_crm
from tests.crm_link.conftest import Visitor
from tests.providers.vendors import at_work
from xkit_crm.models import Connection
from xkit_crm.testing.fakes.hubspot import HubSpotFake
from xkit_crm.testing.fakes.server import Response


@pytest.fixture
def crm(settings: Any) -> Iterator[HubSpotFake]:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "LINK_CRMS": ["hubspot"]}
    with at_work(HubSpotFake(), "hubspot", settings) as fake:
        yield fake


@pytest.fixture
def at_the_door(visitor: Visitor, crm: HubSpotFake) -> Visitor:
    """Somebody who looks at the page where they can sign in."""
    visitor.start()
    return visitor


def leave(visitor: Visitor) -> str:
    """Go to the vendor; gives the address there."""
    answer = visitor.get("crms/hubspot/leave")
    assert answer.status_code == 302
    return str(answer.headers["Location"])


def says(url: str, word: str) -> str:
    """What a person does at the vendor's; gives the path that they are sent back to."""
    page = requests.get(url, timeout=5).text
    links = [part.partition('"')[0] for part in page.split('href="')[1:]]
    chosen = next(link for link in links if ("code=" in link) is (word == "Allow"))
    parts = urlsplit(unescape(chosen))
    return f"{parts.path}?{parts.query}"


def test_the_page_offers_to_sign_in_and_waits(at_the_door: Visitor) -> None:
    page = at_the_door.get("crms/hubspot/").content.decode()
    assert "Sign in to HubSpot" in page
    assert 'target="_blank"' in page
    assert "Use a key instead" in page
    assert at_the_door.part("crms/hubspot/arrived", since="").status_code == 204


def test_who_says_yes_is_connected_and_the_page_goes_on(
    at_the_door: Visitor, crm: HubSpotFake
) -> None:
    back = says(leave(at_the_door), "Allow")
    answer = at_the_door.client.get(back)
    assert answer.status_code == 200
    assert "You are signed in" in answer.content.decode()
    connection = Connection.objects.get(pk="acme")
    assert (connection.context, connection.provider) == ("workspace-1", "hubspot")
    assert connection.credentials["access_token"] == crm.token
    assert connection.credentials["hub_id"] == "7"
    assert crm.token not in connection.credentials_cipher
    waiting = at_the_door.part("crms/hubspot/arrived", since="2026-01-01")
    assert waiting.headers["HX-Redirect"].endswith(at_the_door.at)
    assert at_the_door.get().status_code == 200


def test_the_vendor_is_told_no_more_than_it_needs(at_the_door: Visitor) -> None:
    url = leave(at_the_door)
    asked = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
    assert asked["redirect_uri"] == "http://testserver/crm-link/oauth/callback"
    assert asked["code_challenge_method"] == "S256"
    assert "acme" not in url
    assert "workspace-1" not in url
    assert "secret" not in url


def test_who_says_no_is_told_and_nothing_is_stored(at_the_door: Visitor) -> None:
    answer = at_the_door.client.get(says(leave(at_the_door), "Deny"))
    assert answer.status_code == 400
    assert "You did not let us in" in answer.content.decode()
    assert not Connection.objects.exists()


def test_another_browser_is_not_let_in(at_the_door: Visitor) -> None:
    """Who is sent somebody else's address would give them their own CRM."""
    back = says(leave(at_the_door), "Allow")
    answer = Client().get(back)
    assert answer.status_code == 401
    assert "another browser" in answer.content.decode()
    assert not Connection.objects.exists()


@pytest.mark.parametrize("state", ["", "made-up", "gAAAAABmade-up"])
def test_a_state_that_is_not_ours_is_refused(at_the_door: Visitor, state: str) -> None:
    answer = at_the_door.client.get("/crm-link/oauth/callback", {"state": state, "code": "x"})
    assert answer.status_code == 401
    assert not Connection.objects.exists()


def test_who_takes_too_long_begins_anew(at_the_door: Visitor) -> None:
    with time_machine.travel("2026-11-02T08:00:00Z", tick=False) as now:
        back = says(leave(at_the_door), "Allow")
        now.shift(timedelta(minutes=16))
        answer = at_the_door.client.get(back)
    assert answer.status_code == 401
    assert "took too long" in answer.content.decode()


def test_a_code_is_good_once(at_the_door: Visitor) -> None:
    back = says(leave(at_the_door), "Allow")
    assert at_the_door.client.get(back).status_code == 200
    assert at_the_door.client.get(back).status_code == 401


def test_two_tabs_do_not_get_in_each_others_way(at_the_door: Visitor) -> None:
    first = leave(at_the_door)
    leave(at_the_door)
    assert at_the_door.client.get(says(first, "Allow")).status_code == 200


@pytest.mark.parametrize("came_from", ["cross-site", "same-site", "none"])
def test_nobody_is_sent_to_the_vendor_from_elsewhere(at_the_door: Visitor, came_from: str) -> None:
    """They would let in whoever sent them."""
    path = f"{at_the_door.at}crms/hubspot/leave"
    assert at_the_door.client.get(path, HTTP_SEC_FETCH_SITE=came_from).status_code == 404
    assert at_the_door.client.get(path, HTTP_SEC_FETCH_SITE="same-origin").status_code == 302


def test_a_cookie_of_another_alphabet_is_no_reason_to_break(at_the_door: Visitor) -> None:
    back = says(leave(at_the_door), "Allow")
    (cookie,) = (name for name in at_the_door.client.cookies if "sign_in" in name)
    at_the_door.client.cookies[cookie] = "ü"
    assert at_the_door.client.get(back).status_code == 401


def test_a_crm_that_answers_nonsense_is_told_as_that(
    at_the_door: Visitor, crm: HubSpotFake
) -> None:
    crm.list_schemas = lambda request: Response(200, [{"model": 1}])  # type: ignore[method-assign]
    page = at_the_door.post("crms/hubspot/", {"token": crm.token})
    assert page.status_code == 200
    assert "can&#x27;t be understood" in page.content.decode()


def test_a_session_of_another_context_can_not_take_a_connection(
    crm: HubSpotFake, visitor: Visitor
) -> None:
    visitor.start()
    url = leave(visitor)
    xkit_crm.connect("acme", provider="sandbox", context="workspace-2")
    answer = visitor.client.get(says(url, "Allow"))
    assert answer.status_code in (401, 404)
    assert Connection.objects.get(pk="acme").provider == "sandbox"


def test_a_wrong_client_secret_is_the_operators_to_mend(
    at_the_door: Visitor, crm: HubSpotFake, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**crm.options, "client_secret": "a-wrong-secret"}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {"hubspot": options}}
    answer = at_the_door.client.get(says(leave(at_the_door), "Allow"))
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "be connected here yet" in page
    for ours in ("invalid_client", "XKIT_CRM", "a-wrong-secret"):
        assert ours not in page
    assert "invalid_client" in caplog.text
    assert "PROVIDER_OPTIONS" in caplog.text
    assert "a-wrong-secret" not in caplog.text
    assert not Connection.objects.exists()


def test_what_is_not_installed_is_the_operators_to_mend(
    at_the_door: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "authlib.oauth2.rfc6749.parameters", None)
    answer = at_the_door.get("crms/hubspot/leave")
    assert answer.status_code == 400
    assert "be connected here yet" in answer.content.decode()
    assert "pip" not in answer.content.decode()
    assert "pip install" in caplog.text


@pytest.mark.parametrize("address", ["acme.odoo.com", "http://acme.odoo.com", "https://127.0.0.1"])
def test_a_typed_address_that_can_not_be_called_is_told_without_our_settings(
    visitor: Visitor, settings: Any, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "LINK_CRMS": ["odoo"]}
    visitor.start()
    with socket.create_server(("127.0.0.1", 0)) as inside:
        if "127" in address:
            address += f":{inside.getsockname()[1]}"
        answer = visitor.post("crms/odoo/", {"url": address, "key": "a-key"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert f"{address} can" in page
    assert "XKIT_CRM" not in page
    assert "json/2" not in page
    assert address.rpartition("/")[2].partition(":")[0] in caplog.text
    assert "a-key" not in caplog.text


def test_without_a_registration_there_is_only_the_key(
    at_the_door: Visitor, crm: HubSpotFake, settings: Any
) -> None:
    settings.XKIT_CRM = {
        **settings.XKIT_CRM,
        "PROVIDER_OPTIONS": {"hubspot": {"base_url": crm.url}},
    }
    page = at_the_door.get("crms/hubspot/").content.decode()
    assert "Sign in to HubSpot" not in page
    assert at_the_door.get("crms/hubspot/leave").status_code == 404
    at_the_door.post("crms/hubspot/", {"token": crm.token})
    assert Connection.objects.get(pk="acme").credentials == {"token": crm.token}


# -- what has to be known before ------------------------------------------------------------------


@pytest.fixture
def at_salesforces_door(visitor: Visitor, settings: Any) -> Visitor:
    registered = {"client_id": "an-id", "client_secret": "a-secret"}
    settings.XKIT_CRM = {
        **settings.XKIT_CRM,
        "LINK_CRMS": ["salesforce"],
        "PROVIDER_OPTIONS": {"salesforce": registered},
    }
    visitor.start()
    return visitor


def test_who_has_an_address_of_their_own_gives_it_before(at_salesforces_door: Visitor) -> None:
    page = at_salesforces_door.get("crms/salesforce/").content.decode()
    assert "Salesforce address" in page
    assert "/leave" not in page
    asked = {"sign_in": "1", "domain": "acme"}
    page = at_salesforces_door.post("crms/salesforce/", asked).content.decode()
    link = unescape(page.partition('class="button primary" href="')[2].partition('"')[0])
    answer = at_salesforces_door.client.get(link)
    assert answer.headers["Location"].startswith(
        "https://acme.my.salesforce.com/services/oauth2/authorize?"
    )
    assert "a-secret" not in answer.headers["Location"]


def test_an_address_of_somebody_else_is_refused(at_salesforces_door: Visitor) -> None:
    asked = {"sign_in": "1", "domain": "https://salesforce.com.evil.example"}
    page = at_salesforces_door.post("crms/salesforce/", asked).content.decode()
    link = unescape(page.partition('class="button primary" href="')[2].partition('"')[0])
    answer = at_salesforces_door.client.get(link)
    assert answer.status_code == 400
    assert "is no address of Salesforce" in answer.content.decode()
