"""What the mapping in force says, and any other document of the same form.

Knows no CRM: what of it fits is asked in `missing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xkit_crm import catalogue
from xkit_crm.delivery.decisions import Decision, decided
from xkit_crm.exceptions import MappingInvalid
from xkit_crm.mapping import documents
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Connection

Document = dict[str, Any]


def definitions(slugs: Iterable[str] | None = None) -> documents.Definitions:
    """What the product has defined, as `mapping/documents.py` wants it; of these objects only."""
    return {
        slug: (found.fields, {e.slug: e.payload_schema for e in found.events.values()})
        for slug, found in catalogue.objects().items()
        if slugs is None or slug in slugs
    }


def in_force(connection: Connection) -> Document:
    """The mapping that is carried out now. Three queries.

    What the product doesn't define any more is left out: nothing is carried out by it, and nobody
    can decide it.
    """
    known = catalogue.objects()
    found: Document = {}
    mappings = connection.mappings.select_related("crm_object").order_by("crm_object_id")
    for mapping in mappings.prefetch_related("actions__event"):
        crm_object = known.get(mapping.crm_object.slug)
        if crm_object is None:
            continue
        found[crm_object.slug] = {
            "remote_object": mapping.remote_object,
            "fields": {
                key: feed for key, feed in mapping.fields.items() if key in crm_object.fields
            },
            "events": {
                action.event.slug: {
                    "action": action.action,
                    "workflow": action.workflow,
                    "transformations": action.transformations,
                    "ignored": action.ignored,
                }
                for action in mapping.actions.all()
                if action.event.slug in crm_object.events
            },
        }
    return found


def decision(document: Mapping[str, Any], event: catalogue.Event) -> Decision | None:
    """What a (checked) document decides for an event, as `delivery/` carries it out; None: nothing
    yet."""
    given = document.get(event.crm_object, {})
    action = given.get("events", {}).get(event.slug)
    if action is None:
        if given.get("remote_object") != "":
            return None
        action = {"action": ActionType.NOOP}
    return decided(event.definition, given, action)


def require_valid(document: Any, *, begun: bool = False) -> None:
    """Raise `MappingInvalid` where the document can't be stored; as a draft if `begun`."""
    if problems := documents.check(document, definitions(), begun=begun):
        raise MappingInvalid(
            "The mapping has mistakes; nothing was changed.",
            hint="Correct them all.",
            errors=problems,
        )
