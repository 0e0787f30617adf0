"""Lanes: one worker at a time, taken over when it dies, given back when it is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, create, held, names, states
from tests.factories import DealFactory
from tests.products.models import Customer
from tests.threads import begun, together
from xkit_crm import invoking, signals
from xkit_crm.connections import break_off, disconnect
from xkit_crm.delivery import lanes
from xkit_crm.delivery.drain import deliver as deliver_now
from xkit_crm.delivery.drain import drain, take_turn
from xkit_crm.exceptions import RateLimited
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def waiting(name: str = "Sales") -> Invocation:
    return xkit_crm.invoke(
        "acme", "opportunity", "deal_created", {"name": name}, wait=False, idempotency_key=name
    )


def test_a_lane_is_held_by_one_and_given_back(connection: Connection) -> None:
    with lanes.held("acme") as mine:
        assert mine
        assert Lane.objects.get().holder == lanes.me()
    lane = Lane.objects.get()
    assert lane.holder == ""
    assert lane.leased_until is None


def test_a_lane_that_another_worker_holds_is_left_to_it(sandbox: Connection) -> None:
    waiting()
    Lane.objects.create(
        connection=sandbox, holder="elsewhere/1/1", leased_until=timezone.now() + timedelta(hours=1)
    )
    assert drain("acme") == 0
    assert deliver() == 0
    assert states() == ["pending"]


def test_a_lane_whose_worker_died_is_taken_over_when_its_lease_ran_out(
    sandbox: Connection, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    invocation = waiting()
    # What a worker leaves behind that was killed after the write and before it was written down.
    from xkit_crm.providers.registry import provider_for

    provider_for(sandbox).create("Opportunity", {"Name": "Sales"}, key=str(invocation.uuid))
    Invocation.objects.update(status="running", tries=1)
    Lane.objects.create(
        connection=sandbox,
        holder="elsewhere/1/1",
        leased_until=timezone.now() + timedelta(seconds=60),
    )
    assert deliver() == 0
    time_machine.move_to("2026-01-01T00:01:01Z", tick=False)
    assert deliver() == 1
    assert states() == ["succeeded"]
    assert names() == ["Sales"]


def test_a_lane_is_kept_where_what_was_in_hand_can_not_be_taken_up(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, time_machine: Any
) -> None:
    class Died(BaseException):
        pass

    def fail(*args: object, **options: object) -> None:
        raise failing.pop()

    failing: list[BaseException] = [DatabaseError("canceling statement due to timeout"), Died()]
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    waiting()
    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "create", fail)
        patch.setattr(lanes, "_take_up", fail)
        with pytest.raises(DatabaseError):
            drain("acme")
    assert states() == ["running"]
    assert deliver() == 0
    time_machine.move_to("2026-01-01T00:01:01Z", tick=False)
    assert lanes.with_work() == ["acme"]
    assert deliver() == 1
    assert names() == ["Sales"]


@pytest.mark.parametrize("who", [lanes.resume, partial(xkit_crm.connect, provider="sandbox")])
def test_who_says_meanwhile_that_the_crm_is_well_is_believed(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, who: Callable[[str], object]
) -> None:
    """An operator has it called again at once, or the customer connects it anew, while a worker in
    the lane is told to wait."""
    waiting()

    def limited(self: Any, *args: Any, **named: Any) -> Any:
        who("acme")
        raise RateLimited("Too many calls.", retry_after=3600)

    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "create", limited)
        take_turn("acme")
    lane = Lane.objects.get()
    assert (lane.holder, lane.leased_until, lane.paused_until) == ("", None, None)
    assert lane.failures == 0
    take_turn("acme")
    assert names() == ["Sales"]


def test_a_worker_that_lost_its_lease_starts_nothing_more(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, time_machine: Any
) -> None:
    waiting("First")
    waiting("Second")
    create = SandboxProvider.create

    def slow(self: Any, *args: Any, **named: Any) -> Any:
        # The call took longer than the lease, and somebody else took the lane.
        time_machine.shift(timedelta(seconds=61))
        Lane.objects.update(
            holder="elsewhere/1/1", leased_until=timezone.now() + timedelta(hours=1)
        )
        return create(self, *args, **named)

    time_machine.move_to(timezone.now(), tick=False)
    monkeypatch.setattr(SandboxProvider, "batch_size", 1)
    monkeypatch.setattr(SandboxProvider, "create", slow)
    assert drain("acme") == 1
    assert states() == ["succeeded", "pending"]
    assert Lane.objects.get().holder == "elsewhere/1/1"


def test_what_was_in_hand_when_the_database_failed_is_taken_up_again(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting()
    with monkeypatch.context() as broken:
        broken.setattr("xkit_crm.delivery.outcomes.inserting", failing)
        with pytest.raises(DatabaseError):
            drain("acme")
    assert states() == ["pending"]
    assert deliver() == 1
    assert states() == ["succeeded"]
    assert names() == ["Sales"]


def made() -> str:
    """The id of a record that was made in the CRM."""
    record = create("Apple").record
    assert record is not None
    return record.id


def failing(*_: object) -> None:
    raise DatabaseError("the connection was lost")


def test_an_event_fired_by_who_is_told_of_another_waits_its_turn(
    sandbox: Connection, customer: Customer, settings: Any
) -> None:
    """The lane is held by the one who tells, so there is nobody to wait for."""
    settings.XKIT_CRM = {**settings.XKIT_CRM, "WAIT_TIMEOUT": 60.0}
    answers: list[str] = []

    def on_finished(invocation: Invocation, **_: object) -> None:
        if invocation.payload["name"] == "First":
            answers.append(deliver_now(waiting("Second"), timeout=60).status)

    signals.invocation_finished.connect(on_finished)
    waiting("First")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.transaction.on_commit", lambda tell, **_: tell())
        assert drain("acme") == 2
    assert answers == ["pending"]
    assert names() == ["First", "Second"]


def test_lanes_with_work_are_found(
    sandbox: Connection, misbehave: Misbehave, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    assert lanes.with_work() == []
    waiting()
    assert lanes.with_work() == ["acme"]
    with lanes.held("acme") as hold:
        hold.pause(timezone.now() + timedelta(seconds=30))
    assert lanes.with_work() == []
    time_machine.move_to("2026-01-01T00:00:31Z", tick=False)
    assert lanes.with_work() == ["acme"]
    Connection.objects.update(status="disabled")
    assert lanes.with_work() == []


def test_a_disabled_connection_holds_what_waits_and_goes_on_when_enabled(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    Connection.objects.update(status="disabled")
    assert deliver() == 0
    Connection.objects.update(status="enabled")
    assert deliver() == 1


@pytest.mark.django_db(transaction=True)
def test_many_threads_carry_each_invocation_out_once(sandbox: Connection) -> None:
    expected = [f"Deal {n}" for n in range(12)]
    for name in expected:
        waiting(name)

    def work() -> None:
        while Invocation.objects.filter(status__in=["pending", "running"]).exists():
            drain("acme", limit=2)

    assert together(*[work] * 4) == [None] * 4
    assert names() == expected


# -- one that is carried out now ------------------------------------------------------------------


def updated(record: str, payload: dict[str, Any], **named: Any) -> Invocation:
    return xkit_crm.invoke("acme", "opportunity", "deal_updated", payload, record, **named)


def test_what_joined_it_since_it_was_read_is_carried_out_with_it(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made()
    first = updated(record, {"name": "Pear"}, wait=False, idempotency_key="pear")
    used_before = invoking._used_before

    def read_early(*args: Any) -> Invocation | None:
        monkeypatch.setattr(invoking, "_used_before", used_before)
        found = used_before(*args)
        # A worker folds, and is told to stop before its first call.
        updated(record, {"amount": 7}, wait=False)
        asked = iter([True, False])
        take_turn("acme", go_on=lambda: next(asked, False))
        return found

    monkeypatch.setattr(invoking, "_used_before", read_early)
    answer = updated(record, {"name": "Pear"}, idempotency_key="pear")
    assert (answer.pk, answer.status) == (first.pk, "succeeded")
    assert states() == ["succeeded", "succeeded", "superseded"]
    assert (held()[0]["Name"], held()[0]["Amount"]) == ("Pear", 7)


def test_what_joins_it_while_others_are_carried_out_before_it_is_carried_out_with_it(
    sandbox: Connection,
) -> None:
    record = made()
    ahead = updated(record, {"views": 1}, wait=False)
    Invocation.objects.filter(pk=ahead.pk).update(tries=1, doubtful=True)  # nothing joins it
    updated(record, {"name": "Pear"}, wait=False, idempotency_key="pear")
    updated(record, {"amount": 7}, wait=False)
    assert updated(record, {"name": "Pear"}, idempotency_key="pear").status == "succeeded"
    assert states() == ["succeeded", "succeeded", "succeeded", "superseded"]
    assert (held()[0]["Name"], held()[0]["Amount"]) == ("Pear", 7)


def test_one_that_its_caller_has_just_made_is_not_read_again(sandbox: Connection) -> None:
    made()
    with CaptureQueriesContext(database) as captured:
        made()
    read = [q["sql"] for q in captured if 'FROM "xkit_crm_invocation"' in q["sql"]]
    # Nothing stands before it, and nothing can have joined it.
    assert not read


def test_the_product_hears_of_one_on_which_every_worker_died(
    sandbox: Connection,
    customer: Customer,
    heard: list[Invocation],
    django_capture_on_commit_callbacks: Any,
) -> None:
    DealFactory.create(customer=customer)
    dead = {"holder": "dead", "leased_until": timezone.now() - timedelta(seconds=1)}
    Lane.objects.update_or_create(connection=sandbox, defaults=dead)
    Invocation.objects.update(status="running", tries=100)
    with django_capture_on_commit_callbacks(execute=True):
        take_turn("acme")
    assert [one.status for one in heard] == ["unknown"]


def test_a_caller_whose_customer_disconnects_meanwhile_sends_nothing(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = invoking.admit

    def then_disconnect(request: Any) -> Any:
        admitted = admit(request)
        disconnect(Connection.objects.get(), "the customer left")
        return admitted

    monkeypatch.setattr(invoking, "admit", then_disconnect)
    create()
    assert held() == []
    assert states() == ["pending"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["take", "break off"])
def test_on_sqlite_who_writes_meanwhile_is_waited_for(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Also with the transactions that Django opens there where nothing is set: one that has read
    before it writes would be refused once another has written, without waiting."""
    if database.vendor != "sqlite":
        pytest.skip("others lock what they read")
    monkeypatch.setitem(database.settings_dict["OPTIONS"], "transaction_mode", None)
    Lane.objects.create(connection=sandbox)
    came: list[bool] = []

    def take() -> None:
        with lanes.held("acme") as hold:
            came.append(bool(hold))

    def leave() -> None:
        break_off(sandbox, "The token is not valid.")
        came.append(not Connection.objects.get().is_enabled)

    with transaction.atomic():
        DealFactory.create()
        thread = begun(take if step == "take" else leave)
        thread.join(0.3)
    thread.join(20)
    assert came == [True]
