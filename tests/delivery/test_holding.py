"""An event whose mapping doesn't fit the CRM any more waits until the customer has decided."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, held, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer
from tests.threads import begun
from xkit_crm import mappings
from xkit_crm.delivery import outcomes, shadow
from xkit_crm.delivery.replay import replay
from xkit_crm.invoking import put, read
from xkit_crm.models import Attempt, Connection, EventAction, Invocation
from xkit_crm.models.invocation import Source
from xkit_crm.providers.sandbox.models import Field, Flow, Object, Request
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:01Z"
NAME = {"field": "Name", "kind": "direct", "key": "name"}


@pytest.fixture(autouse=True)
def _clock(time_machine: Any) -> None:
    time_machine.move_to(NOW, tick=False)


def field(name: str, **changes: Any) -> Field:
    """Change a field in the CRM."""
    found = Field.objects.get(object__name="Opportunity", name=name)
    for key, value in changes.items():
        setattr(found, key, value)
    found.save()
    return found


def problems() -> list[str]:
    error = only().error
    assert error is not None
    return [str(problem) for problem in error.errors]


# -- what makes it wait ---------------------------------------------------------------------------


def drop_amount() -> None:
    field("Amount").delete()


def retype_amount() -> None:
    field("Amount", type="date")


def lock_amount() -> None:
    field("Amount", read_only=True)


def require_probability() -> None:
    field("Probability", required=True)


def drop_the_object() -> None:
    Object.objects.get(name="Opportunity").delete()


def undecide() -> None:
    EventAction.objects.filter(event__slug="deal_created").delete()


@pytest.mark.parametrize(
    ("drift", "told"),
    [
        (drop_amount, "transformations.Amount: the CRM has no such field any more"),
        (retype_amount, "transformations.Amount: Amount is of type date, which amount never is"),
        (lock_amount, "transformations.Amount: Amount can't be used to create"),
        (
            require_probability,
            "transformations.Probability: Probability (%) is required by the CRM",
        ),
        (drop_the_object, "remote_object: the CRM has no object 'Opportunity' any more"),
        (undecide, "events.deal_created: has no action yet"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_event_that_does_not_fit_the_crm_any_more_waits_and_says_why(
    sandbox: Connection, customer: Customer, drift: Callable[[], None], told: str
) -> None:
    DealFactory.create(customer=customer)
    drift()

    deliver()

    waiting = only()
    assert (waiting.status, waiting.error_code) == ("pending", "mapping_incomplete")
    assert problems() == [told]
    assert waiting.due_at.isoformat() == "2026-01-01T01:00:00+00:00"
    assert waiting.finished_at is None
    assert not Request.objects.exists()
    assert deliver() == 0


def test_every_problem_is_told_at_once(sandbox: Connection, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    drop_amount()
    require_probability()

    deliver()

    assert [told.split(":")[0] for told in problems()] == [
        "transformations.Probability",
        "transformations.Amount",
    ]


def test_an_event_whose_workflow_is_gone_waits(flow: Flow, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    flow.delete()

    deliver()

    assert problems() == ["workflow: the CRM has no workflow 'new_deal' any more"]
    assert states() == ["pending"]


def test_an_update_that_has_to_read_the_record_first_waits_before_it_reads(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = create().record
    assert record is not None
    row = {"field": "Description", "kind": "static", "value": "x", "mode": "when_empty"}
    act("deal_updated", transformations=[row])
    xkit_crm.invoke("acme", "opportunity", "deal_updated", {}, record.id, wait=False)
    field("Description").delete()
    monkeypatch.setattr("xkit_crm.providers.sandbox.provider.SandboxProvider.get", None)

    deliver()

    assert states() == ["succeeded", "pending"]


def test_what_is_folded_together_waits_together(sandbox: Connection, customer: Customer) -> None:
    act("deal_updated", transformations=[{"field": "Description", "kind": "static", "value": "x"}])
    deal = DealFactory.create(customer=customer)
    deal.title = "Renamed"
    deal.save()
    field("Description").delete()

    deliver()

    assert states() == ["pending", "superseded"]
    waiting = Invocation.objects.get(status="pending")
    assert "Description" in str(waiting.error)
    assert held() == []


# -- what doesn't ---------------------------------------------------------------------------------


def test_a_crm_that_can_not_be_asked_holds_nothing_up(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 1}
    DealFactory.create(customer=customer)
    misbehave("unavailable", operation="describe")

    deliver()

    assert (only().status, only().error_code) == ("failed", "crm_unavailable")


def test_who_waits_for_an_answer_is_told_at_once(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = read("acme", "opportunity", "deal_created", {"name": "Sales"}, None)
    # It fits at the door, and doesn't any more when its turn comes.
    monkeypatch.setattr("xkit_crm.invoking.admit", lambda request: require_probability())

    invocation, _ = put(request, source=Source.API, retry=False)

    assert (invocation.status, invocation.error_code) == ("failed", "mapping_incomplete")


def test_a_caller_who_leaves_the_retrying_to_us_finds_it_waiting(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.invoking.admit", lambda request: require_probability())

    invocation = create()

    assert invocation.status == "pending"
    assert invocation.error is not None
    assert "Probability" in str(invocation.error)


def test_other_events_and_other_records_go_on(sandbox: Connection, customer: Customer) -> None:
    first = DealFactory.create(customer=customer, title="First")
    deliver()
    act("deal_updated", transformations=[NAME, {"field": "Gone", "kind": "static", "value": 1}])
    first.title = "First, renamed"
    first.save()
    DealFactory.create(customer=customer, title="Second")
    xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "Second"}, wait=False)

    deliver()

    assert states() == ["succeeded", "pending", "succeeded", "succeeded"]
    assert names() == ["First", "Second"]


def test_a_delete_makes_what_waits_in_front_of_it_needless(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    act("deal_updated", transformations=[{"field": "Gone", "kind": "static", "value": 1}])
    deal.title = "Renamed"
    deal.save()
    deliver()

    deal.delete()
    deliver()

    assert states() == ["succeeded", "superseded", "succeeded"]
    assert names() == []


def test_what_stands_behind_one_that_waits_goes_on_with_it(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    deliver()
    act("deal_updated", action="workflow", workflow="gone", transformations=[])
    for title in ("Second", "Third"):
        deal.title = title
        deal.save()
    deliver()
    assert states() == ["succeeded", "pending", "pending"]

    act("deal_updated", action="update", workflow="", transformations=[NAME])
    mappings.record(sandbox)
    deliver()

    assert names() == ["Third"]
    assert states() == ["succeeded", "succeeded", "superseded"]


# -- how long it waits ----------------------------------------------------------------------------


def test_it_goes_on_when_the_customer_puts_a_mapping_in_force(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create_batch(2, customer=customer)
    drop_amount()
    deliver()
    document = mappings.in_force(sandbox)
    document["opportunity"]["events"]["deal_created"]["transformations"] = [NAME]

    mappings.put_in_force(sandbox, document)

    assert deliver() == 2
    assert states() == ["succeeded"] * 2


def test_it_looks_again_by_itself_and_goes_on_when_the_crm_is_mended(
    sandbox: Connection, customer: Customer, time_machine: Any
) -> None:
    DealFactory.create(customer=customer, title="Apple")
    lock_amount()
    deliver()
    field("Amount", read_only=False)

    time_machine.move_to(LATER, tick=False)
    deliver()

    assert names() == ["Apple"]
    assert only().error is None
    assert list(Attempt.objects.values_list("number", "outcome")) == [
        (1, "failed"),
        (2, "succeeded"),
    ]


def test_the_log_says_once_for_what_it_waits_and_again_where_that_has_changed(
    sandbox: Connection, customer: Customer, time_machine: Any
) -> None:
    DealFactory.create(customer=customer)
    drop_amount()
    for hour in range(3):
        time_machine.move_to(f"2026-01-01T0{hour}:01:00Z", tick=False)
        assert deliver() == 1
    assert Attempt.objects.count() == 1
    assert only().due_at.isoformat() == "2026-01-01T03:01:00+00:00"

    require_probability()
    time_machine.move_to("2026-01-01T03:02:00Z", tick=False)
    deliver()

    assert list(Attempt.objects.values_list("number", flat=True)) == [1, 2]
    assert (only().tries, only().forgiven) == (2, 2)


def test_waiting_uses_up_no_tries(
    sandbox: Connection,
    customer: Customer,
    misbehave: Misbehave,
    settings: Any,
    time_machine: Any,
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 2}
    DealFactory.create(customer=customer)
    drop_amount()
    deliver()
    require_probability()
    time_machine.move_to(LATER, tick=False)
    deliver()
    act("deal_created", transformations=[NAME])
    field("Probability", required=False)
    mappings.record(sandbox)
    misbehave("unavailable", operation="create")

    deliver()

    assert states() == ["succeeded"]


def test_one_that_may_have_been_written_is_looked_up_once_it_goes_on(
    sandbox: Connection, misbehave: Misbehave, settings: Any, time_machine: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "RETRY_BASE": 60.0}
    act("deal_created", transformations=[NAME, {"field": "Amount", "kind": "static", "value": 1}])
    misbehave("timeout_after", operation="create")
    create("Sales", wait=False)
    deliver()
    assert (only().status, only().doubtful) == ("pending", True)
    lock_amount()
    time_machine.move_to("2026-01-01T00:02:00Z", tick=False)
    deliver()
    assert (only().error_code, only().doubtful) == ("mapping_incomplete", True)

    field("Amount", read_only=False)
    mappings.release("acme")
    deliver()

    assert states() == ["succeeded"]
    assert names() == ["Sales"]


def test_a_replay_waits_too(sandbox: Connection, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    Invocation.objects.update(retry=False)
    drop_amount()
    deliver()
    assert states() == ["failed"]

    replay([only()])
    deliver()

    assert states() == ["pending"]


def test_who_decides_while_it_is_looked_at_is_not_overlooked(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    drop_amount()
    store = outcomes._store

    def deciding(tries: Any, **named: Any) -> Any:
        if EventAction.objects.get(event__slug="deal_created").transformations != [NAME]:
            act("deal_created", transformations=[NAME])
            mappings.record(Connection.objects.get(pk="acme"))
        return store(tries, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "_store", deciding)
        deliver()

    assert states() == ["succeeded"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_who_decides_waits_for_what_is_being_written_down(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    drop_amount()
    look, deciding = outcomes._look_again_where_decided, threading.Event()

    def decide() -> None:
        deciding.wait(10)
        act("deal_created", transformations=[NAME])
        mappings.record(Connection.objects.get(pk="acme"))

    thread = begun(decide)

    def slowly(held: Any) -> None:
        look(held)
        if held:
            deciding.set()
            thread.join(0.3)
            assert thread.is_alive()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "_look_again_where_decided", slowly)
        deliver()
    thread.join(10)
    deliver()
    assert states() == ["succeeded"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_what_is_captured_does_not_keep_a_customer_from_deciding(
    sandbox: Connection, customer: Customer
) -> None:
    decided = threading.Event()

    def decide() -> None:
        mappings.record(Connection.objects.get(pk="acme"))
        decided.set()

    with transaction.atomic():
        DealFactory.create(customer=customer)
        thread = begun(decide)
        assert decided.wait(10)
    thread.join(10)


# -- shadow mode ----------------------------------------------------------------------------------


def test_what_waits_is_rehearsed_and_said_to_wait(sandbox: Connection, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    drop_amount()
    deliver()
    shadow.start(sandbox)
    mappings.release("acme")

    deliver()

    ((message, count),) = shadow.report(sandbox).problems.items()
    assert "not complete" in message
    assert count == 1
    assert deliver() == 0


# -- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [lambda: None, drop_amount], ids=["complete", "incomplete"])
def test_it_costs_the_same_queries_and_calls_for_many_as_for_few(
    sandbox: Connection, customer: Customer, drift: Callable[[], None], described: list[str]
) -> None:
    def cost(count: int) -> int:
        DealFactory.create_batch(count, customer=customer)
        described.clear()
        with CaptureQueriesContext(database) as queries:
            deliver()
        asked = [q["sql"] for q in queries if "xkit_crm_" in q["sql"]]
        return sum(sql.startswith("SELECT") for sql in asked)

    drift()
    cost(1)
    few, asked = cost(2), len(described)
    assert cost(20) == few
    assert len(described) == asked == 1
