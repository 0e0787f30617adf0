"""How two documents differ, path by path: what a load changes, what a version changed.

`definitions.py`, `versions.py` and `reviewing.py` tell people with this. Plain data in, plain data
out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Characters of a value that are shown; a schema may hold thousands.
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: `sign` is + (new), ~ (changed) or - (gone, or deactivated)."""

    sign: str
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        if self.sign != "~":
            return f"{self.sign} {self.path}"
        return f"~ {self.path}: {self.was} -> {self.now}"

    @property
    def was(self) -> str:
        """What there was before, cut short; empty where there was nothing."""
        return "" if self.sign == "+" or self.before is None else _short(self.before)

    @property
    def now(self) -> str:
        """What there is now, cut short; empty where there is nothing."""
        return "" if self.sign == "-" or self.after is None else _short(self.after)


def differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    """What changes from one JSON value to the other, with paths below `path`: keys that are new,
    gone or changed, and their order, which is what customers see."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if before != after:
            yield Change("~", path, before, after)
        return
    for key in {**before, **after}:
        if key not in before:
            yield Change("+", f"{path}.{key}", after=after[key])
        elif key not in after:
            yield Change("-", f"{path}.{key}", before=before[key])
    for key in after:
        if key in before:
            yield from differences(f"{path}.{key}", before[key], after[key])
    if list(before) != list(after) and before.keys() == after.keys():
        yield Change("~", f"{path} (order)", list(before), list(after))


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are alike, the order of their keys included."""
    return json.dumps(one, default=str) == json.dumps(other, default=str)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
