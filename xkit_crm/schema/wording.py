"""How problems are worded: paths, values cut short, near misses.

Every module of this package that finds problems words them with this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

_SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
MAX_SLUG_LENGTH = 100
#: What is listed or quoted of something long.
_MAX_LISTED = 20
_MAX_QUOTED = 60

_NOUNS: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    str: "a string",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "an array",
}


def is_slug(text: object) -> bool:
    """Whether this may name a CRM object or event: it stands in URLs."""
    return (
        isinstance(text, str) and len(text) <= MAX_SLUG_LENGTH and _SLUG.fullmatch(text) is not None
    )


def is_key(text: object) -> bool:
    """Whether this may be a key of a schema: a slug that doesn't begin with a digit."""
    return is_slug(text) and not str(text)[0].isdigit()


def at(path: str, *steps: object) -> str:
    """The path of what is below `path`: `payload.tags[0].name`, `payload.tags["any key"]`."""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif is_slug(step):
            path += f".{step}" if path else str(step)
        else:
            path += f"[{quoted(step)}]"
    return path


def quoted(value: object) -> str:
    """A value as JSON, cut short where it is long; never raises."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=noun)
    except (TypeError, ValueError, RecursionError):
        return noun(value)
    if len(text) <= _MAX_QUOTED:
        return text
    # What ends a text stays, so that whoever takes out what is quoted finds where it ends.
    end = '…"' if isinstance(value, str) else "…"
    return text[: _MAX_QUOTED - len(end)] + end


def noun(value: object) -> str:
    """What kind of JSON value this is, with its article."""
    return _NOUNS.get(type(value), f"a Python {type(value).__name__}")


def listed(names: Iterable[object]) -> str:
    """Names with commas between them, cut short where they are many."""
    shown = [name if isinstance(name, str) and name else quoted(name) for name in names]
    if len(shown) > _MAX_LISTED:
        shown = [*shown[:_MAX_LISTED], f"and {len(shown) - _MAX_LISTED} more"]
    return ", ".join(shown)


def unknown(what: str, given: Any, known: Collection[str]) -> str:
    """That a key or name is unknown, what was probably meant, and what there is.

    `unknown key (did you mean name?); known are name, updated_at`
    """
    # A longer text is no slip of the pen, and comparing it takes long.
    is_short = isinstance(given, str) and len(given) <= MAX_SLUG_LENGTH
    near = get_close_matches(given, known, n=1) if is_short else []
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {what}{meant}; " + (f"known are {listed(known)}" if known else "none is known")
