"""A default mapping from labels, API names and aliases, with nobody asked.

`connections.py` proposes it when a connection is made, so that the sandbox works with no screen;
pickers sort by the same likeness. Knows no model and no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xkit_crm.mapping.transformations import ActionType, Kind
from xkit_crm.providers.base import RemoteField, RemoteObject, RemoteType

#: Words for the same thing; the first of each group stands for all of them.
_OBJECT_ALIASES = (
    ("account", "company", "organization", "organisation"),
    ("contact", "customer", "person"),
    ("lead", "prospect"),
    ("opportunity", "deal"),
    ("meeting", "event", "appointment"),
    ("task", "todo", "activity"),
)
_FIELD_ALIASES = (
    ("name", "title", "subject", "topic"),
    ("email", "mail"),
    ("phone", "telephone", "mobile"),
    ("amount", "value", "total", "price", "worth"),
    ("stage", "status", "state", "phase"),
    ("description", "notes", "note", "body", "text"),
    ("close", "closing"),
    ("website", "url", "homepage"),
)
_CANONICAL = {word: group[0] for group in (*_OBJECT_ALIASES, *_FIELD_ALIASES) for word in group}
#: Words that say nothing about which field is meant.
_NOISE = frozenset({"the", "a", "of", "full", "new", "last", "desired", "field", "c", "id"})
#: Any letter but A to Z goes on with a word, whatever the customer's language.
_WORD = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+")

_TYPES: dict[str, frozenset[RemoteType]] = {
    "string": frozenset(
        {
            RemoteType.STRING,
            RemoteType.TEXT,
            RemoteType.EMAIL,
            RemoteType.PHONE,
            RemoteType.URL,
        }
    ),
    "number": frozenset({RemoteType.NUMBER}),
    "integer": frozenset({RemoteType.INTEGER, RemoteType.NUMBER}),
    "boolean": frozenset({RemoteType.BOOLEAN}),
    "array": frozenset({RemoteType.MULTIPICKLIST}),
}
_FORMATS: dict[str, frozenset[RemoteType]] = {
    "date": frozenset({RemoteType.DATE, RemoteType.DATETIME}),
    "datetime": frozenset({RemoteType.DATETIME, RemoteType.DATE}),
    "email": frozenset({RemoteType.EMAIL}),
    "uri": frozenset({RemoteType.URL}),
}
#: The least likeness at which a field is proposed.
ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping of one CRM object, in the shapes that are stored."""

    object_map: dict[str, Any]
    actions: dict[str, dict[str, Any]] = field(default_factory=dict)


def words(text: str, *, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The words of a name or label, small, by their canonical alias: `CloseDate` -> close, date."""
    found = [_CANONICAL.get(word, word) for word in map(str.lower, _WORD.findall(text))]
    kept = [word for word in found if word not in _NOISE and word not in without]
    return tuple(kept or found)


def likeness(given: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    """How much two names mean the same, from 0 to 1. The last word weighs most."""
    if not given or not wanted:
        return 0.0
    if given == wanted:
        return 1.0
    shared = set(given) & set(wanted)
    score = len(shared) / len(set(given) | set(wanted))
    return score * 0.6 + (0.35 if given[-1] == wanted[-1] else 0.0)


def propose(
    object_slug: str,
    object_label: str,
    fields: Mapping[str, Any],
    events: Mapping[str, Mapping[str, Any]],
    remote: RemoteObject,
    remote_fields: Sequence[RemoteField],
) -> Proposal:
    """The mapping to start with, onto this remote object.

    `fields` and each event's `payloadSchema` are Xkit-flavored JSON.
    """
    own = frozenset(words(object_slug) + words(object_label) + words(remote.label))
    return Proposal(
        object_map={
            "remote_object": remote.name,
            "fields": _read_fields(fields, remote_fields, own),
        },
        actions={
            slug: _action(event, remote_fields, own, object_label) for slug, event in events.items()
        },
    )


def likest(slug: str, label: str, found: Iterable[RemoteObject]) -> RemoteObject | None:
    """The remote object that a CRM object is most like; None where it is like none of them."""
    best = max(
        found,
        key=lambda remote: (
            object_likeness(slug, label, remote),
            _same_name((slug, label), (remote.name, remote.label)),
        ),
        default=None,
    )
    if best is None or object_likeness(slug, label, best) < ENOUGH:
        return None
    return best


def object_likeness(slug: str, label: str, remote: RemoteObject) -> float:
    """How much a remote object is meant by a CRM object, from 0 to 1."""
    theirs = (words(remote.name), words(remote.label), words(remote.plural_label))
    return max(likeness(ours, other) for ours in (words(slug), words(label)) for other in theirs)


def _same_name(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether a name is the same but for case and spaces: of two that are alike, it is meant."""
    return not set(map(_spelling, ours)).isdisjoint(map(_spelling, theirs))


def _spelling(name: str) -> str:
    return "".join(_WORD.findall(name)).lower()


def _read_fields(
    fields: Mapping[str, Any], remote: Sequence[RemoteField], own: frozenset[str]
) -> dict[str, str]:
    readable = [f for f in remote if f.readable]
    return {
        key: remote_field.name
        for key, remote_field in _matched(fields, readable, own, reading=True).items()
    }


def _matched(
    descriptions: Mapping[str, Any],
    remote: Sequence[RemoteField],
    own: frozenset[str],
    *,
    reading: bool = False,
) -> dict[str, RemoteField]:
    """The best field for each key, each field once: the likest pair first."""
    pairs = sorted(
        (
            (
                -field_likeness(key, description, candidate, own),
                not _same_name((key, _label(key, description)), (candidate.name, candidate.label)),
                order,
                key,
                candidate,
            )
            for key, description in descriptions.items()
            for order, candidate in enumerate(remote)
            if _fits(description, candidate, reading=reading)
        ),
        key=lambda pair: pair[:4],
    )
    found: dict[str, RemoteField] = {}
    taken: set[str] = set()
    for score, _, _, key, candidate in pairs:
        if -score >= ENOUGH and key not in found and candidate.name not in taken:
            found[key] = candidate
            taken.add(candidate.name)
    return found


def field_likeness(
    key: str, description: Mapping[str, Any], remote: RemoteField, own: frozenset[str]
) -> float:
    """How much a field is meant by a key, from 0 to 1; `own` are words of the object itself."""
    ours = {words(key, without=own), words(_label(key, description), without=own)}
    theirs = {words(remote.name, without=own), words(remote.label, without=own)}
    score = max(likeness(one, other) for one in ours for other in theirs)
    # An address of someone else is no address of this record.
    wanted = _FORMATS.get(description.get("format", ""))
    return min(score + 0.1, 1.0) if wanted and remote.type in wanted and score else score


def _label(key: str, description: Mapping[str, Any]) -> str:
    return str(description.get("label") or key)


def _fits(description: Mapping[str, Any], remote: RemoteField, *, reading: bool) -> bool:
    if reading and description.get("type") == "string" and not description.get("format"):
        return remote.type not in (RemoteType.REFERENCE, RemoteType.MULTIPICKLIST)
    kinds = _FORMATS.get(description.get("format", "")) or _TYPES.get(description["type"])
    if kinds and remote.type in kinds:
        return True
    # A picklist takes only what is in it.
    choices = {choice.value for choice in remote.choices}
    values = {e["value"] if isinstance(e, Mapping) else e for e in description.get("enum") or ()}
    return remote.type is RemoteType.PICKLIST and bool(values) and values <= choices


def _action(
    event: Mapping[str, Any], remote: Sequence[RemoteField], own: frozenset[str], label: str
) -> dict[str, Any]:
    kind = ActionType(event["type"])
    if kind is ActionType.DELETE:
        return {"action": str(kind), "transformations": []}
    allowed = {
        ActionType.CREATE: "createable",
        ActionType.UPDATE: "updateable",
        ActionType.SEARCH: "searchable",
    }[kind]
    usable = [f for f in remote if getattr(f, allowed)]
    payload_schema = event.get("payloadSchema") or {}
    matched = _matched(payload_schema, usable, own)
    rows: list[dict[str, Any]] = [
        {
            "field": matched[key].name,
            "kind": str(Kind.DATE if _is_date(matched[key]) else Kind.DIRECT),
            "key": key,
        }
        for key in payload_schema
        if key in matched
    ]
    if kind is ActionType.SEARCH:
        rows = [row | {"operator": "equals"} for row in rows]
    if kind is ActionType.CREATE:
        fed = {row["field"] for row in rows}
        rows += _for_required([f for f in usable if f.required and f.name not in fed], event, label)
    return {"action": str(kind), "transformations": rows}


def _is_date(remote: RemoteField) -> bool:
    return remote.type in (RemoteType.DATE, RemoteType.DATETIME)


def _for_required(
    unfed: Sequence[RemoteField], event: Mapping[str, Any], label: str
) -> list[dict[str, Any]]:
    """Something for what the CRM requires and nothing is like: so that a create can be tried."""
    texts = [
        key
        for key, description in (event.get("payloadSchema") or {}).items()
        if description["type"] == "string" and not description.get("format")
    ]
    rows: list[dict[str, Any]] = []
    for remote in unfed:
        row: dict[str, Any] = {"field": remote.name, "kind": str(Kind.STATIC)}
        if remote.choices and remote.type in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST):
            row["value"] = remote.choices[0].value
        elif remote.type is RemoteType.BOOLEAN:
            row["value"] = False
        elif remote.type in (RemoteType.STRING, RemoteType.TEXT):
            row["value"] = label
            if texts:
                row |= {"kind": str(Kind.DEFAULT), "key": texts[0]}
        else:
            continue  # a date or number that nobody knows; the customer has to say
        rows.append(row)
    return rows
