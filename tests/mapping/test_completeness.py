"""What still has to be decided before an action may run."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.completeness import (
    is_undecided,
    missing,
    payload_keys,
    undecided,
    unread,
)
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


def test_what_is_required_and_fed_by_nothing_was_never_decided() -> None:
    written = [empty("Name"), static("Gone"), static("Stage", "Nope")]
    action = parse_action({"action": "create", "remote_object": "Deal", "transformations": written})
    problems = missing(action, event_type="create", fields=FIELDS)
    assert [(p.path, is_undecided(p, action)) for p in problems] == [
        ("transformations.Name", True),
        ("transformations.Gone", False),
        ("transformations.Stage", False),
    ]
    assert not is_undecided(Problem("action", "delete is no answer"), action)


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
    for value in ("Closed Won", 2):
        assert told("update", static("Stage", value)) == [
            f"Stage: “{value}” is no choice of Stage: Open, Won, 1"
        ]


@pytest.mark.parametrize("action", ["create", "update", "search", "workflow"])
def test_a_fixed_value_has_to_be_filled_in(action: str) -> None:
    for value in ("", []):
        assert told(action, static("Name", value), flow=FLOW) == [
            "Name: Deal Name: the value is not filled in yet"
        ]
        default = {**static("Name", value), "kind": "default", "key": "name"}
        assert told(action, default, flow=FLOW) != []
    assert told(action, static("Name", None), flow=FLOW) == []


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


def test_a_field_that_never_takes_the_payloads_type_is_told_where_the_schema_is_known() -> None:
    close = RemoteField("Close", "Close Date", RemoteType.DATE)
    row = {"field": "Close", "kind": "direct", "key": "amount"}
    schema = {"amount": {"type": "number"}}

    def judged(does: str, payload_schema: dict[str, Any] | None) -> list[str]:
        action = parse_action({"action": does, "remote_object": "Deal", "transformations": [row]})
        problems = missing(
            action, event_type=does, fields={"Close": close}, payload_schema=payload_schema
        )
        return list(map(str, problems))

    assert judged("create", None) == []
    assert judged("search", schema) == []
    assert judged("update", schema) == [
        "transformations.Close: Close Date is of type date, which amount never is"
    ]


def test_a_workflows_input_has_to_take_what_it_is_told() -> None:
    flow = Workflow("Onboard", "Onboard", (RemoteField("days", "Days", RemoteType.INTEGER),))
    assert told("workflow", static("days", "1.5"), flow=flow) == [
        "days: Days is of type integer, which “1.5” is not"
    ]
    assert told("workflow", static("days", "2"), flow=flow) == []


# -- what is undecided ----------------------------------------------------------------------------

SCHEMA: dict[str, Any] = {
    "name": {"type": "string"},
    "meta": {"type": "object"},
    "owner": {
        "type": "object",
        "properties": {
            "email": {"type": "string"},
            "home": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
}


def left(*rows: dict[str, Any], ignored: list[str] | None = None, action: str = "create") -> Any:
    """The payload keys of which nobody has said where they go."""
    data = {"action": action, "workflow": "Onboard", "transformations": list(rows)}
    problems = undecided(parse_action(data), SCHEMA, ignored or [])
    assert all(problem.error == "is not mapped to a field yet" for problem in problems)
    return [problem.path.removeprefix("payload.") for problem in problems]


def direct(key: str) -> dict[str, Any]:
    return {"field": f"F{key}", "kind": "direct", "key": key}


def test_the_parts_of_an_object_are_keys_by_themselves() -> None:
    assert list(payload_keys(SCHEMA)) == ["name", "meta", "owner.email", "owner.home.city"]
    assert list(payload_keys({})) == []


def test_a_key_is_decided_once_it_is_read_or_ignored() -> None:
    assert left() == ["name", "meta", "owner.email", "owner.home.city"]
    assert left(direct("name"), ignored=["owner.email"]) == ["meta", "owner.home.city"]
    template = {"field": "T", "kind": "template", "template": "{name} ({owner.email})"}
    assert left(template) == ["meta", "owner.home.city"]


def test_an_object_decides_its_parts_and_a_part_an_object_that_only_the_customer_knows() -> None:
    assert left(direct("owner")) == ["name", "meta"]
    assert left(ignored=["owner.home", "name"]) == ["meta", "owner.email"]
    assert left(direct("meta.colour")) == ["name", "owner.email", "owner.home.city"]


@pytest.mark.parametrize(
    ("action", "asks"),
    [
        ("create", True),
        ("update", True),
        ("search", True),
        ("delete", False),
        ("workflow", False),
        ("noop", False),
    ],
)
def test_only_what_writes_or_asks_by_the_payload_leaves_keys_undecided(
    action: str, asks: bool
) -> None:
    assert bool(left(action=action)) == asks


def test_a_field_that_is_read_is_decided_by_whatever_is_said_of_it() -> None:
    fields = {"title": {}, "stage": {}, "tags": {}}
    found = unread(fields, {"title": "", "tags": {}})
    assert [str(problem) for problem in found] == ["fields.stage: is not mapped to a field yet"]
