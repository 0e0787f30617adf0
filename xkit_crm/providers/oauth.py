"""Signing in to a CRM with OAuth 2: the way there, the way back, and new tokens for old ones.

Needs the extra `xkit_crm[oauth]` (Authlib makes and reads the messages). The product's operator
registers it with the vendor once, and puts the client id and secret in
`XKIT_CRM["PROVIDER_OPTIONS"][<slug>]`; `docs/crms/` says how for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from requests.exceptions import RequestException
from requests.utils import get_environ_proxies

from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    XkitError,
)
from xkit_crm.providers.base import Access, CredentialField
from xkit_crm.providers.http import HTTPProvider, guard, require_allowed

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session

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
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        """Where to sign in, after what was `given` for the `sign_in_fields`, and later what the
        vendor sent back with the person."""
        raise NotImplementedError

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
    endpoints = _endpoints(provider, given)
    require_allowed(endpoints.authorize)
    client = _client(provider, endpoints, redirect_uri=redirect_uri)
    url, _ = client.create_authorization_url(
        endpoints.authorize, state=state, code_verifier=verifier, **endpoints.extra
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
    the vendor doesn't take it, and `CRMUnavailable`."""
    endpoints = _endpoints(provider, given)
    client = _client(provider, endpoints, redirect_uri=redirect_uri)
    token = _asked(
        provider,
        endpoints,
        lambda: client.fetch_token(
            endpoints.token, code=code, code_verifier=verifier, **_how(provider, endpoints)
        ),
    )
    return _credentials(provider, given, token)


def refreshed(provider: type[OAuthProvider], known: Mapping[str, Any]) -> dict[str, Any]:
    """The credentials with new tokens; raises `CRMUnauthorized` where the vendor wants the person
    to sign in again, and `CRMUnavailable`."""
    endpoints = _endpoints(provider, known)
    client = _client(provider, endpoints)
    token = _asked(
        provider,
        endpoints,
        lambda: client.refresh_token(
            endpoints.token,
            refresh_token=known["refresh_token"],
            scope=None,
            **_how(provider, endpoints),
        ),
    )
    return _credentials(provider, known, token)


def _credentials(
    provider: type[OAuthProvider], known: Mapping[str, Any], token: Mapping[str, Any]
) -> dict[str, Any]:
    if not token.get("access_token"):
        raise CRMUnauthorized(f"{provider.label} gave no token.")
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


def _asked(
    provider: type[OAuthProvider], endpoints: Endpoints, ask: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The token answer, or the typed error."""
    from authlib.common.errors import AuthlibBaseError

    require_allowed(endpoints.token)
    try:
        return ask()
    except AuthlibBaseError as error:
        # Said by the vendor: invalid_grant is an old or revoked token, invalid_client is ours.
        said = f"{provider.label} refused to sign in: {error.error} {error.description or ''}"
        if own := provider.token_refusal(str(error.error), said.strip()):
            raise own from error
        if error.error == "invalid_client":
            raise ConfigurationError(said.strip(), hint=_CLIENT_HINT) from error
        if error.error in _FOR_NOW:
            raise CRMUnavailable(said.strip()) from error
        raise CRMUnauthorized(said.strip()) from error
    except RequestException as error:
        raise CRMUnavailable(f"{provider.label}: no answer: {type(error).__name__}.") from error
    except ValueError as error:
        raise CRMError(f"{provider.label}: its token answer can't be read.") from error


#: What says nothing against the token: it may be asked again in a moment.
_FOR_NOW = frozenset({"server_error", "temporarily_unavailable"})

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
    return Endpoints(
        authorize=options.get("authorize_url") or found.authorize,
        token=options.get("token_url") or found.token,
        scopes=tuple(options.get("scopes") or found.scopes),
        extra=found.extra,
        client=found.client,
        separator=found.separator,
    )


def _how(provider: type[OAuthProvider], endpoints: Endpoints) -> dict[str, Any]:
    return {
        "timeout": provider.timeout,
        "allow_redirects": False,
        "proxies": get_environ_proxies(endpoints.token),
    }


def _client(
    provider: type[OAuthProvider], endpoints: Endpoints, *, redirect_uri: str | None = None
) -> OAuth2Session:
    try:
        from authlib.integrations.requests_client import OAuth2Session
    except ImportError as error:
        raise ConfigurationError(
            f"Signing in to {provider.label} needs Authlib.", hint="pip install 'xkit_crm[oauth]'"
        ) from error
    options = _options(provider)
    if not options.get("client_id"):
        raise ConfigurationError(
            f"This site is not registered with {provider.label} yet.",
            hint=f'Set client_id and client_secret in XKIT_CRM["PROVIDER_OPTIONS"]'
            f'["{provider.slug}"].',
        )
    client = OAuth2Session(
        client_id=options["client_id"],
        client_secret=options.get("client_secret", ""),
        token_endpoint_auth_method=endpoints.client,
        scope=endpoints.separator.join(endpoints.scopes) or None,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )
    guard(client)
    return client
