"""Tryton's conditions, such as when a field is required: PYSON, statements written as JSON.

Just what conditions about fields are made of. Whether one holds that is made of more, or that asks
for a value nobody knows, can't be said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

_Parts = Mapping[str, Any]


def conditions(text: str | None) -> dict[str, Any]:
    """A field's `states`, which are a text in a text."""
    found: dict[str, Any] = json.loads(text or "{}")
    return found


def holds(condition: Any, values: Mapping[str, Any]) -> bool | None:
    """Whether the condition holds for a record with these values; None where it can't be said."""
    try:
        return bool(_value(condition, values))
    except (KeyError, TypeError):
        return None


def _value(said: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(said, list):
        return [_value(one, values) for one in said]
    if not isinstance(said, dict) or "__class__" not in said:
        return said
    kind = said["__class__"]
    if kind in ("And", "Or"):
        return _joined([holds(one, values) for one in said["s"]], decisive=kind == "Or")
    parts = {name: _value(part, values) for name, part in said.items()}
    return values[parts["v"]] if kind == "Eval" else _STATEMENTS[kind](parts)


def _joined(known: list[bool | None], *, decisive: bool) -> bool:
    """One that decides is enough, whatever the others would be."""
    if decisive in known:
        return decisive
    if None in known:
        raise KeyError
    return not decisive


def _is_greater(one: Any, other: Any, parts: _Parts) -> bool:
    if one is None or other is None:
        return False
    return bool(one >= other if parts.get("e") else one > other)


_STATEMENTS: Mapping[str, Callable[[_Parts], Any]] = {
    "Not": lambda parts: not parts["v"],
    "Bool": lambda parts: bool(parts["v"]),
    "Equal": lambda parts: parts["s1"] == parts["s2"],
    "Greater": lambda parts: _is_greater(parts["s1"], parts["s2"], parts),
    "Less": lambda parts: _is_greater(parts["s2"], parts["s1"], parts),
    "If": lambda parts: parts["t"] if parts["c"] else parts["e"],
    "In": lambda parts: parts["k"] in parts["v"],
    "Get": lambda parts: (parts["v"] or {}).get(parts["k"], parts["d"]),
    "Len": lambda parts: len(parts["v"] or ()),
}
