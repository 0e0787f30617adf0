"""Which remote fields can be chosen for something, which are likely meant, and why others can't be.

CRM Link's pickers show it. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm.mapping.suggestions import ENOUGH, field_likeness, object_likeness, words
from xkit_crm.providers.base import RemoteField, RemoteObject, RemoteType

_TEXTS = frozenset({RemoteType.STRING, RemoteType.TEXT})
_LISTS = frozenset({RemoteType.PICKLIST, RemoteType.MULTIPICKLIST})
_DATES = frozenset({RemoteType.DATE, RemoteType.DATETIME})
_NUMBERS = frozenset({RemoteType.INTEGER, RemoteType.NUMBER})

#: What can be written to which remote types: by format, or else by type.
_WRITES: dict[str, frozenset[RemoteType]] = {
    "date": _DATES | _TEXTS,
    "datetime": _DATES | _TEXTS,
    "email": _TEXTS | {RemoteType.EMAIL},
    "uri": _TEXTS | {RemoteType.URL},
    "string": _TEXTS
    | _LISTS
    | {RemoteType.EMAIL, RemoteType.PHONE, RemoteType.URL, RemoteType.REFERENCE},
    "number": _TEXTS | {RemoteType.NUMBER, RemoteType.PICKLIST},
    "integer": _TEXTS | _NUMBERS | {RemoteType.PHONE, RemoteType.PICKLIST},
    "boolean": _TEXTS | {RemoteType.BOOLEAN, RemoteType.PICKLIST},
    "array": _TEXTS | {RemoteType.MULTIPICKLIST},
    "object": _TEXTS,
}
#: What can be read from which remote types; a text is read from anything.
_READS: dict[str, frozenset[RemoteType]] = {
    "date": _DATES,
    "datetime": _DATES,
    "email": _TEXTS | {RemoteType.EMAIL},
    "uri": _TEXTS | {RemoteType.URL},
    "number": _NUMBERS,
    "integer": frozenset({RemoteType.INTEGER, RemoteType.NUMBER}),
    "boolean": frozenset({RemoteType.BOOLEAN}),
    "array": frozenset({RemoteType.MULTIPICKLIST}),
}
_ALLOWED = {
    "create": "createable",
    "update": "updateable",
    "search": "searchable",
    "read": "readable",
}


@dataclass(frozen=True, slots=True)
class Option:
    """A remote field in a picker. `reason` says why it can't be chosen; empty where it can."""

    field: RemoteField
    suggested: bool = False
    reason: str = ""


def options(
    fields: Iterable[RemoteField],
    operation: str,
    *,
    key: str = "",
    description: Mapping[str, Any] | None = None,
    taken: Iterable[str] = (),
    own: Iterable[str] = (),
) -> list[Option]:
    """Every field, as a picker shows them: those likely meant first, then those that can be chosen
    and those that can't, each by label.

    `operation` is create, update, search or read; `key` and `description` what is to go there, as
    Xkit-flavored JSON, none for a fixed value; `taken` the fields that have a value already; `own`
    names of the object itself, which say nothing about a field.
    """
    ours = frozenset(word for name in own for word in words(name))
    occupied = set(taken)
    found = []
    for field in fields:
        reason = obstacle(field, operation, description, occupied)
        likely = (
            not reason
            and description is not None
            and field_likeness(key.split(".")[-1], description, field, ours) >= ENOUGH
        )
        found.append(Option(field, likely, reason))
    return sorted(found, key=lambda o: (not o.suggested, bool(o.reason), o.field.label.casefold()))


def matching(found: Iterable[Option], text: str) -> list[Option]:
    """Those whose label or API name has every word of the text."""
    asked = text.casefold().split()
    return [
        option
        for option in found
        if all(
            word in option.field.label.casefold() or word in option.field.name.casefold()
            for word in asked
        )
    ]


def obstacle(
    field: RemoteField,
    operation: str,
    description: Mapping[str, Any] | None,
    taken: Container[str],
) -> str:
    """Why a field can't be chosen for a value so described; empty where it can."""
    allowed = _ALLOWED[operation]
    if not getattr(field, allowed):
        return {
            "create": _("Your CRM doesn't let it be set on new records."),
            "update": _("Your CRM doesn't let it be changed."),
            "search": _("Your CRM can't search by it."),
            "read": _("Your CRM doesn't let it be read."),
        }[operation]
    if description is not None and not fits(description, field.type, operation):
        return _("It is of another type.")
    if field.name in taken and operation in ("create", "update"):
        return _("It gets a value already.")
    return ""


def fits(description: Mapping[str, Any], wanted: RemoteType, operation: str) -> bool:
    """Whether a value so described can be written to (or read from) a field of this type."""
    name = description.get("format") or description.get("type") or "string"
    kind = str(description.get("type") or "string")
    if operation == "read":
        known = _READS.get(name) or _READS.get(kind)
        return known is None or wanted in known
    return wanted in (_WRITES.get(name) or _WRITES[kind])


def objects_by_likeness(
    slug: str, label: str, found: Sequence[RemoteObject]
) -> list[tuple[RemoteObject, bool]]:
    """Every remote object with whether it is likely meant; those first, then by label."""
    judged = [(remote, object_likeness(slug, label, remote) >= ENOUGH) for remote in found]
    return sorted(judged, key=lambda pair: (not pair[1], pair[0].label.casefold()))
