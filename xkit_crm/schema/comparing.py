"""What a change of a schema means for the values of each key.

`impact.py` asks, to tell whom it concerns. Plain data in, plain data out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm.schema.language import enum_values, format_of, is_nullable, limits
from xkit_crm.schema.wording import listed


class Kind(enum.Enum):
    """What happens to the values of a key."""

    ADDED = "added"
    REMOVED = "removed"
    #: They are something else now: a number that was a string, a date that was a datetime.
    RETYPED = "retyped"
    #: It has to be there.
    REQUIRED = "required"
    #: Some that were valid no longer are.
    NARROWED = "narrowed"
    #: It may be null, or missing.
    EMPTIABLE = "emptiable"
    #: There are new ones to choose from, in `values`.
    CHOICES = "choices"
    #: More are valid than before, of the same sort.
    WIDENED = "widened"


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One thing that changes for one key: `key` is dotted, `address.city`; `what` is a phrase."""

    key: str
    kind: Kind
    what: str
    #: New choices.
    values: tuple[Any, ...] = ()

    def concerns(self, key: str) -> bool:
        """Whether the values of this (dotted) key may be others: it is the key itself, what it is
        a part of, or a part of it."""
        return key == self.key or key.startswith(f"{self.key}.") or self.key.startswith(f"{key}.")


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[KeyChange]:
    """What changes from one schema to the other, key by key; both without problems.

    Labels, descriptions, defaults and examples change no value, so they are not told.
    """
    return list(_keys(before, after, ""))


def _keys(before: Mapping[str, Any], after: Mapping[str, Any], head: str) -> Iterator[KeyChange]:
    for key, description in before.items():
        if key not in after:
            yield KeyChange(f"{head}{key}", Kind.REMOVED, _("is gone"))
        else:
            yield from _description(description, after[key], f"{head}{key}")
    for key, description in after.items():
        if key not in before:
            yield KeyChange(f"{head}{key}", Kind.ADDED, _("is new"))
            if description.get("required"):
                yield KeyChange(f"{head}{key}", Kind.REQUIRED, _("is required"))


def _description(
    before: Mapping[str, Any], after: Mapping[str, Any], key: str
) -> Iterator[KeyChange]:
    if after.get("required") and not before.get("required"):
        yield KeyChange(key, Kind.REQUIRED, _("is required"))
    if before.get("required") and not after.get("required"):
        yield KeyChange(key, Kind.EMPTIABLE, _("may be missing"))
    yield from _values(before, after, key)


def _values(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Iterator[KeyChange]:
    """What changes for the values themselves, of a key or of the entries of a list."""
    if is_nullable(before) and not is_nullable(after):
        yield KeyChange(key, Kind.NARROWED, _("null is refused"))
    if is_nullable(after) and not is_nullable(before):
        yield KeyChange(key, Kind.EMPTIABLE, _("may be null"))
    if before["type"] != after["type"]:
        # Every integer is a number.
        wider = (before["type"], after["type"]) == ("integer", "number")
        what = f"{before['type']} → {after['type']}"
        yield KeyChange(key, Kind.WIDENED if wider else Kind.RETYPED, what)
        return
    yield from _formats(before, after, key)
    yield from _choices(before, after, key)
    yield from _limits(before, after, key)
    yield from _below(before, after, key)


def _formats(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Iterator[KeyChange]:
    old, new = format_of(before), format_of(after)
    if old == new:
        return
    if old and new:
        yield KeyChange(key, Kind.RETYPED, f"{old.noun} → {new.noun}")
    elif new:
        yield KeyChange(key, Kind.NARROWED, _("has to be %(format)s") % {"format": new.noun})
    elif old:
        yield KeyChange(key, Kind.RETYPED, _("%(format)s → any text") % {"format": old.noun})


def _choices(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Iterator[KeyChange]:
    old, new = enum_values(before), enum_values(after)
    if not new:
        if old:
            yield KeyChange(key, Kind.WIDENED, _("may be any value"))
        return
    if not old:
        yield KeyChange(key, Kind.NARROWED, _("only %(values)s") % {"values": listed(new)})
        return
    if gone := [value for value in old if value not in new]:
        yield KeyChange(key, Kind.NARROWED, _("no longer %(values)s") % {"values": listed(gone)})
    if added := [value for value in new if value not in old]:
        what = _("may be %(values)s") % {"values": listed(added)}
        yield KeyChange(key, Kind.CHOICES, what, tuple(added))


def _limits(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Iterator[KeyChange]:
    if before["type"] == "string":
        pairs = [("maxLength", before.get("maxLength"), after.get("maxLength"), 1)]
    elif before["type"] in ("integer", "number"):
        (old_low, old_high), (new_low, new_high) = limits(before), limits(after)
        pairs = [("minimum", old_low, new_low, -1), ("maximum", old_high, new_high, 1)]
    else:
        return
    for keyword, old, new, direction in pairs:
        if old == new:
            continue
        is_narrower = new is not None and (old is None or (new - old) * direction < 0)
        what = f"{keyword}: {'—' if old is None else old} → {'—' if new is None else new}"
        yield KeyChange(key, Kind.NARROWED if is_narrower else Kind.WIDENED, what)


def _below(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> Iterator[KeyChange]:
    """What is inside of objects and lists; without a description they hold anything."""
    for keyword in ("properties", "items"):
        old, new = before.get(keyword), after.get(keyword)
        if new and not old:
            yield KeyChange(key, Kind.NARROWED, _("holds only what is described"))
        elif old and not new:
            yield KeyChange(key, Kind.WIDENED, _("may hold anything"))
        elif old and new and keyword == "properties":
            yield from _keys(old, new, f"{key}.")
        elif old and new:
            for change in _values(old, new, key):
                what = _("what the list holds: %(what)s") % {"what": change.what}
                yield KeyChange(change.key, change.kind, what, change.values)
