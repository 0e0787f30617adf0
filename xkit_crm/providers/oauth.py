"""Signing in to a CRM with OAuth 2: the way there, the way back, and new tokens for old ones.

Needs the extra `xkit_crm[oauth]` (Authlib makes and reads the messages). The product's operator
registers it with the vendor once, and puts the client id and secret in
`XKIT_CRM["PROVIDER_OPTIONS"][<slug>]`; `docs/crms/` says how for each.
"""

from __future__ import annotations

import base64
import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import quote

from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    XkitError,
)
from xkit_crm.providers.addresses import require_allowed
from xkit_crm.providers.base import Access, CredentialField
from xkit_crm.providers.http import HTTPProvider, request

logger = logging.getLogger(__name__)

#: A token that ends so soon is renewed before it is used, in seconds.
LEEWAY = 60.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a vendor's sign-in goes, and what it wants to be told."""

    authorize: str
    token: str
    scopes: tuple[str, ...] = ()
    #: Sent along when the person is sent there.
    extra: Mapping[str, str] = field(default_factory=dict)
    #: How we say who we are: in the form ("client_secret_post") or the header
    #: ("client_secret_basic").
    client: str = "client_secret_post"
    #: What stands between the scopes; the standard wants a space.
    separator: str = " "


class OAuthProvider(HTTPProvider):
    """A provider whose customers sign in at their vendor's, and come back with tokens."""

    #: What has to be known before a person is sent to sign in, such as their own domain.
    sign_in_fields: ClassVar[tuple[CredentialField, ...]] = ()
    #: Whether the vendor says when an access token ends. Where not, it is renewed after a 401.
    tells_expiry: ClassVar[bool] = True

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._credentials: Mapping[str, Any] | None = None

    @classmethod
    @abstractmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        """Where to sign in, after what was `given` for the `sign_in_fields`, and later what the
        vendor sent back with the person."""

    @classmethod
    def learned(cls, token: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the vendor said with a token that is needed later, such as where its API is."""
        return {}

    @classmethod
    def token_refusal(cls, code: str, message: str) -> XkitError | None:
        """The typed error of a refusal to give tokens, where the vendor's `code` is not one of the
        standard's, or says more than that the person has to sign in again."""
        return None

    @property
    def credentials(self) -> Mapping[str, Any]:
        """As they are now: tokens change while it works."""
        return self.access.credentials if self._credentials is None else self._credentials

    def authorisation(self) -> Mapping[str, str]:
        expires = self.credentials.get("expires_at")
        if expires is not None and expires - LEEWAY < time.time():
            self.renew()
        return self.bearer(str(self.credentials.get("access_token", "")))

    def bearer(self, token: str) -> Mapping[str, str]:
        """The header for a token."""
        return {"Authorization": f"Bearer {token}"}

    def renew(self) -> bool:
        used = self.credentials
        if not used.get("refresh_token"):
            return False
        self._credentials = self.access.renew(used, lambda known: refreshed(type(self), known))
        return True


def is_configured(provider: type[OAuthProvider]) -> bool:
    """Whether the operator has registered the product with this vendor."""
    return bool(_options(provider).get("client_id"))


def sign_in_url(
    provider: type[OAuthProvider],
    given: Mapping[str, Any],
    *,
    redirect_uri: str,
    state: str,
    verifier: str,
) -> str:
    """The vendor's page where the person says yes. `verifier` is a secret of this one attempt
    (PKCE, RFC 7636), at least 43 characters. Raises `ConfigurationError`."""
    messages, client = _messages(provider), _client(provider)
    endpoints = _endpoints(provider, given)
    require_allowed(endpoints.authorize)
    url = messages.prepare_grant_uri(
        endpoints.authorize,
        client_id=client.id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=endpoints.separator.join(endpoints.scopes) or None,
        state=state,
        code_challenge=messages.create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        **endpoints.extra,
    )
    return str(url)


def exchanged(
    provider: type[OAuthProvider],
    given: Mapping[str, Any],
    *,
    code: str,
    redirect_uri: str,
    verifier: str,
) -> dict[str, Any]:
    """The credentials for the code that the person came back with; raises `CRMUnauthorized` where
    the vendor doesn't take it, `ConfigurationError` where it doesn't take us, and
    `CRMUnavailable`."""
    asked = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return _credentials(provider, given, _token(provider, given, "authorization_code", asked))


def refreshed(provider: type[OAuthProvider], known: Mapping[str, Any]) -> dict[str, Any]:
    """The credentials with new tokens; raises `CRMUnauthorized` where the vendor wants the person
    to sign in again, and `CRMUnavailable`, also where it doesn't take us: what the operator can
    mend is waited for."""
    asked = {"refresh_token": known["refresh_token"]}
    try:
        token = _token(provider, known, "refresh_token", asked)
    except ConfigurationError as error:
        logger.error("%s: no token can be renewed. %s", provider.label, error)
        raise CRMUnavailable(error.message, hint=error.hint) from error
    return _credentials(provider, known, token)


def _credentials(
    provider: type[OAuthProvider], known: Mapping[str, Any], token: Mapping[str, Any]
) -> dict[str, Any]:
    ends = {}
    if provider.tells_expiry and token.get("expires_in"):
        ends["expires_at"] = int(time.time() + float(token["expires_in"]))
    return {
        **known,
        **provider.learned(token),
        **ends,
        "access_token": token["access_token"],
        # A vendor that doesn't rotate it leaves it out.
        "refresh_token": token.get("refresh_token") or known.get("refresh_token", ""),
    }


def _token(
    provider: type[OAuthProvider], given: Mapping[str, Any], grant: str, asked: Mapping[str, str]
) -> Mapping[str, Any]:
    """What the vendor's token endpoint gives, or the typed error."""
    messages, client = _messages(provider), _client(provider)
    endpoints, headers = _endpoints(provider, given), {}
    form = dict(messages.url_decode(messages.prepare_token_request(grant, **asked)))
    if endpoints.client == "client_secret_basic":
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    else:
        form |= {"client_id": client.id, "client_secret": client.secret}
    try:
        answer = request(
            "POST", endpoints.token, form=form, headers=headers, timeout=provider.timeout
        )
    except CRMError as error:
        error.outcome_unknown = False  # what the token is for was not sent
        raise
    body = answer.body if isinstance(answer.body, dict) else {}
    said = f"{provider.label} gave no token, and answered {answer.status}."
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimited(said, retry_after=answer.retry_after)
    is_down = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    # The body of one that is down may name an error as well, which is none of the standard's.
    if (code := str(body.get("error") or "")) and not is_down:
        raise _refusal(provider, code, str(body.get("error_description") or ""))
    if answer.ok and body.get("access_token"):
        return body
    # It says nothing against the sign-in: a proxy or a page about maintenance may have.
    raise CRMUnavailable(said, retry_after=answer.retry_after)


def _refusal(provider: type[OAuthProvider], code: str, description: str) -> XkitError:
    """What the vendor said: invalid_grant is an old or revoked token, invalid_client is ours."""
    said = f"{provider.label} refused to sign in: {code} {description}".strip()
    if own := provider.token_refusal(code, said):
        return own
    if code in ("invalid_client", "unauthorized_client", "redirect_uri_mismatch"):
        return ConfigurationError(said, hint=_CLIENT_HINT)
    if code in ("server_error", "temporarily_unavailable"):
        return CRMUnavailable(said)
    return CRMUnauthorized(said)


_CLIENT_HINT = (
    "Correct client_id and client_secret in XKIT_CRM['PROVIDER_OPTIONS'], and the redirect address "
    "that is registered with the vendor."
)


def _options(provider: type[OAuthProvider]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = settings.PROVIDER_OPTIONS.get(provider.slug, {})
    return found


def _endpoints(provider: type[OAuthProvider], given: Mapping[str, Any]) -> Endpoints:
    """The vendor's, unless the operator points elsewhere."""
    found, options = provider.endpoints(given), _options(provider)
    return replace(
        found,
        authorize=options.get("authorize_url") or found.authorize,
        token=options.get("token_url") or found.token,
        scopes=tuple(options.get("scopes") or found.scopes),
    )


@dataclass(frozen=True, slots=True)
class _Client:
    """This site, as it is registered with a vendor."""

    id: str
    secret: str = field(repr=False)


def _client(provider: type[OAuthProvider]) -> _Client:
    options = _options(provider)
    if not options.get("client_id"):
        raise ConfigurationError(
            f"This site is not registered with {provider.label} yet.",
            hint=f'Set client_id and client_secret in XKIT_CRM["PROVIDER_OPTIONS"]'
            f'["{provider.slug}"].',
        )
    return _Client(options["client_id"], options.get("client_secret", ""))


def _messages(provider: type[OAuthProvider]) -> Any:
    """What makes OAuth's messages: Authlib's functions. We send them as any other request."""
    try:
        from authlib.common.urls import url_decode
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
        from authlib.oauth2.rfc7636 import create_s256_code_challenge
    except ImportError as error:
        raise ConfigurationError(
            f"Signing in to {provider.label} needs Authlib.", hint="pip install 'xkit_crm[oauth]'"
        ) from error
    return SimpleNamespace(
        url_decode=url_decode,
        prepare_grant_uri=prepare_grant_uri,
        prepare_token_request=prepare_token_request,
        create_s256_code_challenge=create_s256_code_challenge,
    )
