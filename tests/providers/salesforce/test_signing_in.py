"""Salesforce: signing in, and staying so."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from xkit_crm.exceptions import (
    ConfigurationError,
    CRMUnauthorized,
    CRMUnavailable,
)
from xkit_crm.providers.base import (
    Access,
)
from xkit_crm.providers.oauth import exchanged, sign_in_url
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.fakes.salesforce import SalesforceFake


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("", "login.salesforce.com"),
        ("test.salesforce.com", "test.salesforce.com"),
        ("acme", "acme.my.salesforce.com"),
        ("https://Acme.my.salesforce.com/", "acme.my.salesforce.com"),
        ("acme--dev.sandbox.lightning.force.com", "acme--dev.sandbox.my.salesforce.com"),
        ("acme.my.salesforce-setup.com/lightning/setup", "acme.my.salesforce.com"),
    ],
)
def test_people_sign_in_at_the_address_they_give(given: str, host: str) -> None:
    endpoints = SalesforceProvider.endpoints({"domain": given})
    assert endpoints.authorize == f"https://{host}/services/oauth2/authorize"
    assert endpoints.token == f"https://{host}/services/oauth2/token"


@pytest.mark.parametrize(
    "given",
    [
        "evil.example",
        "salesforce.com.evil.example",
        "evilsalesforce.com",
        "evil.example#.salesforce.com",
        "u:p@acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "acme.my.salesforce.com:8443",
    ],
)
def test_the_products_secret_goes_to_salesforce_only(given: str) -> None:
    with pytest.raises(ConfigurationError):
        SalesforceProvider.endpoints({"domain": given})


def test_a_person_is_sent_to_sign_in_and_comes_back_with_tokens(crm: SalesforceFake) -> None:
    verifier = "v" * 43
    url = sign_in_url(
        SalesforceProvider, {}, redirect_uri="https://us.example/cb", state="s", verifier=verifier
    )
    asked = dict(parse_qsl(urlsplit(url).query))
    assert asked["scope"] == "api refresh_token"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "https://us.example/cb"
    credentials = exchanged(
        SalesforceProvider,
        {"domain": "acme"},
        code="a-code",
        redirect_uri="https://us.example/cb",
        verifier=verifier,
    )
    assert credentials == {
        "domain": "acme",
        "access_token": crm.token,
        "refresh_token": crm.refresh_token,
        "instance_url": "https://acme.my.salesforce.com",
    }


@pytest.mark.parametrize("rotates", [True, False])
def test_a_refresh_token_is_replaced_where_it_was_rotated(
    crm: SalesforceFake, *, rotates: bool
) -> None:
    crm.rotates = rotates
    provider = SalesforceProvider(Access("acme", crm.credentials))
    first = crm.refresh_token
    for _ in range(2):
        crm.expire()
        provider.describe_objects()
    assert crm.renewals == 2
    assert provider.credentials["refresh_token"] == crm.refresh_token
    assert (crm.refresh_token == first) is not rotates


def test_the_api_is_where_the_last_token_says(settings: Any) -> None:
    moved = {"access_token": "b", "instance_url": "https://new.my.salesforce.com"}
    old = {"access_token": "a", "refresh_token": "r", "instance_url": "https://old.example"}
    provider = SalesforceProvider(Access("acme", old, renew=lambda used, ask: {**used, **moved}))
    assert provider.renew()
    assert provider.base_url == "https://new.my.salesforce.com"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (("invalid_grant", "expired access/refresh token"), CRMUnauthorized),
        (("invalid_grant", "token request is already being processed"), CRMUnavailable),
        (("unknown_error", "retry your request"), CRMUnavailable),
        (("invalid_client_id", "client identifier invalid"), CRMUnavailable),
    ],
)
def test_only_a_token_that_is_no_good_asks_people_to_sign_in_again(
    salesforce: SalesforceProvider,
    crm: SalesforceFake,
    refusal: tuple[str, str],
    kind: type[Exception],
) -> None:
    crm.expire()
    crm.token_refusal = refusal
    with pytest.raises(kind, match=refusal[1]) as caught:
        salesforce.describe_objects()
    assert type(caught.value) is kind
