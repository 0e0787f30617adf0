"""Which of the customer's records a row is, by what the mapping writes.

`backfill.py` asks it for every row that has no link yet. A wrong match is worse than none, since
it overwrites another record: so by itself it goes by fields only that tell records apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xkit_crm.exceptions import ConfigurationError
from xkit_crm.mapping.sameness import same
from xkit_crm.mapping.suggestions import words
from xkit_crm.mapping.transformations import Action, Kind
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType

#: Remote fields that have to be equal all together.
Key = tuple[str, ...]

#: How many records are asked for; more than one is as ambiguous as all of them.
LIMIT = 10

_UNIQUE = frozenset({"uuid", "guid", "externalid"})
#: What a record's own email field is called; with any other word it may be somebody else's.
_OWN_EMAIL = frozenset({"email", "mail", "e", "address", "primary", "work", "business"})


@dataclass(frozen=True, slots=True)
class Keys:
    """What rows are matched on: the next key is tried where the one before finds nothing."""

    keys: tuple[Key, ...] = ()
    #: Fields that the mapping writes and that were left out for being too weak to go by.
    weak: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", else ".join(" and ".join(key) for key in self.keys)


def propose(action: Action | None, fields: Mapping[str, RemoteField]) -> Keys:
    """The keys that the mapping names: an external id first, then the record's own email."""
    external: list[Key] = []
    email: list[Key] = []
    weak: list[str] = []
    for transformation in action.transformations if action else ():
        field = fields.get(transformation.field)
        if field is None or not field.searchable or transformation.kind is not Kind.DIRECT:
            continue
        if _is_external_id(field):
            external.append((field.name,))
        elif _is_own_email(field):
            email.append((field.name,))
        else:
            weak.append(field.name)
    return Keys((*external, *email), tuple(weak))


def check(
    match: Iterable[Sequence[str]], action: Action | None, fields: Mapping[str, RemoteField]
) -> Keys:
    """The keys as they were asked for; raises `ConfigurationError` where one can't be used."""
    usable = {
        t.field
        for t in (action.transformations if action else ())
        if t.kind not in (Kind.STATIC, Kind.EMPTY)
        and t.field in fields
        and fields[t.field].searchable
    }
    keys = tuple(tuple(key) for key in match)
    for name in (name for key in keys for name in key):
        if name not in usable:
            why = (
                "can't be searched by"
                if name in fields and not fields[name].searchable
                else "is not written by the mapping"
                if name in fields
                else "is no field of this CRM object"
            )
            known = ", ".join(sorted(usable)) or "none"
            raise ConfigurationError(
                f"Rows can't be matched on {name!r}: it {why}.",
                hint=f"What the mapping writes and the CRM can search by: {known}.",
            )
    return Keys(keys)


def criteria(key: Key, values: Mapping[str, Any]) -> list[Criterion]:
    """The search for a row's values; empty where it has none of one of the fields."""
    found = [Criterion(name, Operator.EQUALS, values.get(name)) for name in key]
    return [] if any(c.value in (None, "", []) for c in found) else found


def may_be(keys: Keys, found: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Whether a record with the values that were found is one that a row with these values to be
    written would be matched with."""
    wanted = (criteria(key, written) for key in keys.keys)
    return any(all(same(c.value, found.get(c.field)) for c in key) for key in wanted if key)


def _is_external_id(field: RemoteField) -> bool:
    if field.type not in (RemoteType.STRING, RemoteType.INTEGER):
        return False
    for text in (field.name, field.label):
        # "id" is no word to `words`, for it says nothing about which field is meant elsewhere.
        plain = text.lower().replace("_", "").replace(" ", "").replace("-", "")
        found = set(words(text))
        if found & _UNIQUE or ("external" in found and "externalid" in plain):
            return True
    return False


def _is_own_email(field: RemoteField) -> bool:
    if field.type is not RemoteType.EMAIL:
        return False
    return all(set(words(text)) <= _OWN_EMAIL for text in (field.name, field.label))
