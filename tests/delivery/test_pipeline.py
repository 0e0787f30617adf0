"""Carrying out one invocation: what is written to the CRM, and what is written down of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, held, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import signals
from xkit_crm.exceptions import RejectedByCRM
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.providers.base import Edit, RecordRef
from xkit_crm.providers.sandbox.models import Change, Flow, Request
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


# -- what goes well -------------------------------------------------------------------------------


def test_a_saved_row_becomes_a_record_and_is_linked_to_it(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple", amount="1200.50")
    assert names() == []
    assert deliver() == 1
    assert held()[0]["Name"] == "Apple"
    assert held()[0]["Amount"] == 1200.5
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
    assert only().record_id == "Opportunity:00001"


def test_an_update_and_a_delete_follow_the_link(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert names() == ["Renamed"]
    deal.delete()
    deliver()
    assert names() == []
    assert states() == ["succeeded"] * 3
    assert not RecordLink.objects.exists()


def test_an_update_before_the_create_was_delivered_joins_it(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    deal.title = "Second"
    deal.save()
    deliver()
    assert names() == ["Second"]
    assert states() == ["succeeded", "superseded"]
    assert list(Change.objects.values_list("operation", flat=True)) == ["create"]


def test_each_try_is_written_down(sandbox: Connection) -> None:
    create()
    (attempt,) = Attempt.objects.all()
    assert attempt.operation == "create"
    assert attempt.target == "Opportunity"
    assert attempt.sent["Name"] == "Sales"
    assert attempt.received == {"records": [only().result["records"][0]]}
    assert attempt.outcome == "succeeded"
    assert attempt.duration.total_seconds() > 0


def test_an_update_with_nothing_to_write_writes_nothing(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    act("deal_updated", transformations=[{"field": "Name", "kind": "empty"}])
    updated = xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "x"}, record.id)
    assert updated.status == "succeeded"
    assert not Request.objects.filter(operation="update").exists()


def test_a_field_written_only_while_empty_leaves_what_a_person_wrote(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    act(
        "deal_updated",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name", "mode": "when_empty"},
            {"field": "Description", "kind": "static", "value": "new", "mode": "when_empty"},
            {"field": "StageName", "kind": "static", "value": "Proposal", "mode": "on_create"},
        ],
    )
    xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "Renamed"}, record.id)
    assert held()[0]["Name"] == "Sales"
    assert held()[0]["Description"] == "new"
    assert held()[0]["StageName"] == "Prospecting"


def test_one_that_writes_nothing_hides_not_which_one_the_crm_refuses(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_all(self: SandboxProvider, edits: Sequence[Edit]) -> list[None]:
        for edit in edits:
            refuse(self, edit.ref, edit.values)
        return [None] * len(edits)

    def refuse(self: SandboxProvider, ref: RecordRef, values: Mapping[str, Any]) -> None:
        if values["Amount"] == 13:
            raise RejectedByCRM("That is an unlucky number.")

    monkeypatch.setattr(SandboxProvider, "batch_size", 10)
    monkeypatch.setattr(SandboxProvider, "update_many", refuse_all)
    monkeypatch.setattr(SandboxProvider, "update", refuse)
    deals = [DealFactory.create(customer=customer, amount=amount) for amount in (1, None, None)]
    deliver()
    written = {"field": "Amount", "kind": "direct", "key": "amount", "mode": "when_empty"}
    act("deal_updated", transformations=[written])
    for deal, deal.amount in zip(deals, (4, 5, 13), strict=True):
        deal.save()
    deliver()
    assert states()[3:] == ["succeeded", "succeeded", "failed"]


def test_an_event_that_the_customer_does_nothing_on_is_skipped(sandbox: Connection) -> None:
    act("deal_created", action="noop", transformations=[])
    invocation = create()
    assert invocation.status == "skipped"
    assert invocation.record is None
    assert held() == []


def test_an_object_that_the_customer_opted_out_of_is_skipped(sandbox: Connection) -> None:
    sandbox.mappings.filter(crm_object__slug="opportunity").update(remote_object="")
    assert create().status == "skipped"


def test_what_finished_is_told_to_the_product(sandbox: Connection, customer: Customer) -> None:
    finished: list[tuple[str, str]] = []
    linked: list[str] = []

    def on_finished(invocation: Invocation, **_: object) -> None:
        finished.append((invocation.event.slug, invocation.status))

    def on_linked(link: RecordLink, **_: object) -> None:
        linked.append(link.record_id)

    signals.invocation_finished.connect(on_finished)
    signals.record_linked.connect(on_linked)
    DealFactory.create(customer=customer)
    with pytest.MonkeyPatch.context() as patch:
        # In a TestCase nothing commits; what would be told then is told at once.
        patch.setattr("django.db.transaction.on_commit", lambda tell, **_: tell())
        deliver()
    assert finished == [("deal_created", "succeeded")]
    assert linked == ["Opportunity:00001"]


# -- handed to the CRM's own workflow -------------------------------------------------------------


def test_an_event_may_be_deferred_to_the_crms_workflow(flow: Flow) -> None:
    invocation = create()
    assert invocation.status == "deferred"
    assert invocation.record is not None
    assert invocation.record.data["document_name"] == "Sales"
    assert held("Account") == [{"Name": "Sales"}]


def test_a_workflow_that_does_not_say_which_record_it_made_answers_none(flow: Flow) -> None:
    flow.steps.update(is_result=False)
    invocation = create()
    assert invocation.status == "deferred"
    assert invocation.record is None


def test_a_row_handed_to_such_a_workflow_is_not_created_again_by_its_next_change(
    flow: Flow, customer: Customer
) -> None:
    flow.steps.update(is_result=False)
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert states() == ["deferred", "failed"]
    failed = Invocation.objects.get(status="failed")
    assert "xkit_crm.link()" in str(failed.error)
    assert len(held()) == 1


def test_a_row_handed_to_such_a_workflow_may_be_left_alone_from_then_on(
    flow: Flow, customer: Customer
) -> None:
    flow.steps.update(is_result=False)
    act("deal_updated", action="noop", transformations=[])
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert states() == ["deferred", "skipped"]


def test_a_workflow_whose_answer_was_lost_runs_once(flow: Flow, misbehave: Misbehave) -> None:
    misbehave("timeout_after", operation="workflow")
    create()
    deliver()
    assert states() == ["deferred"]
    assert len(held()) == 1


def test_a_workflow_that_is_gone_is_named(flow: Flow) -> None:
    flow.delete()
    with pytest.raises(xkit_crm.exceptions.MappingIncomplete, match="new_deal"):
        create()


# -- order ----------------------------------------------------------------------------------------


def test_later_changes_of_a_record_wait_and_other_records_go_on(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("locked_record", operation="create", retry_after=60)
    first = DealFactory.create(customer=customer, title="First")
    first.title = "First, renamed"
    first.save()
    DealFactory.create(customer=customer, title="Second")
    deliver()
    assert names() == ["Second"]
    assert states() == ["pending", "superseded", "succeeded"]
    time_machine.move_to("2026-01-01T00:01:01Z", tick=False)
    deliver()
    assert names() == ["Second", "First, renamed"]


def test_events_fired_by_record_id_and_by_its_row_keep_their_order(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    deal.title = "Two"
    deal.save()
    xkit_crm.invoke(
        "acme", "opportunity", "deal_updated", {"name": "Three"}, "Opportunity:00001", wait=False
    )
    assert len(set(Invocation.objects.values_list("record_key", flat=True))) == 1
    deliver()
    assert names() == ["Three"]
