"""Pipedrive: signing in."""

from __future__ import annotations

import pytest

from xkit_crm.exceptions import (
    ConfigurationError,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import PipedriveFake


def test_a_sign_in_tells_where_the_company_is(crm: PipedriveFake) -> None:
    credentials = oauth.exchanged(
        PipedriveProvider, {}, code="a-code", redirect_uri="https://us.example/", verifier="v" * 43
    )
    assert credentials["api_domain"] == crm.url
    assert credentials["access_token"] == crm.token
    assert "client_secret" not in str(crm.requests[-1].body), "it goes in the header"


def test_no_scopes_are_asked_for_as_the_app_has_them(crm: PipedriveFake) -> None:
    url = oauth.sign_in_url(
        PipedriveProvider, {}, redirect_uri="https://us.example/", state="s", verifier="v" * 43
    )
    assert "scope" not in url


def test_a_renewed_sign_in_keeps_its_refresh_token(crm: PipedriveFake) -> None:
    provider = PipedriveProvider(Access("acme", {**crm.signed_in, "expires_at": 1}))
    provider.search("deals", [], [], limit=1)
    assert crm.renewals == 1
    assert provider.credentials["refresh_token"] == crm.refresh_token
    assert provider.credentials["access_token"] == crm.token


@pytest.mark.parametrize(
    ("credentials", "url"),
    [
        ({"token": "t"}, "https://api.pipedrive.com"),
        ({"token": "t", "domain": "acme"}, "https://acme.pipedrive.com"),
        ({"token": "t", "domain": " https://Acme.pipedrive.com/ "}, "https://acme.pipedrive.com"),
        ({"api_domain": "https://acme.pipedrive.com"}, "https://acme.pipedrive.com"),
    ],
)
def test_the_company_has_an_address_of_its_own(credentials: dict[str, str], url: str) -> None:
    provider = PipedriveProvider(Access("acme", credentials))
    assert provider.base_url == url
    page = provider.record_url(RecordRef("deals", "5"))
    assert page == ("" if "//api." in url else f"{url}/deal/5")


@pytest.mark.parametrize("domain", ["evil.example", "acme.pipedrive.com.evil.example", "a/b", "@"])
def test_a_token_is_sent_to_no_other_domain(domain: str) -> None:
    provider = PipedriveProvider(Access("acme", {"token": "t", "domain": domain}))
    with pytest.raises(ConfigurationError):
        provider.search("deals", [], [], limit=1)
