"""What still has to be decided before an action may run."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.mapping.completeness import missing
from xkit_crm.mapping.transformations import check_action, parse_action
from xkit_crm.providers.base import Choice, RemoteField, RemoteType, Workflow

STAGES = (Choice("Open", "Open"), Choice("Won", "Closed Won"), Choice("1", "First"))
NAME = RemoteField("Name", "Deal Name", RemoteType.STRING, required=True)
FIELDS = {
    "Name": NAME,
    "Stage": RemoteField("Stage", "Stage", RemoteType.PICKLIST, choices=STAGES),
    "Owner": RemoteField("Owner", "Owner", RemoteType.STRING, createable=False),
    "Source": RemoteField("Source", "Source", RemoteType.STRING, updateable=False),
    "Notes": RemoteField("Notes", "Notes", RemoteType.TEXT, searchable=False),
}
FLOW = Workflow("Onboard", "Onboard", (NAME, RemoteField("note", "Note", RemoteType.TEXT)))


def told(
    action: str,
    *rows: dict[str, Any],
    event: str = "",
    remote_object: str = "Deal",
    fields: dict[str, RemoteField] | None = FIELDS,
    flow: Workflow | None = None,
) -> list[str]:
    """What is missing, as texts without the beginning that all their paths have."""
    data = {
        "action": action,
        "remote_object": remote_object,
        "workflow": "Onboard",
        "transformations": list(rows),
    }
    assert check_action(data) == []
    problems = missing(parse_action(data), event_type=event or action, fields=fields, workflow=flow)
    return [str(problem).removeprefix("transformations.") for problem in problems]


def static(field: str, value: Any = "x") -> dict[str, Any]:
    return {"field": field, "kind": "static", "value": value}


def empty(field: str) -> dict[str, Any]:
    return {"field": field, "kind": "empty"}


@pytest.mark.parametrize("event", ["create", "update", "delete", "search"])
@pytest.mark.parametrize("action", ["create", "update", "delete", "search"])
def test_an_event_is_answered_by_its_own_action_and_a_delete_by_an_update_too(
    action: str, event: str
) -> None:
    fits = action == event or (action, event) == ("update", "delete")
    problems = [] if fits else [f"action: {action} is no answer to {event} events"]

    assert told(action, static("Name"), event=event) == problems
    assert told(action, static("Name"), event=event, remote_object="") == [
        "remote_object: no remote object is chosen"
    ]
    assert told("noop", static("Gone"), event=event, remote_object="") == []


def test_only_a_create_misses_the_fields_that_the_crm_requires() -> None:
    for rows in ([], [empty("Name")]):
        assert told("create", *rows) == ["Name: Deal Name is required by the CRM"]
        assert told("update", *rows) == told("delete", *rows) == told("search", *rows) == []


@pytest.mark.parametrize("action", ["create", "update", "search"])
def test_a_field_that_the_crm_no_longer_has_is_told_unless_it_is_left_alone(action: str) -> None:
    assert told(action, static("Name"), static("Gone"), empty("GoneToo")) == [
        "Gone: the CRM has no such field any more"
    ]


@pytest.mark.parametrize(
    ("field", "action"), [("Owner", "create"), ("Source", "update"), ("Notes", "search")]
)
def test_a_field_is_told_where_it_does_not_allow_the_action(field: str, action: str) -> None:
    every = ("create", "update", "search")
    refused = {does: told(does, static("Name"), static(field)) for does in every}

    assert refused == {
        does: [f"{field}: {field} can't be used to {action}"] if does == action else []
        for does in every
    }


def test_a_static_value_has_to_be_in_the_picklist_as_it_will_be_written() -> None:
    for value in ("Open", "Won", 1, None):
        assert told("update", static("Stage", value)) == []
    for value in ("Closed Won", "", 2):
        assert told("update", static("Stage", value)) == [
            f"Stage: {value!r} is none of Open, Won, 1"
        ]


def test_a_delete_asks_nothing_of_fields_and_unknown_fields_are_not_judged() -> None:
    assert told("delete", static("Gone"), static("Stage")) == []
    assert told("create", static("Gone"), static("Stage"), fields=None) == []


@pytest.mark.parametrize("event", ["create", "update", "delete"])
def test_a_workflow_answers_any_event_without_a_remote_object(event: str) -> None:
    assert told("workflow", static("Name"), event=event, remote_object="", flow=FLOW) == []


def test_a_workflow_misses_its_required_inputs_and_knows_no_others() -> None:
    assert told("workflow", static("note"), static("Stage"), empty("Gone"), flow=FLOW) == [
        "Name: Deal Name is required by the CRM",
        "Stage: the workflow has no such input",
    ]


def test_a_workflow_has_to_be_chosen_and_to_be_there() -> None:
    [unchosen] = missing(parse_action({"action": "workflow"}), event_type="create", fields=None)

    assert str(unchosen) == "workflow: no workflow is chosen"
    assert told("workflow") == ["workflow: the CRM has no workflow 'Onboard' any more"]
