"""Zoho CRM: signing in, by data centre."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from xkit_crm.exceptions import (
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake

BACK = "https://product.example/crm/oauth/callback"
VERIFIER = "v" * 43


def test_a_person_is_sent_with_commas_between_scopes_and_for_a_refresh_token(settings: Any) -> None:
    settings.XKIT_CRM = {"PROVIDER_OPTIONS": {"zoho": {"client_id": "a", "client_secret": "b"}}}
    url = oauth.sign_in_url(ZohoProvider, {}, redirect_uri=BACK, state="s", verifier=VERIFIER)
    asked = parse_qs(urlsplit(url).query)
    assert url.startswith("https://accounts.zoho.com/oauth/v2/auth?")
    assert "ZohoCRM.modules.ALL" in asked["scope"][0].split(",")
    assert (asked["access_type"], asked["prompt"]) == (["offline"], ["consent"])


def test_a_person_comes_back_with_tokens_and_the_address_of_their_api(crm: ZohoFake) -> None:
    url = oauth.sign_in_url(ZohoProvider, {}, redirect_uri=BACK, state="s", verifier=VERIFIER)
    page = requests.get(url, timeout=5).text
    allow = page.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    brought = {name: value for name, (value,) in parse_qs(urlsplit(allow).query).items()}
    credentials = oauth.exchanged(
        ZohoProvider,
        {name: brought[name] for name in ("location", "accounts-server")},
        code=brought["code"],
        redirect_uri=BACK,
        verifier=VERIFIER,
    )
    assert credentials["api_domain"] == crm.url
    assert credentials["refresh_token"] == crm.refresh_token
    assert ZohoProvider(Access("acme", credentials)).base_url == crm.url


@pytest.mark.parametrize(
    ("brought", "server"),
    [
        ({}, "accounts.zoho.com"),
        ({"location": "in"}, "accounts.zoho.in"),
        ({"location": "ca", "accounts-server": "https://accounts.zohocloud.ca"}, "zohocloud.ca"),
        ({"location": "moon"}, "accounts.zoho.com"),
    ],
)
def test_tokens_come_from_the_data_centre_of_the_person(
    settings: Any, brought: dict[str, str], server: str
) -> None:
    settings.XKIT_CRM = {}
    token = ZohoProvider.endpoints(brought).token
    assert urlsplit(token).hostname in (server, f"accounts.{server}")
    assert token.endswith("/oauth/v2/token")


@pytest.mark.parametrize(
    "server",
    [
        "https://evil.example",
        "https://accounts.zoho.com.evil.example",
        "https://accounts.zoho.com@evil.example",
        "https://accounts.zoho.com:8443",
        "http://accounts.zoho.com",
        "accounts.zoho.com",
    ],
)
def test_no_other_server_is_sent_our_secret(settings: Any, server: str) -> None:
    settings.XKIT_CRM = {}
    with pytest.raises(CRMUnauthorized, match="no accounts server"):
        ZohoProvider.endpoints({"location": "us", "accounts-server": server})


def test_a_token_is_renewed_and_the_refresh_token_kept(crm: ZohoFake) -> None:
    renewed = oauth.refreshed(ZohoProvider, crm.credentials)
    assert renewed["access_token"] == crm.token
    assert renewed["refresh_token"] == crm.refresh_token
    assert renewed["accounts-server"] == "https://accounts.zoho.eu"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("invalid_code", CRMUnauthorized),
        ("invalid_client", CRMUnavailable),
        ("invalid_client_secret", CRMUnavailable),
        ("Access Denied", RateLimited),
    ],
)
def test_a_refused_token_says_whose_fault_it_is(
    crm: ZohoFake, code: str, error: type[Exception]
) -> None:
    crm.refuse_token = code
    with pytest.raises(error):
        oauth.refreshed(ZohoProvider, crm.credentials)


def test_the_operator_may_name_another_api(settings: Any) -> None:
    own = ZohoProvider(Access("acme", {"api_domain": "https://www.zohoapis.eu"}))
    assert own.base_url == "https://www.zohoapis.eu"
    settings.XKIT_CRM = {"PROVIDER_OPTIONS": {"zoho": {"base_url": "https://proxy.example/"}}}
    proxied = ZohoProvider(Access("acme", {"api_domain": "https://www.zohoapis.eu"}))
    assert proxied.base_url == "https://proxy.example"
