"""By which remote fields a person recognises a record: its name, its email, what is written to it.

`sync/existing.py` searches by them and shows them. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from xkit_crm.mapping.suggestions import words
from xkit_crm.providers.base import RemoteField, RemoteType

#: Fields of each kind: more would cost calls, and confuse.
_NAMES, _EMAILS, _OTHERS = 2, 1, 3


@dataclass(frozen=True, slots=True)
class Features:
    """What a record is recognised by; fields that can't be read are none."""

    names: tuple[RemoteField, ...]
    emails: tuple[RemoteField, ...]
    #: What we write to it besides.
    others: tuple[RemoteField, ...]

    @property
    def all(self) -> tuple[RemoteField, ...]:
        return (*self.names, *self.emails, *self.others)

    def searched_for(self, text: str) -> tuple[RemoteField, ...]:
        """The fields in which this text is looked for, the likeliest first."""
        fields = self.emails if "@" in text and self.emails else self.names or self.emails
        return tuple(field for field in fields if field.searchable)


def features(
    fields: Iterable[RemoteField], *, written: Collection[str], own: Iterable[str]
) -> Features:
    """What a record of these fields is recognised by.

    `written` names the fields that the customer's mapping writes, which are preferred; `own` are
    names of the object itself, which say nothing about a field.
    """
    ours = frozenset(word for name in own for word in words(name))
    readable = [field for field in fields if field.readable]
    readable.sort(key=lambda field: field.name not in written)  # else in the CRM's order
    texts = [field for field in readable if field.type is RemoteType.STRING]
    names = [field for field in texts if _is_name(field, ours)]
    names = names or [field for field in texts if field.name in written and field.searchable]
    emails = [field for field in readable if field.type is RemoteType.EMAIL]
    found = (tuple(names[:_NAMES]), tuple(emails[:_EMAILS]))
    shown = {field.name for fields in found for field in fields}
    others = [f for f in readable if f.name in written and f.name not in shown]
    return Features(*found, tuple(others[:_OTHERS]))


def _is_name(field: RemoteField, own: frozenset[str]) -> bool:
    return ("name",) in (words(field.name, without=own), words(field.label, without=own))
