"""What the form of an event action shows and offers: the boxes that a choice has a use for, and
what is known of the customer's CRM."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from xkit_crm.exceptions import XkitError
from xkit_crm.mapping.completeness import payload_keys
from xkit_crm.mapping.transformations import KEYED, ActionType, Kind
from xkit_crm.models import EventAction
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import RemoteField
from xkit_crm.providers.registry import provider_for

#: What is to be written or looked for, and how: boxes of the form, then of each transformation.
_MAPPED = ("transformations", "ignored")
OF_ACTION: dict[str, tuple[str, ...]] = {
    ActionType.CREATE: (*_MAPPED, "mode"),
    ActionType.UPDATE: (*_MAPPED, "mode"),
    ActionType.WORKFLOW: ("workflow", *_MAPPED),
    ActionType.SEARCH: (*_MAPPED, "operator"),
    ActionType.DELETE: (),
    ActionType.NOOP: (),
}
_OF_KIND: dict[Kind, tuple[str, ...]] = {
    Kind.STATIC: ("value",),
    Kind.DEFAULT: ("value",),
    Kind.VALUE_MAP: ("values", "fallback"),
    Kind.TEMPLATE: ("template",),
}
OF_KIND = {kind: (*(["key"] if kind in KEYED else ()), *_OF_KIND.get(kind, ())) for kind in Kind}

Options = dict[str, str]


def shown(action: EventAction | None) -> dict[str, Any]:
    """All of it, as the page's script reads it."""
    return {
        "actions": OF_ACTION,
        "kinds": OF_KIND,
        "options": options(action) if action else {},
    }


def options(action: EventAction) -> dict[str, Options]:
    """What may be typed into a box, with its label; as far as the CRM can be asked now."""
    found: dict[str, Options] = {
        "key": dict.fromkeys(payload_keys(action.event.payload_schema), "")
    }
    with suppress(XkitError):
        provider, remote = provider_for(action.mapping.connection), action.mapping.remote_object
        fields = descriptions.fields(provider, remote).values() if remote else ()
        found["field"] = _labelled(fields)
        workflows = descriptions.workflows(provider)
        found["workflow"] = {workflow.name: workflow.label for workflow in workflows}
        for workflow in workflows:
            found["field"] |= _labelled(workflow.inputs)
    return found


def _labelled(fields: Iterable[RemoteField]) -> Options:
    return {field.name: f"{field.label} ({field.type})" for field in fields}
