"""What becomes of decisions when what comes before them is decided otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.mapping.reconsidering import (
    as_decided,
    last_workflow,
    put_aside,
    target,
    with_choices,
)

NAME = {"field": "Name", "kind": "direct", "key": "name"}
STAGE = {"field": "Stage", "kind": "static", "value": "New"}


def test_each_choice_of_a_place_keeps_what_was_decided_for_it() -> None:
    aside = put_aside({}, "deal", "Deal", 1)
    aside = put_aside(aside, "deal", "Lead", 2)
    aside = put_aside(aside, "person", "Lead", 3)
    assert put_aside(aside, "deal", "Deal", 4) == {
        "deal": {"Deal": 4, "Lead": 2},
        "person": {"Lead": 3},
    }
    assert aside["deal"]["Deal"] == 1


def test_the_workflow_that_was_given_up_last_is_known() -> None:
    aside = put_aside({}, "deal.made", "Deal", {})
    assert last_workflow(aside, "deal.made") == last_workflow({}, "deal.made") == ""
    for name in ("one", "two", "one"):
        aside = put_aside(aside, "deal.made", f"workflow {name}", {})
    assert last_workflow(aside, "deal.made") == "one"


@pytest.mark.parametrize(
    ("action", "written"),
    [
        ({"action": "create"}, "Deal"),
        ({"action": "noop"}, "Deal"),
        ({}, "Deal"),
        ({"action": "workflow", "workflow": "Deal"}, "workflow Deal"),
    ],
)
def test_a_workflow_writes_to_its_inputs_and_anything_else_to_the_object(
    action: Any, written: str
) -> None:
    assert target({"remote_object": "Deal"}, action) == written


PROPOSED = {"action": "create", "workflow": "", "transformations": [NAME, STAGE], "ignored": []}


@pytest.mark.parametrize(
    ("decided", "then"),
    [
        ({"action": "create", "transformations": [STAGE]}, PROPOSED),
        (
            {"action": "create", "ignored": ["name"]},
            {**PROPOSED, "transformations": [STAGE], "ignored": ["name"]},
        ),
        ({"action": "noop"}, {**PROPOSED, "action": "noop", "transformations": []}),
        (
            {"action": "workflow", "workflow": "intake", "transformations": [NAME]},
            {"action": "workflow", "workflow": "intake", "transformations": [NAME]},
        ),
    ],
)
def test_a_proposal_is_of_the_action_that_is_decided(decided: Any, then: Any) -> None:
    assert as_decided(PROPOSED, decided) == then


def test_only_what_is_proposed_is_decided_again() -> None:
    proposed = {"remote_object": "Lead", "events": {"made": PROPOSED, "new": PROPOSED}}
    before = {"events": {"made": {"action": "noop"}, "gone": {"action": "noop"}}}
    found = with_choices(proposed, before)
    assert found["remote_object"] == "Lead"
    assert {slug: event["action"] for slug, event in found["events"].items()} == {
        "made": "noop",
        "new": "create",
    }
