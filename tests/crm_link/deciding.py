"""What a customer fills in, in short, and the draft that keeps it."""

from __future__ import annotations

from typing import Any

from tests.crm_link.conftest import Visitor
from xkit_crm import mappings
from xkit_crm.models import (
    Connection,
    MappingDraft,
)

EVENT = "objects/opportunity/events/deal_created/"


def draft() -> dict[str, Any]:
    found: dict[str, Any] = MappingDraft.objects.get().document
    return found


def action(event: str = "deal_created") -> dict[str, Any]:
    found: dict[str, Any] = draft()["opportunity"]["events"][event]
    return found


def rows(*given: dict[str, Any], act: str = "create", **more: Any) -> dict[str, Any]:
    """The fields of an event's form."""
    return {
        "action": act,
        **{f"row-{n}-{name}": value for n, row in enumerate(given) for name, value in row.items()},
        **more,
    }


NAME = {"key": "name", "field": "Name", "kind": "direct"}
STAGE = {"field": "StageName", "kind": "static", "value": "Negotiation"}


def everything_decided(visitor: Visitor) -> None:
    """Decide whatever the proposal left open."""
    visitor.part("steps")
    document = draft()
    for slug, crm_object in mappings.definitions().items():
        fields, events = crm_object
        given = document.setdefault(slug, {"remote_object": ""})
        if not given["remote_object"]:
            continue
        given["fields"] = {key: given.get("fields", {}).get(key, "") for key in fields}
        for event, schema in events.items():
            used = {row.get("key") for row in given["events"][event]["transformations"]}
            given["events"][event]["ignored"] = [key for key in schema if key not in used]
    mappings.write_draft(Connection.objects.get(), document)


def revision(visitor: Visitor) -> str:
    return str(MappingDraft.objects.get().revision)
