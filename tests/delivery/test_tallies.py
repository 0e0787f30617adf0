"""Counting: whatever the log says, the tallies say as well, at every moment."""

from __future__ import annotations

import ast
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connections, transaction
from django.db.models import Sum
from django.test import override_settings
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, only
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from tests.settings import XKIT_CRM
from xkit_crm import invoking
from xkit_crm.delivery import lanes, replay, rollup, shadow, tallies
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.tallies import bucket_of, most_in
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Attempt, Connection, Invocation, Tally
from xkit_crm.models.invocation import InvocationStatus, Source
from xkit_crm.models.tally import Span, TallyQuerySet
from xkit_crm.providers.sandbox.models import Flow

pytestmark = pytest.mark.django_db

FINAL = [status.value for status in InvocationStatus if status.is_final]


NAME = [{"field": "Name", "kind": "direct", "key": "name"}]
NO_STAGE = [*NAME, {"field": "StageName", "kind": "direct", "key": "name"}]


def refused() -> Invocation:
    """One that the CRM refuses; it would be taken by now."""
    made = create(wait=False)
    act("deal_created", transformations=NO_STAGE)
    drain("acme")
    act("deal_created", transformations=NAME)
    made.refresh_from_db()
    assert made.status == "failed"
    return made


def count_of_the_log() -> dict[str, Counter[object]]:
    """What there is, counted one by one."""
    ended = Invocation.objects.filter(status__in=FINAL)
    tried = Attempt.objects.select_related("invocation")
    return {
        "states": Counter((one.connection_id, one.status) for one in ended),
        "tries": Counter(
            (one.invocation.connection_id, one.outcome, (one.error or {}).get("code", ""))
            for one in tried
        ),
    }


def tallied(tallies: TallyQuerySet) -> dict[str, Counter[object]]:
    """The same by the tallies; what was opened again is taken off."""
    states: Counter[object] = Counter()
    tries: Counter[object] = Counter()
    for one in tallies:
        if one.status in FINAL:
            states[one.connection_id, one.status] += -one.count if one.reopened else one.count
        if one.outcome:
            tries[one.connection_id, one.outcome, one.code] += one.count
    return {"states": +states, "tries": tries}


def agree() -> bool:
    """Whether the connections' own and those of all say what the log says."""
    log = count_of_the_log()
    own = tallied(Tally.objects.ever().exclude(connection_id=""))
    of_all = tallied(Tally.objects.ever().of_all())
    assert own == log
    assert _without_connection(of_all) == _without_connection(log)
    return bool(log["states"])


def _without_connection(counts: dict[str, Counter[object]]) -> dict[str, Counter[object]]:
    summed: dict[str, Counter[object]] = {name: Counter() for name in counts}
    for name, counter in counts.items():
        for (_, *rest), many in counter.items():  # type: ignore[misc]
            summed[name][tuple(rest)] += many
    return summed


def test_what_succeeds_is_counted_with_the_time_it_took(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        create(wait=False)
        clock.shift(3)
        drain("acme")
    assert agree()
    fast, slow = Tally.objects.order_by("milliseconds")
    assert (fast.bucket, fast.milliseconds, fast.count) == (0, 0, 1)
    assert (slow.milliseconds, slow.count) == (3000, 1)
    assert most_in(slow.bucket) >= 3 > most_in(slow.bucket - 1)


def test_many_that_are_alike_make_one_row(sandbox: Connection) -> None:
    for _ in range(20):
        create(wait=False)
    drain("acme")
    assert agree()
    assert sum(Tally.objects.values_list("count", flat=True)) == 20
    assert Tally.objects.count() < 6  # for every doubling of the time one at most


def test_each_try_that_fails_is_counted_with_its_cause(
    sandbox: Connection, misbehave: Misbehave
) -> None:
    misbehave("unavailable", operation="create", times=2)
    create(wait=False)
    while drain("acme"):
        pass
    assert only().status == "succeeded"
    assert agree()
    assert tallied(Tally.objects.all())["tries"] == {
        ("acme", "failed", "crm_unavailable"): 2,
        ("acme", "succeeded", ""): 1,
    }


def test_what_is_folded_is_counted(
    sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    deal = Deal.objects.create(customer=customer, title="Sales", amount=1)
    for title in ("Rent", "Lease"):
        deal.title = title
        deal.save()
    drain("acme")
    assert agree()
    deal.title = "Gone"
    deal.save()
    deal.delete()
    drain("acme")
    assert agree()
    assert count_of_the_log()["states"]["acme", "superseded"] >= 3


def test_what_is_let_go_again_is_taken_off(
    flow: Flow, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    act("deal_created", action="create", workflow="", transformations=NAME)
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("locked_record", operation="create", retry_after=60)
    deal = DealFactory.create(customer=customer, title="One")
    deal.title = "Two"
    deal.save()
    drain("acme")
    assert agree()
    act(
        "deal_updated",
        action="workflow",
        workflow="new_deal",
        transformations=[{"field": "title", "kind": "direct", "key": "name"}],
    )
    time_machine.move_to("2026-01-01T01:01:01Z", tick=False)
    drain("acme")
    assert agree()
    assert ("superseded", True) in Tally.objects.values_list("status", "reopened")


def test_what_the_customer_does_nothing_with_is_counted_and_makes_no_try(
    sandbox: Connection,
) -> None:
    act("deal_created", action="noop")
    create()
    assert agree()
    (one,) = Tally.objects.all()
    assert (one.status, one.outcome, one.bucket) == ("skipped", "", None)


def test_what_waits_for_a_mapping_is_counted_once(sandbox: Connection) -> None:
    create(wait=False)
    act("deal_created", transformations=[])
    for _ in range(3):
        drain("acme")
        Invocation.objects.update(due_at=timezone.now())
    assert only().error_code == "mapping_incomplete"
    assert Attempt.objects.count() == 1
    assert tallied(Tally.objects.all()) == count_of_the_log()


def test_a_replay_takes_off_what_it_carries_out_again(
    sandbox: Connection,
) -> None:
    failed = refused()
    assert agree()
    assert replay.replay([failed]) == 1
    assert tallied(Tally.objects.all()) == count_of_the_log()
    assert replay.replay([failed]) == 0
    drain("acme")
    assert only().status == "succeeded"
    assert agree()
    kinds = Tally.objects.filter(outcome="").values_list("status", "reopened", "count")
    assert list(kinds) == [("failed", True, 1)]


def test_one_that_a_person_leaves_as_it_is_is_counted_as_skipped(sandbox: Connection) -> None:
    unknown = create(wait=False)
    Invocation.objects.update(status="unknown")
    Tally.objects.create(
        at=timezone.now(), connection_id="acme", provider="sandbox", status="unknown", count=1
    )
    assert replay.skip([unknown]).count == 1
    assert agree()
    assert only().status == "skipped"


def test_one_on_which_every_worker_died_is_counted(sandbox: Connection) -> None:
    create(wait=False)
    Invocation.objects.update(status="running", tries=12)
    past = timezone.now() - timedelta(minutes=5)
    lanes.Lane.objects.create(connection=sandbox, holder="gone", leased_until=past)
    drain("acme")
    assert only().status == "unknown"
    assert agree()
    assert Tally.objects.get().code == "crm_error"


def test_what_is_rehearsed_is_a_try_and_what_is_discarded_is_skipped(
    sandbox: Connection,
) -> None:
    shadow.start(sandbox)
    create(wait=False)
    create(wait=False)
    drain("acme")
    assert tallied(Tally.objects.all()) == count_of_the_log()
    assert tallied(Tally.objects.all())["tries"] == {("acme", "rehearsed", ""): 2}
    shadow.go_live(sandbox, discard=True)
    assert agree()


@override_settings(XKIT_CRM={**XKIT_CRM, "INVALID_PAYLOAD": "record"})
@pytest.mark.parametrize("many", [False, True])
def test_a_row_with_an_invalid_payload_is_counted_as_failed(
    sandbox: Connection, customer: Customer, many: bool
) -> None:
    too_long = "x" * 90
    titles = [too_long, too_long, "Sales"] if many else [too_long]
    with xkit_crm.bulk() if many else nullcontext():
        for title in titles:
            DealFactory.create(customer=customer, title=title)
    assert count_of_the_log()["states"]["acme", "failed"] == titles.count(too_long)
    assert agree()


def test_what_is_rolled_back_was_never_counted(sandbox: Connection) -> None:
    failed = refused()
    before = tallied(Tally.objects.all())
    with pytest.raises(RuntimeError), transaction.atomic():
        replay.replay([failed])
        raise RuntimeError
    assert tallied(Tally.objects.all()) == before == count_of_the_log()


def test_a_caller_who_sends_the_same_again_takes_off_the_failure(
    sandbox: Connection, misbehave: Misbehave
) -> None:
    misbehave("unavailable", operation="create")
    request = invoking.read("acme", "opportunity", "deal_created", {"name": "Sales"}, None)

    def send() -> Invocation:
        return invoking.put(request, source=Source.API, idempotency_key="k", retry=False)[0]

    assert send().status == "failed"
    assert agree()
    assert send().status == "succeeded"
    assert agree()


def test_whoever_gives_an_invocation_a_state_counts_it() -> None:
    """A function that changes the status of invocations by an update, and tells no tally, would
    make the figures wrong: this names it."""
    silent = []
    for file in Path(xkit_crm.__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and _changes_states(function):
                code = ast.unparse(function)
                if "tallies." not in code:
                    silent.append(f"{file.name}: {function.name}")
    assert silent == []


def _changes_states(function: ast.FunctionDef) -> bool:
    """Whether it calls `update(status=InvocationStatus...)`."""
    return any(
        keyword.arg == "status" and "InvocationStatus" in ast.unparse(keyword.value)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".update")
        for keyword in call.keywords
    )


# -- rolling up -----------------------------------------------------------------------------------


def test_rolling_up_changes_no_figure_at_any_age(sandbox: Connection) -> None:
    xkit_crm.connect("globex", provider="sandbox", context="workspace-2")
    with time_machine.travel("2026-03-01 10:00:10Z", tick=False) as clock:
        for step in range(6):
            refused() if step % 2 else create()
            xkit_crm.invoke("globex", "opportunity", "deal_created", {"name": "Sales"})
            if step == 3:
                replay.replay(Invocation.objects.filter(status="failed"))
            clock.shift(timedelta(minutes=25))
            rollup.roll_up()
            assert agree()
        drain("acme")
        clock.shift(timedelta(days=1))
        rollup.roll_up()
        assert agree()
        assert set(Tally.objects.values_list("span", flat=True)) == {Span.HOUR, Span.EVER}
        clock.shift(timedelta(days=14))
        rollup.roll_up()
        assert set(Tally.objects.values_list("span", flat=True)) == {Span.EVER}
        assert agree()


def test_the_hours_are_kept_as_long_as_somebody_looks_at_them(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        clock.shift(timedelta(days=13))
        rollup.roll_up()
        (hour,) = Tally.objects.filter(span=Span.HOUR, connection_id="acme")
        assert (hour.at.hour, hour.count) == (10, 1)


def test_rolling_up_again_does_nothing(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        clock.shift(timedelta(hours=5))
        rollup.roll_up()
        before = list(Tally.objects.order_by("pk").values())
        rollup.roll_up()
        assert sorted(map(str, Tally.objects.values("span", "count", "at", "status"))) == sorted(
            str({name: row[name] for name in ("span", "count", "at", "status")}) for row in before
        )


def test_rolling_up_that_is_cut_short_loses_nothing(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        clock.shift(timedelta(hours=5))

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(rollup, "write", die)
            with pytest.raises(KeyboardInterrupt), transaction.atomic():
                rollup.roll_up()
        assert agree()
        rollup.roll_up()
        assert agree()


def test_however_much_was_counted_it_is_rolled_up_in_small_steps(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = Tally.objects.filter(span=Span.MINUTE)
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        for _ in range(8):
            create()
            clock.shift(60)
        rollup.roll_up()
        left = [minutes.count()]
        clock.shift(timedelta(hours=5))
        monkeypatch.setattr(rollup, "BATCH", 3)
        while left[-1] and len(left) < 20:
            assert not rollup.roll_up(go_on=lambda: False)  # one step
            assert agree()
            left.append(minutes.count())
    assert left[0] == 16  # the connection's own, and those of all
    assert left[-1] == 0
    assert all(before - after <= 3 for before, after in pairwise(left))


@pytest.mark.django_db(transaction=True)
def test_several_roll_up_at_once_while_others_count(connection: Connection) -> None:
    past = tallies.minute_of(timezone.now()) - timedelta(hours=5)
    alike = tallies.Alike("acme", "sandbox", "succeeded", "succeeded", "", 3)

    def count() -> None:
        for number in range(40):
            at = past + timedelta(minutes=number % 3)
            tallies.write(Span.FRESH, {(at, alike): (1, 5)})
        connections.close_all()

    def put_together() -> None:
        for _ in range(10):
            rollup.roll_up()
        connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(step) for step in (count, put_together) * 3]
    for one in done:
        one.result()
    rollup.roll_up()
    for chosen in (Tally.objects.exclude(connection_id=""), Tally.objects.of_all()):
        sums = chosen.ever().aggregate(Sum("count"), Sum("milliseconds"))
        assert sums == {"count__sum": 120, "milliseconds__sum": 600}
        hours = chosen.since(past - timedelta(hours=1)).aggregate(Sum("count"))
        assert hours == {"count__sum": 120}


def test_a_minute_that_is_not_over_is_left_alone(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:30Z", tick=False):
        create()
        rollup.roll_up()
        assert Tally.objects.get().span == Span.FRESH


def test_what_was_counted_stays_when_its_connection_goes(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        clock.shift(60)
        rollup.roll_up()
        sandbox.delete()
        clock.shift(timedelta(hours=5))
        rollup.roll_up()
        of_all = Tally.objects.ever().of_all()
        assert tallied(of_all)["states"] == {("", "succeeded"): 1}
        assert not Tally.objects.exclude(connection_id="").exists()


def test_a_worker_rolls_up_by_itself(sandbox: Connection) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        create()
        clock.shift(60)
        Worker().run_once()
    assert {one.span for one in Tally.objects.all()} == {Span.MINUTE}


@pytest.mark.parametrize(
    ("milliseconds", "most"),
    [(0, 0.001), (1, 0.001), (2, 0.002), (3, 0.004), (1024, 1.024), (1025, 2.048)],
)
def test_a_bucket_is_a_power_of_two(milliseconds: int, most: float) -> None:
    assert most_in(bucket_of(milliseconds)) == most
