"""New tokens for old ones, whichever the vendor: what a refusal means, and what was written by it.

How each vendor's sign-in differs is tested with its provider.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.providers.test_http import answering, said
from xkit_crm.exceptions import CRMUnauthorized, CRMUnavailable, RateLimited
from xkit_crm.providers import oauth
from xkit_crm.providers.base import Access
from xkit_crm.providers.pipedrive.provider import PipedriveProvider

SIGNED_IN = {"access_token": "old", "refresh_token": "refresh", "api_domain": "https://a.example"}
SPRING = {"timestamp": 1, "status": 503, "error": "Service Unavailable", "path": "/oauth/token"}


@pytest.fixture
def tokens_from(settings: Any) -> Any:
    """The operator names where tokens come from, and where the API is."""

    def name(token_url: str, base_url: str = "http://127.0.0.1:1") -> None:
        registered = {"client_id": "us", "client_secret": "secret"}
        options = {**registered, "token_url": token_url, "base_url": base_url}
        settings.XKIT_CRM = {
            "PRIVATE_HOSTS": ["127.0.0.1"],
            "PROVIDER_OPTIONS": {"pipedrive": options},
        }

    return name


def unanswered(taken: socket.socket) -> None:
    """The connection is closed after the request has arrived."""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", {"error": "invalid_grant"}, CRMUnauthorized),
        ("503 Unavailable", SPRING, CRMUnavailable),
        ("500 Internal", {"error": {"code": 500, "message": "Oops"}}, CRMUnavailable),
        ("429 Too Many", {"error": "rate_limit_exceeded"}, RateLimited),
    ],
)
def test_a_vendor_that_is_down_or_busy_says_nothing_against_the_sign_in(
    tokens_from: Any, status: str, body: Any, kind: type[Exception]
) -> None:
    """Or its customers would be told to sign in again, for an error's body that names an error."""
    with answering(said(status, json.dumps(body).encode(), Retry_After="7")) as url:
        tokens_from(url)
        with pytest.raises(kind) as caught:
            oauth.refreshed(PipedriveProvider, SIGNED_IN)
    if kind is not CRMUnauthorized:
        assert caught.value.retry_after == 7  # type: ignore[attr-defined]


def test_a_token_that_never_came_leaves_no_write_in_doubt(tokens_from: Any) -> None:
    """Nothing was sent to the CRM that it could have carried out."""
    with answering(unanswered) as url:
        tokens_from(url)
        provider = PipedriveProvider(Access("acme", {**SIGNED_IN, "expires_at": 1}))
        with pytest.raises(CRMUnavailable) as caught:
            provider.call("POST", "/api/v2/deals", {"title": "Sales"})
    assert not caught.value.outcome_unknown


def test_nor_does_one_that_never_came_after_the_old_one_was_refused(tokens_from: Any) -> None:
    with answering(said("401 Unauthorized")) as api, answering(unanswered) as url:
        tokens_from(url, api)
        with pytest.raises(CRMUnavailable) as caught:
            PipedriveProvider(Access("acme", SIGNED_IN)).call("POST", "/api/v2/deals", {})
    assert not caught.value.outcome_unknown
