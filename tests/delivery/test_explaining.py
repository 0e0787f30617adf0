"""Why an invocation is where it is, what happens next, and what a person can do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.delivery.conftest import Misbehave, act, create, only
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer
from xkit_crm import connections, mappings
from xkit_crm.delivery import explaining, shadow
from xkit_crm.delivery.explaining import Explanation, explain
from xkit_crm.exceptions import class_of
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.providers.sandbox.models import Flow
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
AT_ONCE = "Call the CRM again at once"
#: All but what is reserved for other tools.
USED_UP = {"quota": 1000, "quota_left": 200, "quota_resets_at": LATER}


@pytest.fixture(autouse=True)
def _clock(time_machine: Any) -> None:
    time_machine.move_to(NOW, tick=False)


def of(invocation: Invocation) -> Explanation:
    found = Invocation.objects.select_related(
        "connection__lane", "event__crm_object", "superseded_by__event"
    ).get(pk=invocation.pk)
    return explain(found)


def lane(connection: Connection, **values: Any) -> Lane:
    found, _ = Lane.objects.update_or_create(connection=connection, defaults=values)
    return found


# -- waiting --------------------------------------------------------------------------------------


def test_it_waits_for_a_connection_that_is_switched_off(sandbox: Connection) -> None:
    waiting = create(wait=False)
    connections.set_status(sandbox, ConnectionStatus.ERRORED, "It answered 401.")
    told = of(waiting)
    assert told.state == "Waits for its connection"
    assert "errored: It answered 401." in told.why
    assert "the customer reconnects it" in told.to_do


def test_it_waits_for_a_connection_to_go_live(sandbox: Connection) -> None:
    waiting = create(wait=False)
    shadow.start(sandbox)
    assert "A worker rehearses it" in of(waiting).next
    deliver()
    assert of(waiting).state == "Waits for its connection to go live"
    assert "once the connection goes live" in of(waiting).next
    assert "Go live" in of(waiting).to_do


def test_it_waits_behind_an_earlier_one_of_its_record(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    first = only()
    deal.title = "Renamed"
    deal.save()
    second = Invocation.objects.latest("id")
    assert of(second).other == first
    assert "in the order in which it happened" in of(second).why
    Invocation.objects.filter(pk=first.pk).update(status="unknown")
    told = of(second)
    assert (told.other, told.to_do) == (first, "Decide on that one: replay or skip it.")
    assert of(first).other is None


def test_it_waits_for_the_mapping_and_says_what_is_missing(sandbox: Connection) -> None:
    waiting = create(wait=False)
    act("deal_created", transformations=[{"field": "Gone", "kind": "static", "value": 1}])
    deliver()
    told = of(waiting)
    assert told.state == "Waits for the mapping"
    assert told.why == class_of("mapping_incomplete").meaning
    assert told.when == NOW + timedelta(hours=1)
    assert "in CRM Link" in told.to_do
    mappings.release(sandbox.pk)
    assert of(waiting).state == "Waits for its turn"


@pytest.mark.parametrize(
    ("gauge", "why", "to_do"),
    [
        ({}, "asked to be left alone", AT_ONCE),
        ({"failures": 7}, "didn't answer the last 7 calls", AT_ONCE),
        ({"tokens": 0.0, "tokens_at": LATER}, "limit for calls is reached", AT_ONCE),
        (USED_UP, "daily quota is used up", "lower “Quota reserve” on the connection, then"),
        ({**USED_UP, "quota_left": 300}, "asked to be left alone", AT_ONCE),
        ({**USED_UP, "quota_resets_at": NOW}, "asked to be left alone", AT_ONCE),
    ],
)
def test_it_waits_while_its_lane_is_paused(
    sandbox: Connection, gauge: dict[str, Any], why: str, to_do: str
) -> None:
    waiting = create(wait=False)
    Connection.objects.update(quota_reserve=20)
    lane(sandbox, paused_until=NOW + timedelta(minutes=5), **gauge)
    told = of(waiting)
    assert told.state == "Waits: its lane is paused"
    assert why in told.why
    assert to_do in told.to_do
    assert told.when == NOW + timedelta(minutes=5)


def test_nothing_helps_against_a_quota_that_is_used_up_altogether(sandbox: Connection) -> None:
    waiting = create(wait=False)
    lane(sandbox, paused_until=LATER, **USED_UP | {"quota_left": 0})
    assert of(waiting).to_do == "Nothing: it goes on when the quota is renewed."


def test_it_waits_for_its_next_try(
    sandbox: Connection, misbehave: Misbehave, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "RETRY_BASE": 600.0}
    misbehave("unavailable", operation="create")
    waiting = create(wait=False)
    deliver()
    Lane.objects.update(paused_until=None)
    told = of(waiting)
    assert told.state == "Waits for its next try"
    assert "1 of 12 tries" in told.why
    assert told.when == only().due_at > NOW


def test_it_waits_for_its_turn_in_a_lane_that_is_worked_on(sandbox: Connection) -> None:
    ahead = [create("first", wait=False), create("second", wait=False)]
    waiting = create("third", wait=False)
    lane(sandbox, holder="host/1/2", leased_until=NOW + timedelta(seconds=20))
    assert "The worker host/1/2 works in its lane." in of(waiting).why
    assert of(waiting).next == "2 others of its lane come first."
    assert of(ahead[0]).next == "It is the next one of its lane."
    Invocation.objects.filter(pk=waiting.pk).update(priority=0)
    assert of(waiting).next == "It is the next one of its lane."


def test_a_long_line_is_not_counted_to_its_end(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "COUNTED", 3)
    InvocationFactory.create_batch(5, connection=sandbox)
    assert of(create(wait=False)).next == "More than 3 others of its lane come first."


@pytest.mark.parametrize(
    ("delivery", "to_do"),
    [
        ("worker", "xkit_worker"),
        ("immediate", "xkit_worker --once"),
        ("shop.queue.tell", "shop.queue.tell"),
    ],
)
def test_it_is_told_when_no_worker_seems_to_look(
    sandbox: Connection, settings: Any, time_machine: Any, delivery: str, to_do: str
) -> None:
    waiting = create(wait=False)
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": delivery}
    assert of(waiting).state == "Waits for its turn"
    time_machine.shift(timedelta(minutes=2))
    assert of(waiting).state == "Waits for a worker"
    assert to_do in of(waiting).to_do
    other = Connection.objects.create(id="other", provider="sandbox")
    lane(other, holder="host/1/2", leased_until=NOW + timedelta(hours=1))
    assert of(waiting).state == "Waits for its turn"  # they are busy


def test_it_is_being_sent_or_its_worker_has_died(sandbox: Connection) -> None:
    running = InvocationFactory.create(connection=sandbox, status="running")
    lane(sandbox, holder="host/1/2", leased_until=NOW + timedelta(seconds=20))
    assert of(running).state == "Being sent"
    assert "host/1/2" in of(running).why
    lane(sandbox, leased_until=NOW - timedelta(seconds=1))
    told = of(running)
    assert (told.state, "asks the CRM first" in told.next) == ("Interrupted", True)


# -- done, or in trouble --------------------------------------------------------------------------


def test_what_is_done_says_how_it_ended(
    sandbox: Connection, customer: Customer, flow: Flow
) -> None:
    act("deal_created", action="create", transformations=[])
    act("deal_created", transformations=[{"field": "Name", "kind": "direct", "key": "name"}])
    delivered = create("Apple")
    assert of(delivered).state == "Delivered"
    act("deal_created", action="noop")
    assert "chose that nothing is done" in of(create("Nothing")).why
    act("deal_created", action="workflow", workflow="new_deal")
    act("deal_created", transformations=[{"field": "title", "kind": "direct", "key": "name"}])
    assert of(create("Flow")).state == "Given to the CRM's workflow"


def test_what_joined_another_points_at_it(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer)
    deal.title = "Renamed"
    deal.save()
    deliver()
    first, second = Invocation.objects.order_by("id")
    assert of(second).state == "Joined another one"
    assert of(second).other == first
    assert "with what this one changes" in of(second).why


def test_what_a_delete_replaced_says_that_it_was_not_sent(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deal.delete()
    deliver()
    changed, deleted = Invocation.objects.order_by("id")[1:]
    assert of(changed).state == "Replaced by a delete"
    assert of(changed).other == deleted
    assert "not sent" in of(changed).why


def test_a_failure_says_what_it_means_and_what_to_do_by_its_kind(sandbox: Connection) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    told = of(create())
    assert told.state == class_of("rejected_by_crm").meaning
    assert told.to_do == class_of("rejected_by_crm").remedy
    assert told.next == "Nothing by itself."


def test_an_unknown_one_says_that_somebody_has_to_decide(sandbox: Connection) -> None:
    unknown = InvocationFactory.create(connection=sandbox, status="unknown")
    assert "Look in the CRM" in of(unknown).to_do


@pytest.mark.parametrize("status", list(InvocationStatus))
def test_no_explanation_quotes_an_error_which_may_hold_personal_data(
    sandbox: Connection, status: str
) -> None:
    detail = {"code": "crm_error", "message": "Ada is no name.", "hint": "Call Ada."}
    one = InvocationFactory.create(
        connection=sandbox, status=status, error_code="crm_error", error_detail=detail
    )
    for due_at in (NOW, NOW + timedelta(hours=1)):
        Invocation.objects.update(due_at=due_at)
        assert "Ada" not in str(of(one))


def test_what_somebody_skipped_says_so(sandbox: Connection) -> None:
    skipped = InvocationFactory.create(
        connection=sandbox, status="skipped", error_code="crm_error", error_detail={}
    )
    assert of(skipped).why == "Somebody decided to skip it after it had failed."


def test_an_explanation_costs_a_few_queries(sandbox: Connection) -> None:
    InvocationFactory.create_batch(30, connection=sandbox)
    waiting = create(wait=False)
    lane(sandbox, holder="host/1/2", leased_until=NOW + timedelta(seconds=20))
    found = Invocation.objects.select_related("connection__lane", "event").get(pk=waiting.pk)
    with CaptureQueriesContext(database) as queries:
        explain(found)
    assert len(queries) <= 4
