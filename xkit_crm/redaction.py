"""Keep secrets out of what is shown, stored and logged.

Called wherever the words of a provider or of an exception leave the code that knows the
credentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Shorter values are no secrets, and replacing them would maim ordinary words.
SHORTEST_SECRET = 8
REDACTED = "[redacted]"


def secrets_in(credentials: Any) -> Iterator[str]:
    """Every text in a connection's credentials that may be a secret."""
    if isinstance(credentials, str) and len(credentials) >= SHORTEST_SECRET:
        yield credentials
    elif isinstance(credentials, Mapping):
        for value in credentials.values():
            yield from secrets_in(value)
    elif isinstance(credentials, list):
        for value in credentials:
            yield from secrets_in(value)


def redact(value: Any, credentials: Any) -> Any:
    """The text (or the texts in JSON) without any secret of these credentials."""
    # The longest first: one secret may hold another.
    return _without(value, sorted(secrets_in(credentials), key=len, reverse=True))


def _without(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        return {key: _without(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    return value
