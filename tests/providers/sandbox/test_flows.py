"""Flows: what a customer defines as rows runs whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.sandbox.conftest import add_flow, ref_of
from xkit_crm.exceptions import RejectedByCRM, RemoteRecordNotFound
from xkit_crm.providers.sandbox.flows import run_flow
from xkit_crm.providers.sandbox.models import Flow, Org, Record
from xkit_crm.providers.sandbox.records import delete_record
from xkit_crm.providers.sandbox.standard import ensure_org

pytestmark = pytest.mark.django_db

WELCOME = [
    {"name": "name", "type": "string", "required": True},
    {"name": "email", "type": "email"},
]


@pytest.fixture
def welcome(org: Org) -> Flow:
    """Makes a lead, and a task that points to it."""
    lead = {"LastName": "{name}", "Company": "{name} Ltd.", "Email": "{email}"}
    return add_flow(
        org,
        "welcome",
        {"object_name": "Lead", "values": lead, "is_result": True},
        {"object_name": "Task", "values": {"Subject": "Greet {name}", "WhoId": "{step 1}"}},
        inputs=WELCOME,
    )


def only(object_name: str) -> Record:
    return Record.objects.get(object__name=object_name)


def problems(org: Org, name: str, inputs: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(RejectedByCRM) as raised:
        run_flow(org, name, inputs, None)
    return {problem.path: problem.error for problem in raised.value.errors}


def test_a_flow_makes_its_records_and_answers_with_its_result(org: Org, welcome: Flow) -> None:
    result = run_flow(org, "welcome", {"name": "Coyote", "email": "wile@acme.example"}, None)
    assert result == only("Lead")
    assert only("Lead").values == {
        "LastName": "Coyote",
        "Company": "Coyote Ltd.",
        "Email": "wile@acme.example",
        "Status": "Open",
    }
    assert only("Task").values["Subject"] == "Greet Coyote"
    assert only("Task").values["WhoId"] == "Lead:00001"


def test_a_flow_without_a_result_answers_with_nothing(org: Org) -> None:
    add_flow(org, "note", {"object_name": "Account", "values": {"Name": "Noted"}})
    assert run_flow(org, "note", {}, None) is None
    assert only("Account").values["Name"] == "Noted"


def test_all_of_the_steps_happen_or_none(org: Org, welcome: Flow, deal: Record) -> None:
    welcome.steps.create(position=3, action="update", values={"Amount": "a lot"})
    with pytest.raises(RejectedByCRM, match="is not a number"):
        run_flow(org, "welcome", {"name": "Coyote"}, ref_of(deal))
    assert not Record.objects.exclude(pk=deal.pk).exists()
    assert deal.history.count() == 1


def test_steps_run_in_the_order_of_their_positions(org: Org) -> None:
    flow = add_flow(org, "sign_up")
    contact = {"LastName": "x", "AccountId": "{step 1}"}
    flow.steps.create(position=2, action="create", object_name="Contact", values=contact)
    flow.steps.create(position=1, action="create", object_name="Account", values={"Name": "x"})
    run_flow(org, "sign_up", {}, None)
    assert only("Contact").values["AccountId"] == "Account:00001"


# -- inputs ---------------------------------------------------------------------------------------


def test_every_missing_and_unknown_input_is_told(org: Org, welcome: Flow) -> None:
    assert problems(org, "welcome", {"nmae": "Coyote", "phone": "1"}) == {
        "nmae": "the flow has no such input.",
        "phone": "the flow has no such input.",
        "name": "the flow needs this input.",
    }


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_required_input_must_say_something(org: Org, welcome: Flow, nothing: Any) -> None:
    assert problems(org, "welcome", {"name": nothing}) == {"name": "the flow needs this input."}


@pytest.mark.parametrize("value", [0, False])
def test_zero_and_false_are_inputs(org: Org, value: Any) -> None:
    inputs = [{"name": "value", "required": True}]
    add_flow(org, "f", {"object_name": "Account", "values": {"Name": "{value}!"}}, inputs=inputs)
    run_flow(org, "f", {"value": value}, None)
    assert only("Account").values["Name"] == f"{value}!"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Amount", 1200.5),
        ("Probability", 0),
        ("Tags", ["New", "Upsell"]),
        ("Description", "{not a placeholder}"),
        ("Description", "a {name} of another"),
    ],
)
def test_a_value_that_is_all_placeholder_keeps_the_inputs_type(
    org: Org, field: str, value: Any
) -> None:
    step = {"object_name": "Opportunity", "values": {"Name": "x", field: "{value}"}}
    add_flow(org, "f", step, inputs=[{"name": "value"}])
    run_flow(org, "f", {"value": value}, None)
    assert only("Opportunity").values[field] == value


def test_placeholders_are_filled_in_inside_lists_too(org: Org) -> None:
    step = {"object_name": "Opportunity", "values": {"Name": "x", "Tags": ["New", "{kind}"]}}
    add_flow(org, "f", step, inputs=[{"name": "kind"}])
    run_flow(org, "f", {"kind": "Renewal"}, None)
    assert only("Opportunity").values["Tags"] == ["New", "Renewal"]


def test_what_is_no_placeholder_is_written_as_it_is(org: Org) -> None:
    values = {"Name": "Braces {} and { {", "Amount": 5, "Tags": ["New"]}
    add_flow(org, "f", {"object_name": "Opportunity", "values": values})
    run_flow(org, "f", {}, None)
    assert only("Opportunity").values == {**values, "StageName": "Prospecting"}


def test_an_input_that_is_not_given_leaves_its_field_alone_and_null_clears_it(
    org: Org, deal: Record
) -> None:
    values = {"StageName": "{stage}", "Amount": "{amount}", "Description": "was {stage}."}
    inputs = [{"name": "stage"}, {"name": "amount"}]
    add_flow(org, "make", {"object_name": "Opportunity", "values": values | {"Name": "x"}})
    add_flow(org, "amend", {"action": "update", "values": values})
    Flow.objects.update(inputs=inputs)
    run_flow(org, "make", {}, None)
    made = Record.objects.exclude(pk=deal.pk).get()
    assert made.values == {"Name": "x", "StageName": "Prospecting", "Description": "was ."}
    run_flow(org, "amend", {"amount": None}, ref_of(deal))
    deal.refresh_from_db()
    assert deal.values == {
        "Name": "Sales contract",
        "StageName": "Prospecting",
        "Description": "was .",
    }


# -- the record it runs on ------------------------------------------------------------------------


@pytest.fixture
def win(org: Org) -> Flow:
    """Updates the record it runs on, and makes a task about it."""
    return add_flow(
        org,
        "win",
        {"action": "update", "values": {"StageName": "Closed Won"}, "is_result": True},
        {"object_name": "Task", "values": {"Subject": "Celebrate", "WhatId": "{record}"}},
    )


def test_a_step_may_update_the_record_that_the_flow_runs_on(
    org: Org, win: Flow, deal: Record
) -> None:
    assert run_flow(org, "win", {}, ref_of(deal)) == deal
    deal.refresh_from_db()
    assert (deal.values["StageName"], deal.version) == ("Closed Won", 2)
    assert only("Task").values["WhatId"] == deal.record_id


def test_an_update_step_needs_a_record_that_is_there(org: Org, win: Flow, deal: Record) -> None:
    with pytest.raises(RejectedByCRM, match="Step 1 updates a record, and the flow runs on none"):
        run_flow(org, "win", {}, None)
    delete_record(org, ref_of(deal))
    with pytest.raises(RemoteRecordNotFound):
        run_flow(org, "win", {}, ref_of(deal))


def test_an_unknown_flow_one_that_is_off_and_another_organisations_are_refused(
    org: Org, win: Flow, deal: Record
) -> None:
    with pytest.raises(RejectedByCRM, match="no active flow 'winn'"):
        run_flow(org, "winn", {}, ref_of(deal))
    with pytest.raises(RejectedByCRM, match="no active flow"):
        run_flow(ensure_org("globex"), "win", {}, ref_of(deal))
    Flow.objects.update(active=False)
    with pytest.raises(RejectedByCRM, match="no active flow"):
        run_flow(org, "win", {}, ref_of(deal))
