"""A whole mapping as one JSON document: what is drafted, put in force, kept as a version, exported.

    {"opportunity": {
        "remote_object": "Deal",                    # "": the customer opted out of the object
        "fields": {"document_name": "Name", "tags": {"colour": "Colour__c"}, "owner": ""},
        "events": {"create_opportunity": {
            "action": "create", "workflow": "", "transformations": [...], "ignored": ["status"]}}}}

What is left out is not decided yet; an empty string is a decision. `mappings/` reads and writes
the rows of it. Knows no model and no HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.transformations import (
    KEYED,
    ActionType,
    check_action,
    check_object_map,
    unknown_keys,
)

#: CRM object slug -> (its fields, event slug -> payload schema), as Xkit-flavored JSON.
Definitions = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]]

#: The longest name of a remote object or workflow, in characters.
MAX_NAME = 200
_OBJECT_KEYS = frozenset({"remote_object", "fields", "events"})
_EVENT_KEYS = frozenset({"action", "workflow", "transformations", "ignored"})


def check(document: Any, definitions: Definitions, *, begun: bool = False) -> list[Problem]:
    """Every problem of a document from outside, with its path; none where it can be stored, or
    where it is only `begun`, kept as a draft."""
    if not isinstance(document, Mapping):
        return [Problem("", "is not an object")]
    return [
        problem
        for slug, given in document.items()
        for problem in _check_object(str(slug), given, definitions, begun=begun)
    ]


def still_defined(document: Mapping[str, Any], definitions: Definitions) -> dict[str, Any]:
    """A (checked) document without what the product has dropped since: objects, events, fields that
    it read back, and transformations of payload keys that are gone. Nobody can decide those."""
    return {
        slug: {
            **given,
            "fields": {k: feed for k, feed in given.get("fields", {}).items() if k in fields},
            "events": {
                name: _still_read(action, events[name])
                for name, action in given.get("events", {}).items()
                if name in events
            },
        }
        for slug, given in document.items()
        if slug in definitions
        for fields, events in [definitions[slug]]
    }


def _still_read(action: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    rows = action.get("transformations") or ()
    kept = [r for r in rows if not unknown_keys({"transformations": [r]}, schema, begun=True)]
    return {**action, "transformations": kept}


def _check_object(
    slug: str, given: Any, definitions: Definitions, *, begun: bool
) -> Iterator[Problem]:
    if slug not in definitions:
        yield Problem(slug, f"there is no such CRM object; known are {_listed(definitions)}")
        return
    if not isinstance(given, Mapping):
        yield Problem(slug, "is not an object")
        return
    fields, events = definitions[slug]
    yield from _unknown(slug, given, _OBJECT_KEYS)
    yield from _check_name(f"{slug}.remote_object", given.get("remote_object", ""))
    read = given.get("fields", {})
    yield from check_object_map(read, path=f"{slug}.fields")
    if isinstance(read, Mapping):
        for key in read:
            if key not in fields:
                yield Problem(f"{slug}.fields.{key}", "the object has no such field")
    actions = given.get("events", {})
    if not isinstance(actions, Mapping):
        yield Problem(f"{slug}.events", "is not an object")
        return
    for event, action in actions.items():
        path = f"{slug}.events.{event}"
        if event not in events:
            yield Problem(path, f"there is no such event; known are {_listed(events)}")
        elif not isinstance(action, Mapping):
            yield Problem(path, "is not an object")
        else:
            yield from _check_event(path, action, events[event], begun=begun)


def _check_event(
    path: str, action: Mapping[str, Any], schema: Mapping[str, Any], *, begun: bool
) -> Iterator[Problem]:
    yield from _unknown(path, action, _EVENT_KEYS)
    if isinstance(workflow := action.get("workflow"), str):
        yield from _check_name(f"{path}.workflow", workflow)
    problems = check_action(action, begun=begun) or unknown_keys(action, schema, begun=begun)
    for problem in problems:
        yield Problem(f"{path}.{problem.path}", problem.error)
    ignored = action.get("ignored", [])
    if not isinstance(ignored, list) or not all(isinstance(key, str) for key in ignored):
        yield Problem(f"{path}.ignored", "is not a list of payload keys")


def _check_name(path: str, name: Any) -> Iterator[Problem]:
    """A name of the CRM's own has a column of its own."""
    if not isinstance(name, str):
        yield Problem(path, "is not a string")
    elif len(name) > MAX_NAME or not name.isprintable():
        yield Problem(path, f"is longer than {MAX_NAME} characters, or has unprintable ones")


def _unknown(path: str, given: Mapping[str, Any], known: frozenset[str]) -> Iterator[Problem]:
    for name in given:
        if name not in known:
            yield Problem(f"{path}.{name}", f"unknown; known are {', '.join(sorted(known))}")


def _listed(known: Mapping[str, Any]) -> str:
    return ", ".join(known) or "none"


def elsewhere(given: Mapping[str, Any], event: str, key: str) -> dict[str, Any] | None:
    """How the same payload key is sent by another event of a CRM object, or else what feeds the
    field of this name that is read: a transformation that may be meant here too."""
    for slug, action in given.get("events", {}).items():
        for row in action.get("transformations") or ():
            if slug != event and row["kind"] in KEYED and row["key"] == key:
                return {name: row[name] for name in row if name not in ("mode", "operator")}
    feed = given.get("fields", {}).get(key)
    return {"field": feed, "kind": "direct", "key": key} if feed and isinstance(feed, str) else None


def fingerprint(part: Any) -> str:
    """What a part of a document is told by, so that a form says which one it was made of."""
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that is not the same in two documents; None where there was or is none."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {_json(self.after)}"
        if self.after is None:
            return f"- {self.path}: {_json(self.before)}"
        return f"~ {self.path}: {_json(self.before)} -> {_json(self.after)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What changes from one document to the other, decision by decision, in the order of `after`.

    Paths are such as `opportunity.create_opportunity.Name`, for the remote field that an event
    writes, and values the decisions as they are stored. What is kept under an event that does
    nothing, or deletes, is no decision.
    """
    old, new = dict(_decisions(before)), dict(_decisions(after))
    return [
        Difference(path, old.get(path), new.get(path))
        for path in {**new, **old}
        if old.get(path) != new.get(path)
    ]


def _decisions(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for slug, given in document.items():
        if "remote_object" in given:
            yield f"{slug}.remote_object", given["remote_object"]
        for key, feed in given.get("fields", {}).items():
            yield f"{slug}.fields.{key}", feed
        for event, action in given.get("events", {}).items():
            path = f"{slug}.{event}"
            yield f"{path}.action", action.get("workflow") or action.get("action")
            if action.get("action") in (ActionType.NOOP, ActionType.DELETE):
                continue
            seen: Counter[str] = Counter()
            for row in action.get("transformations") or ():
                # A search may ask for one field twice.
                seen[row["field"]] += 1
                count = seen[row["field"]]
                yield f"{path}.{row['field']}" + (f"[{count}]" if count > 1 else ""), dict(row)
            for key in action.get("ignored") or ():
                yield f"{path}.payload.{key}", ""
