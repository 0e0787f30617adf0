"""Encryption of credentials and digests of API secrets.

Both start from `XKIT_CRM["ENCRYPTION_KEYS"]`, and behind those from Django's SECRET_KEY and its
fallbacks. The first key writes; all of them read, so keys are rotated by putting a new one in
front.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings as django_settings

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError


def _keys() -> tuple[str, ...]:
    # What was made before ENCRYPTION_KEYS was set stays readable.
    given: Sequence[str] = settings.ENCRYPTION_KEYS
    fallbacks = getattr(django_settings, "SECRET_KEY_FALLBACKS", ())
    return (*given, django_settings.SECRET_KEY, *fallbacks)


@lru_cache(maxsize=64)
def _derive(key: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose, so that no two uses share one."""
    return hmac.digest(key.encode(), f"xkit_crm.{purpose}".encode(), "sha256")


@lru_cache(maxsize=16)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(_derive(key, "credentials"))) for key in keys]
    )


def encrypt(text: str) -> str:
    """Encrypt with the newest key."""
    return _fernet(_keys()).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Decrypt what `encrypt` gave; `ConfigurationError` where no key fits."""
    try:
        return _fernet(_keys()).decrypt(token.encode()).decode()
    except InvalidToken:
        raise ConfigurationError(
            "Stored credentials can't be decrypted with any of the keys in use.",
            hint='Put the key that encrypted them back at the end of XKIT_CRM["ENCRYPTION_KEYS"] '
            "(or of SECRET_KEY_FALLBACKS).",
        ) from None


def digest(secret: str) -> str:
    """The keyed SHA-256 of an API secret, in hex.

    A secret is 256 random bits, so a slow password hash would add nothing but 200 ms per request.
    """
    return _digest(secret, _keys()[0])


def _digest(secret: str, key: str) -> str:
    return hmac.new(_derive(key, "api-secret"), secret.encode(), hashlib.sha256).hexdigest()


def matches(secret: str, stored: str) -> bool:
    """Whether `secret` is the one behind the stored digest, in constant time for each key."""
    found = False
    for key in _keys():
        found |= hmac.compare_digest(_digest(secret, key), stored)
    return found
