"""What a person decides: to do it again, as the same invocation and by today's mapping, or not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, names, only, states
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.replay import Skipped, objection, replay, send_again, skip
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.sandbox.models import Flow, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

NAME = [{"field": "Name", "kind": "direct", "key": "name"}]


def test_what_failed_is_done_again_with_todays_mapping(sandbox: Connection) -> None:
    no_stage = [{"field": "StageName", "kind": "direct", "key": "name"}, *NAME]
    created = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    act("deal_created", transformations=no_stage)
    deliver()
    assert only().status == "failed"
    act("deal_created", transformations=NAME)
    assert replay([created]) == 1
    deliver()
    assert names() == ["x"]
    assert only().status == "succeeded"
    assert only().error is None
    assert [attempt.number for attempt in only().attempts.all()] == [1, 2]


@pytest.fixture
def unknown(
    sandbox: Connection, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> Invocation:
    """A create of no row that was made, which nobody knew: the CRM couldn't be asked. By now it
    can."""
    with monkeypatch.context() as unable:
        unable.setattr(SandboxProvider, "can_find_created", False)
        misbehave("timeout_after", operation="create")
        made = create("Apple")
    assert made.status == "unknown"
    return made


def test_what_is_unknown_is_looked_up_before_it_is_done_again(unknown: Invocation) -> None:
    replay([unknown])
    deliver()
    assert names() == ["Apple"]
    assert only().status == "succeeded"


def test_what_was_done_is_left_alone(sandbox: Connection) -> None:
    done = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert replay([done]) == 0
    assert states() == ["succeeded"]
    assert Invocation.objects.get().attempts.count() == 1


def test_a_replay_gets_all_its_tries_again(
    sandbox: Connection, misbehave: Misbehave, settings: object
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 2}  # type: ignore[attr-defined]
    down = misbehave("unavailable", operation="create", times=2)
    failed = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert failed.status == "failed"
    type(down).objects.update(remaining=1)
    replay([failed])
    deliver()
    assert only().status == "succeeded"


# -- which payload --------------------------------------------------------------------------------


@pytest.fixture
def refused(sandbox: Connection, customer: Customer) -> Deal:
    """A row whose change the CRM refused, with a payload that says Apple; the row says Pear by
    now."""
    deal: Deal = DealFactory.create(customer=customer, title="First")
    deliver()
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    deal.title = "Apple"
    deal.save()
    deliver()
    act("deal_updated", transformations=NAME)
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    return deal


def failed() -> Invocation:
    return Invocation.objects.select_related("event", "connection").get(status="failed")


@pytest.mark.parametrize(("as_it_was", "written"), [(False, "Pear"), (True, "Apple")])
def test_a_replay_writes_the_row_as_it_is_or_as_it_was(
    refused: Deal, as_it_was: bool, written: str
) -> None:
    assert replay([failed()], as_it_was=as_it_was) == 1
    deliver()
    assert names() == [written]


def test_the_last_replay_says_which_payload_is_sent(refused: Deal, misbehave: Misbehave) -> None:
    again = failed()
    replay([again])
    Invocation.objects.filter(pk=again.pk).update(status="failed")
    replay([again], as_it_was=True)
    deliver()
    assert names() == ["Apple"]


def test_a_payload_that_its_event_refuses_is_never_sent_as_it_was(
    sandbox: Connection, customer: Customer, settings: object
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}  # type: ignore[attr-defined]
    deal = DealFactory.create(customer=customer, title="x" * 100)
    assert only().error_code == "payload_invalid"
    assert replay([only()], as_it_was=True) == 0
    Deal.objects.filter(pk=deal.pk).update(title="Short")
    assert replay([only()]) == 1
    deliver()
    assert names() == ["Short"]


def test_many_are_replayed_with_the_same_few_queries(sandbox: Connection) -> None:
    def fail(count: int) -> list[int]:
        made = InvocationFactory.create_batch(count, connection=sandbox, status="failed")
        return [one.pk for one in made]

    def cost(ids: list[int]) -> int:
        with CaptureQueriesContext(database) as queries:
            assert replay(ids) == len(ids)
        return len(queries)

    few, many = fail(2), fail(30)
    assert cost(many) == cost(few)


# -- what was delivered ---------------------------------------------------------------------------


def test_an_update_that_was_delivered_can_be_sent_again(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    deal.title = "Pear"
    deal.save()
    deliver()
    Record.objects.update(values={"Name": "Somebody else's"})
    update = Invocation.objects.select_related("event", "connection").latest("id")
    assert objection(update) == ""
    assert send_again(update)
    deliver()
    assert names() == ["Pear"]
    assert states() == ["succeeded", "succeeded"]


def test_an_update_of_a_row_that_was_unlinked_makes_no_new_record(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    deal.title = "Pear"
    deal.save()
    deliver()
    RecordLink.objects.all().delete()
    update = Invocation.objects.select_related("event", "connection").latest("id")
    assert "would make a new one" in objection(update)
    assert not send_again(update)
    deliver()
    assert names() == ["Pear"]


def test_a_create_that_was_delivered_becomes_an_update_of_its_record(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    assert send_again(only())
    deliver()
    assert names() == ["Pear"]
    assert (only().status, only().event.slug) == ("succeeded", "deal_updated")


def test_a_create_makes_no_second_record_though_its_link_goes_meanwhile(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer, title="Apple")
    deliver()
    assert send_again(only())
    RecordLink.objects.all().delete()
    deliver()
    assert names() == ["Apple"]


def test_a_create_of_no_row_is_never_sent_again(sandbox: Connection) -> None:
    made = create("Apple")
    assert "a second one must not be" in objection(made)
    assert not send_again(made)
    deliver()
    assert names() == ["Apple"]


def test_what_a_workflow_did_is_not_done_again(sandbox: Connection, flow: Flow) -> None:
    deferred = create("Apple")
    assert deferred.status == "deferred"
    assert "once more" in objection(deferred)
    assert not send_again(deferred)


def test_what_waits_joined_another_or_deleted_its_record_is_not_replayed(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Pear"
    deal.save()
    deal.title = "Plum"
    deal.save()
    waiting = Invocation.objects.select_related("event", "connection").latest("id")
    assert objection(waiting) == "It is not done yet."
    deliver()
    waiting.refresh_from_db()
    assert waiting.status == "superseded"
    assert "joined another" in objection(waiting)
    deal.delete()
    deliver()
    deleted = Invocation.objects.select_related("event", "connection").latest("id")
    assert (deleted.status, objection(deleted)) == ("succeeded", "Its record is deleted.")
    assert not send_again(deleted)


# -- skipping -------------------------------------------------------------------------------------


def test_what_failed_and_what_waits_can_be_skipped_and_is_sent_no_more(
    sandbox: Connection,
) -> None:
    waiting = create("Waits", wait=False)
    (failed,) = InvocationFactory.create_batch(1, connection=sandbox, status="failed")
    assert skip([waiting, failed]) == Skipped(2)
    deliver()
    assert states() == ["skipped", "skipped"]
    assert names() == []
    waiting.refresh_from_db()
    assert waiting.error is not None
    assert waiting.error.message == "Somebody decided to skip it."


def test_what_was_skipped_can_be_replayed(sandbox: Connection) -> None:
    waiting = create("Apple", wait=False)
    skip([waiting])
    replay([waiting])
    deliver()
    assert names() == ["Apple"]


def test_what_may_have_been_made_is_looked_up_though_somebody_skipped_it(
    unknown: Invocation,
) -> None:
    assert skip([unknown]) == Skipped(1)
    replay([unknown])
    deliver()
    assert names() == ["Apple"]
    assert states() == ["succeeded"]


def test_what_may_have_been_made_is_looked_up_though_the_customer_chose_nothing_meanwhile(
    unknown: Invocation,
) -> None:
    act("deal_created", action="noop")
    replay([unknown])
    deliver()
    assert states() == ["skipped"]
    act("deal_created", action="create")
    replay([unknown])
    deliver()
    assert names() == ["Apple"]
    assert states() == ["succeeded"]


def test_what_is_done_or_being_sent_is_not_skipped(sandbox: Connection) -> None:
    done = create("Apple")
    (running,) = InvocationFactory.create_batch(1, connection=sandbox, status="running")
    assert skip([done, running]) == Skipped(0)
    assert states() == ["succeeded", "running"]


def test_what_waits_behind_a_skipped_one_goes_on(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    create_event = only()
    deal.title = "Pear"
    deal.save()
    Invocation.objects.filter(pk=create_event.pk).update(status="unknown")
    deliver()
    assert skip([create_event]).left == 1  # it may have made a record of which nobody knows
    xkit_crm.link(deal, sandbox, create("In the CRM").record.id)  # type: ignore[union-attr]
    assert skip([create_event]).count == 1
    deliver()
    assert names() == ["Pear"]


def test_a_create_that_may_have_been_made_and_waits_again_is_not_skipped(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    Invocation.objects.update(doubtful=True)
    assert skip([only()]) == Skipped(0, left=1)


def test_the_product_hears_of_what_is_skipped(
    sandbox: Connection, heard: list[Invocation], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        skip([create("Apple", wait=False)])
    assert [one.status for one in heard] == ["skipped"]
