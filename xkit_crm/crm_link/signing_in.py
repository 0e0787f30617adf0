"""Signing in at the vendor's, in a window of its own: what goes there with the person, and comes
back with them.

Vendors refuse to be framed, so the person leaves in a new window while CRM Link waits in its frame.
What has to be known when they come back travels in `state`, encrypted. A cookie of the window that
left says that it is the same browser: an address that somebody else made doesn't let them in.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm import crypto
from xkit_crm.exceptions import ConfigurationError, LinkTokenInvalid
from xkit_crm.providers.oauth import OAuthProvider, is_configured
from xkit_crm.providers.registry import provider_class

#: Seconds that a person may take at the vendor's.
PATIENCE = 15 * 60
COOKIE = "xkit_crm_sign_in"


@dataclass(frozen=True, slots=True)
class Leave:
    """One attempt to sign in."""

    #: The session of CRM Link, as it stands in its addresses.
    sealed: str
    provider: str
    #: What the person typed in before, for the `sign_in_fields`.
    given: Mapping[str, str] = field(default_factory=dict)
    #: What makes the code worthless to others (PKCE), and what the cookie has to say.
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    at: float = field(default_factory=time.time)

    @property
    def cookie(self) -> str:
        """The name of this attempt's own cookie: there may be others, in other tabs."""
        return f"{COOKIE}_{hashlib.sha256(self.nonce.encode()).hexdigest()[:12]}"

    def as_state(self) -> str:
        """As it goes to the vendor and comes back."""
        return crypto.encrypt(json.dumps(asdict(self)))


def from_state(state: str, cookies: Mapping[str, str]) -> Leave:
    """The attempt that a person comes back from; raises `LinkTokenInvalid` where it is too old, or
    was begun in another browser, or not by us."""
    try:
        found = Leave(**json.loads(crypto.decrypt(state)))
    except (ConfigurationError, TypeError, ValueError) as error:
        raise LinkTokenInvalid(
            _("This sign-in was not begun here."),
            hint=_("Go back to the product and connect anew."),
        ) from error
    if not secrets.compare_digest(found.nonce.encode(), cookies.get(found.cookie, "").encode()):
        raise LinkTokenInvalid(
            _("This sign-in is over already, or was begun in another browser."),
            hint=_("Go back to the product and connect anew, in this browser."),
        )
    if time.time() - found.at > PATIENCE:
        raise LinkTokenInvalid(
            _("This sign-in took too long."), hint=_("Go back to the product and connect anew.")
        )
    return found


def signs_in(provider: str) -> type[OAuthProvider] | None:
    """The provider's class, where its customers can sign in at the vendor's."""
    found = provider_class(provider)
    if not issubclass(found, OAuthProvider) or not is_configured(found):
        return None
    return found


def packed(given: Mapping[str, Any]) -> str:
    """What was typed in, as it stands in an address."""
    return crypto.encrypt(json.dumps(dict(given)))


def unpacked(text: str) -> dict[str, str]:
    """The same again; nothing where it says nothing."""
    try:
        found: dict[str, str] = json.loads(crypto.decrypt(text)) if text else {}
    except (ConfigurationError, ValueError):
        return {}
    return found
