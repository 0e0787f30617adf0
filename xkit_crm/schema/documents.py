"""The `objects` document, as `linkCRM` takes it: CRM objects, their fields and events.

`definitions.py` checks a document with this before it makes rows of it, and the seed's two names
for the user-facing name, `label` and `name`, become one here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xkit_crm.exceptions import Problem
from xkit_crm.schema.checking import check, text_error
from xkit_crm.schema.language import label_for, normalise
from xkit_crm.schema.values import to_json
from xkit_crm.schema.wording import MAX_SLUG_LENGTH, at, is_slug, noun, quoted, unknown

EVENT_TYPES = ("create", "update", "delete", "search")
MAX_LABEL_LENGTH = 200

_OBJECT_KEYS = ("label", "name", "description", "fields", "events")
_EVENT_KEYS = ("type", "label", "name", "description", "payloadSchema")


def check_objects(document: object, *, path: str = "objects") -> list[Problem]:
    """Every mistake of a document, such as at `objects.opportunity.events.document_updated.type`.

    Takes any value; none is found where it is
    `{slug: {label, description, fields: schema, events: {slug: {type, label, description,
    payloadSchema: schema}}}}`, of which only an event's `type` is required, and `name` is read as
    `label`. Never raises.
    """
    return list(_slugs(document, path, _object))


def canonical(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with everything said: one `label`, and what was left out filled in.

    Takes a document without problems and leaves it as it is; the order of keys is kept.
    """
    return {
        slug: {
            "label": _label(slug, crm_object),
            "description": crm_object.get("description", ""),
            "fields": normalise(crm_object.get("fields", {})),
            "events": {
                event_slug: {
                    "type": event["type"],
                    "label": _label(event_slug, event),
                    "description": event.get("description", ""),
                    "payloadSchema": normalise(event.get("payloadSchema", {})),
                }
                for event_slug, event in crm_object.get("events", {}).items()
            },
        }
        for slug, crm_object in to_json(document, path="objects").items()
    }


def _label(slug: str, given: Mapping[str, Any]) -> str:
    return str(given.get("label") or given.get("name") or label_for(slug))


def _slugs(
    given: object, path: str, rule: Callable[[Mapping[Any, Any], str], Iterator[Problem]]
) -> Iterator[Problem]:
    """What is wrong with an object of slugs, each with something that the rule checks."""
    if not isinstance(given, Mapping):
        yield Problem(path, f"must be an object, but is {noun(given)}")
        return
    for slug, value in given.items():
        below = at(path, slug)
        if not is_slug(slug):
            yield Problem(
                below,
                "is no slug: use letters, digits, _ and -, don't begin with -, "
                f"and take at most {MAX_SLUG_LENGTH} characters",
            )
        if isinstance(value, Mapping):
            yield from rule(value, below)
        else:
            yield Problem(below, f"must be an object, but is {noun(value)}")


def _object(given: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    yield from _known(given, _OBJECT_KEYS, path)
    yield from _texts(given, path)
    yield from check(given.get("fields", {}), path=at(path, "fields"))
    yield from _slugs(given.get("events", {}), at(path, "events"), _event)


def _event(given: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    yield from _known(given, _EVENT_KEYS, path)
    kind = given.get("type")
    if "type" not in given:
        yield Problem(at(path, "type"), f"is required; known are {', '.join(EVENT_TYPES)}")
    elif kind not in EVENT_TYPES:
        yield Problem(at(path, "type"), unknown(f"event type {quoted(kind)}", kind, EVENT_TYPES))
    yield from _texts(given, path)
    yield from check(given.get("payloadSchema", {}), path=at(path, "payloadSchema"))


def _known(given: Mapping[Any, Any], known: tuple[str, ...], path: str) -> Iterator[Problem]:
    for key in given:
        if key not in known:
            yield Problem(at(path, key), unknown("key", key, known))


def _texts(given: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    for key in ("label", "name", "description"):
        if key not in given:
            continue
        if error := text_error(given[key]):
            yield Problem(at(path, key), error)
        elif key != "description" and len(str(given[key])) > MAX_LABEL_LENGTH:
            yield Problem(at(path, key), f"is longer than {MAX_LABEL_LENGTH} characters")
    if given.get("label") and given.get("name") and given["label"] != given["name"]:
        yield Problem(
            at(path, "name"), "differs from label, which means the same; give one of them"
        )
