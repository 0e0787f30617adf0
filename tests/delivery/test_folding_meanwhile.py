"""Folding while somebody else changes what is folded, or what is decided of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.delivery.conftest import Misbehave, act, create, held, names, states
from tests.delivery.test_claiming import claimed, row, store
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import catalogue
from xkit_crm.delivery import claiming
from xkit_crm.delivery.replay import skip
from xkit_crm.models import Connection, EventDefinition, Invocation
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.models import Flow
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


UPDATES_BY_FLOW = {
    "action": "workflow",
    "workflow": "new_deal",
    "transformations": [{"field": "title", "kind": "direct", "key": "name"}],
}


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have this happen once, between what is read to be folded and what is written of it."""
    write_down = claiming._write_down

    def writing(*args: Any) -> int:
        monkeypatch.setattr(claiming, "_write_down", write_down)
        change()
        return write_down(*args)

    monkeypatch.setattr(claiming, "_write_down", writing)


def changed_twice(customer: Customer) -> Invocation:
    """A row that was delivered, and of which two changes wait; gives the first of these."""
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    for title in ("Two", "Three"):
        deal.title = title
        deal.save()
    return Invocation.objects.order_by("id")[1]


def test_a_change_is_not_lost_that_was_to_join_one_that_somebody_has_just_skipped(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = changed_twice(customer)
    meanwhile(monkeypatch, lambda: skip([first]))
    deliver()
    assert states() == ["succeeded", "skipped", "succeeded"]
    assert names() == ["Three"]


@pytest.mark.parametrize(
    "left",
    [{"status": "succeeded"}, {"status": "pending", "doubtful": True}],
    ids=["sent", "tried"],
)
def test_a_change_is_not_lost_that_was_to_join_one_that_a_successor_has_taken(
    sandbox: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    left: dict[str, Any],
) -> None:
    first = changed_twice(customer)
    meanwhile(monkeypatch, lambda: Invocation.objects.filter(pk=first.pk).update(tries=1, **left))
    deliver()
    assert states() == ["succeeded"] * 3
    assert names() == ["Three"]


def test_a_delete_that_was_to_replace_what_a_successor_has_tried_waits_behind_it(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    deal.delete()

    def tried() -> None:
        first = Invocation.objects.order_by("id")[0]
        provider_for(sandbox).create("Opportunity", {"Name": "One"}, key=str(first.uuid))
        Invocation.objects.filter(pk=first.pk).update(tries=1, doubtful=True)

    meanwhile(monkeypatch, tried)
    deliver()
    assert states() == ["succeeded"] * 2
    assert held() == []


def test_an_event_with_nothing_to_do_that_somebody_has_just_skipped_is_told_once(
    sandbox: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    heard: list[Invocation],
    django_capture_on_commit_callbacks: Any,
) -> None:
    act("deal_updated", action="noop", transformations=[])
    deal = DealFactory.create(customer=customer, title="One")
    deal.title = "Two"
    deal.save()
    meanwhile(monkeypatch, lambda: skip(Invocation.objects.filter(event__slug="deal_updated")))
    with django_capture_on_commit_callbacks(execute=True):
        deliver()
    assert states() == ["succeeded", "skipped"]
    assert sorted(one.event.slug for one in heard) == ["deal_created", "deal_updated"]


def folded_and_waiting(customer: Customer, misbehave: Misbehave, time_machine: Any) -> None:
    """A create that an update has joined, after a first try that failed."""
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("locked_record", operation="create", retry_after=60)
    deal = DealFactory.create(customer=customer, title="One")
    deal.title = "Two"
    deal.save()
    deliver()
    assert states() == ["pending", "superseded"]
    time_machine.move_to("2026-01-01T01:01:01Z", tick=False)


def test_an_update_that_becomes_a_workflow_is_let_go_and_runs_by_itself(
    flow: Flow, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    name = [{"field": "Name", "kind": "direct", "key": "name"}]
    act("deal_created", action="create", workflow="", transformations=name)
    folded_and_waiting(customer, misbehave, time_machine)
    act("deal_updated", **UPDATES_BY_FLOW)
    deliver()
    assert states() == ["succeeded", "deferred"]
    assert held("Account") == [{"Name": "Two"}]
    assert names()[0] == "One"
    assert not Invocation.objects.exclude(superseded_by=None).exists()


def test_an_update_on_which_nothing_is_done_any_more_writes_nothing(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    folded_and_waiting(customer, misbehave, time_machine)
    act("deal_updated", action="noop")
    deliver()
    assert names() == ["One"]


def test_what_joined_a_create_that_becomes_a_workflow_is_not_lost(
    flow: Flow, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    name = [{"field": "Name", "kind": "direct", "key": "name"}]
    act("deal_created", action="create", workflow="", transformations=name)
    folded_and_waiting(customer, misbehave, time_machine)
    act(
        "deal_created",
        action="workflow",
        workflow="new_deal",
        transformations=[{"field": "title", "kind": "direct", "key": "name"}],
    )
    deliver()
    # The flow makes the record of what the create said; then the update has its turn.
    assert states() == ["deferred", "succeeded"]
    assert names() == ["Two"]


def test_what_joined_an_event_on_which_nothing_is_done_any_more_is_not_lost(
    sandbox: Connection,
) -> None:
    record = create("One").record
    assert record is not None
    other = EventDefinition.objects.create(
        crm_object=EventDefinition.objects.get(slug="deal_updated").crm_object,
        slug="deal_renamed",
        type="update",
        label="Deal Renamed",
        payload_schema={"name": {"type": "string"}},
    )
    catalogue.forget()
    mapping = sandbox.mappings.get(crm_object__slug="opportunity")
    name = [{"field": "Name", "kind": "direct", "key": "name"}]
    mapping.actions.create(event=other, action="update", transformations=name)
    store(
        row(record.id, record_id=record.id, payload={"amount": 5}),
        row(record.id, "deal_renamed", record_id=record.id, payload={"name": "Two"}),
    )
    assert len(claimed().invocations) == 1
    act("deal_updated", action="noop", transformations=[])
    deliver()
    assert names() == ["Two"]


def test_what_a_delete_superseded_is_not_lost_when_nothing_is_done_on_deletes_any_more(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("locked_record", operation="delete", retry_after=60)
    deal.title = "Two"
    deal.save()
    deal.delete()
    deliver()
    assert states() == ["succeeded", "superseded", "pending"]
    time_machine.move_to("2026-01-01T01:01:01Z", tick=False)
    act("deal_deleted", action="noop", transformations=[])
    deliver()
    assert names() == ["Two"]
