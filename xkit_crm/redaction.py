"""Keep out what not everybody may see: secrets of what is shown, stored and logged, and values of
payloads of what is shown to somebody who may not see those.

Called wherever the words of a provider or of an exception leave the code that knows the
credentials, and by the admin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

#: Shorter values are no secrets, and replacing them would maim ordinary words.
SHORTEST_SECRET = 8
REDACTED = "[redacted]"
#: What stands in place of a value that is not for everybody's eyes.
MASK = "•••"
#: Of a longer value so many characters are enough to know it by.
LONG_VALUE = 12


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


def mask(text: str, payloads: Iterable[Any], *, by: str = MASK) -> str:
    """The text with `by` in place of every value of these payloads (JSON) that it quotes, in
    whichever case: as a whole word, and of a long value its beginning too."""
    values = {one.lower() for payload in payloads for one in _texts_in(payload)}
    # The longest first, as one may begin with another.
    for value in sorted(values, key=len, reverse=True):
        text = _without_value(text, value, by)
    return text


def _without_value(text: str, value: str, by: str) -> str:
    """Plain searches: a pattern would have to be made for every value."""
    lowered = _lowered(text)
    start = value[:LONG_VALUE]
    at = lowered.find(start)
    while at >= 0:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(lowered[at:], value, strict=False))
        end = at + sum(1 for _ in same)
        whole = end - at == len(value)
        if (whole or len(value) > LONG_VALUE) and _is_word(text, at, end if whole else None):
            text, lowered = text[:at] + by + text[end:], lowered[:at] + by + lowered[end:]
            end = at + len(by)
        at = lowered.find(start, max(end, at + 1))
    return text


def _lowered(text: str) -> str:
    """The text in lower case, as long as it is: a few letters are longer in it, and stay."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _is_word(text: str, begin: int, end: int | None) -> bool:
    """Whether nothing that belongs to it stands before it or (where it ends) after it."""
    before = text[begin - 1 : begin] if text[begin : begin + 1].isalnum() else ""
    after = text[end : end + 1] if end and text[end - 1 : end].isalnum() else ""
    return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")


def _texts_in(value: Any) -> Iterator[str]:
    """Every text and number of a JSON value, as a message would quote it."""
    if isinstance(value, str):
        if value := value.strip():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


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
