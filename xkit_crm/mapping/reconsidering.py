"""What becomes of a customer's decisions when they change their mind about what comes before.

What was decided for an object or a workflow is put aside when another is chosen, and taken up
again when they go back. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm.mapping.transformations import ActionType

#: What is put aside: where, for which choice there, and what was decided for it. Such as
#: `opportunity`, `Deal`, and what a document says of it.
Aside = Mapping[str, Mapping[str, Any]]

_WORKFLOW = "workflow "


def put_aside(aside: Aside, place: str, choice: str, decided: Any) -> dict[str, Mapping[str, Any]]:
    """With what was decided for this choice too; what was put aside last comes last."""
    others = {one: what for one, what in aside.get(place, {}).items() if one != choice}
    return {**aside, place: {**others, choice: decided}}


def target(given: Mapping[str, Any], action: Mapping[str, Any]) -> str:
    """What the transformations of an event's action write to: a workflow's inputs, or the fields
    of the remote object, also while it does nothing. `given` is the CRM object's part."""
    if action.get("action") == ActionType.WORKFLOW:
        return f"{_WORKFLOW}{action.get('workflow') or ''}"
    return str(given.get("remote_object") or "")


def last_workflow(aside: Aside, place: str) -> str:
    """The workflow that was given up last at a place; empty where there was none."""
    found = [one for one in aside.get(place, {}) if one.startswith(_WORKFLOW)]
    return found[-1].removeprefix(_WORKFLOW) if found else ""


def with_choices(proposed: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What is proposed for another remote object, where what each event does and what isn't sent
    is decided already: it says nothing of the object."""
    decided = before.get("events", {})
    return {
        **proposed,
        "events": {
            slug: as_decided(proposal, decided[slug]) if slug in decided else proposal
            for slug, proposal in proposed.get("events", {}).items()
        },
    }


def as_decided(proposal: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """One event's proposal, as far as it is of the action that is decided."""
    if decided["action"] == ActionType.WORKFLOW:
        return dict(decided)
    rows = proposal["transformations"] if proposal.get("action") == decided["action"] else []
    ignored = decided.get("ignored") or []
    return {
        "action": decided["action"],
        "workflow": "",
        "transformations": [row for row in rows if row.get("key") not in ignored],
        "ignored": ignored,
    }
