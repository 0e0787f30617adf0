"""Claiming: whose turn it is, folded with what else waits for the same record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, names, states
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import Customer
from xkit_crm import catalogue
from xkit_crm.delivery import claiming, lanes
from xkit_crm.delivery.claiming import Window, claim
from xkit_crm.delivery.decisions import Decisions
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.replay import replay
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.sandbox.models import Change
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

BACKGROUND, NORMAL, WAITED_FOR = Priority.BACKGROUND, Priority.NORMAL, Priority.WAITED_FOR


def row(key: str, event: str = "deal_updated", **named: Any) -> Invocation:
    """An invocation of the record `key`, not stored yet."""
    return Invocation(
        connection_id=named.pop("connection_id", "acme"),
        event=catalogue.event("opportunity", event).definition,
        record_key=key,
        **{"payload": {"name": key}, **named},
    )


def store(*rows: Invocation) -> list[Invocation]:
    return Invocation.objects.bulk_create(rows)


def claimed(size: int = 50, **named: Any) -> Window:
    return claim("acme", Decisions("acme"), size=size, **named)


def keys(window: Window) -> list[str]:
    return [invocation.record_key for invocation in window.invocations]


def again(invocation: Invocation) -> Invocation:
    return Invocation.objects.get(pk=invocation.pk)


# -- whose turn it is -----------------------------------------------------------------------------


def test_who_waits_is_before_the_normal_ones_and_those_before_the_backfill(
    sandbox: Connection,
) -> None:
    store(
        row("backfill", priority=BACKGROUND),
        row("normal"),
        row("waits", priority=WAITED_FOR),
        row("normal, later"),
    )
    assert keys(claimed()) == ["waits", "normal", "normal, later", "backfill"]
    assert keys(claimed(2)) == ["waits", "normal"]


def test_what_is_due_first_is_before_what_was_made_first(sandbox: Connection) -> None:
    now = timezone.now()
    store(
        row("made first", due_at=now - timedelta(seconds=1)),
        row("due first", due_at=now - timedelta(seconds=2)),
        row("not due", due_at=now + timedelta(seconds=60)),
    )
    assert keys(claimed()) == ["due first", "made first"]


def test_an_urgent_one_lifts_what_stands_before_it_for_the_same_record(
    sandbox: Connection,
) -> None:
    head, *_ = store(
        row("one", priority=BACKGROUND),
        row("one", priority=WAITED_FOR),
        *(row(f"other {n}", priority=BACKGROUND) for n in range(5)),
    )
    window = claimed(1)
    # They can't be folded, since somebody waits for the second; but the first has to be done.
    assert [invocation.pk for invocation in window.invocations] == [head.pk]


def test_what_joins_a_backfilled_one_makes_it_as_urgent_as_itself(sandbox: Connection) -> None:
    head, joined, _ = store(
        row("one", priority=BACKGROUND), row("one"), row("other", priority=BACKGROUND)
    )
    assert [invocation.pk for invocation in claimed(1).invocations] == [head.pk]
    assert again(head).priority == NORMAL
    assert again(joined).superseded_by_id == head.pk


def test_a_caller_is_served_before_a_backlog_of_the_same_record_is_through(
    sandbox: Connection,
) -> None:
    record = create("Sales").record
    assert record is not None
    store(*(row(f"other {n}", priority=BACKGROUND) for n in range(300)))
    for n in range(3):
        store(row(record.id, record_id=record.id, payload={"name": str(n)}, priority=BACKGROUND))
    updated = xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "Now"}, record.id)
    assert updated.status == "succeeded"
    assert names() == ["Now"]
    assert Invocation.objects.filter(status="pending").count() == 300


# -- folded ---------------------------------------------------------------------------------------


def test_a_record_with_twelve_thousand_changes_waiting_becomes_one_call(
    sandbox: Connection, customer: Customer
) -> None:
    assert claiming.GROUP < 12_000
    deal = DealFactory.create(customer=customer)
    deliver()
    first = Invocation.objects.get()
    Invocation.objects.bulk_create(
        [
            row(
                first.record_key,
                content_type_id=first.content_type_id,
                object_pk=first.object_pk,
                payload={"name": f"Title {n}", "views": n},
            )
            for n in range(12_000)
        ],
        batch_size=1000,
    )
    store(row("bystander", "deal_created", payload={"name": "Bystander"}))
    assert drain("acme") == 12_001
    assert names() == ["Title 11999", "Bystander"]
    assert [c.operation for c in Change.objects.order_by("id")] == ["create", "update", "create"]
    assert Invocation.objects.filter(status="superseded").count() == 11_999
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"


def test_what_was_folded_points_at_what_replaced_it(
    sandbox: Connection, customer: Customer
) -> None:
    made = DealFactory.create(customer=customer, title="One")
    for title in ("Two", "Three"):
        made.title = title
        made.save()
    deliver()
    head, *joined = Invocation.objects.order_by("id")
    assert head.superseded_by_id is None
    assert [row.superseded_by_id for row in joined] == [head.pk, head.pk]
    assert all(row.finished_at for row in joined)
    assert list(head.supersedes.order_by("id")) == joined
    made.title = "Four"
    made.save()
    made.delete()
    deliver()
    update, delete = Invocation.objects.order_by("id")[3:]
    assert (update.status, update.superseded_by_id) == ("superseded", delete.pk)
    assert delete.status == "succeeded"
    assert [c.operation for c in Change.objects.order_by("id")] == ["create", "delete"]


def test_a_row_that_came_and_went_is_never_sent(sandbox: Connection, customer: Customer) -> None:
    DealFactory.create(customer=customer).delete()
    deliver()
    assert states() == ["superseded", "skipped"]
    assert not Change.objects.exists()


def test_each_that_is_settled_by_folding_is_told_to_the_product(
    sandbox: Connection,
    customer: Customer,
    heard: list[Invocation],
    django_capture_on_commit_callbacks: Any,
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    act("deal_deleted", action="noop", transformations=[])
    deal.title = "Two"
    deal.save()
    deal.title = "Three"
    deal.save()
    deal.delete()
    with django_capture_on_commit_callbacks(execute=True):
        deliver()
    assert sorted((one.event.slug, one.status) for one in heard) == [
        ("deal_deleted", "skipped"),
        ("deal_updated", "succeeded"),
        ("deal_updated", "superseded"),
    ]


def test_a_delete_on_which_nothing_is_done_ends_the_link_although_it_is_folded(
    sandbox: Connection, customer: Customer
) -> None:
    act("deal_deleted", action="noop", transformations=[])
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deal.delete()
    deliver()
    assert states() == ["succeeded", "succeeded", "skipped"]
    assert not RecordLink.objects.exists()


# -- behind one that can't go ---------------------------------------------------------------------


def blocked(status: str, **head: Any) -> tuple[list[Invocation], list[Invocation]]:
    """A thousand records, each with a head that can't go now and one behind it."""
    heads, behind = [], []
    for n in range(1000):
        heads.append(row(f"blocked {n}", "deal_created", status=status, **head))
        behind.append(row(f"blocked {n}"))
    pairs = [one for pair in zip(heads, behind, strict=True) for one in pair]
    stored = store(*pairs)
    return stored[::2], stored[1::2]


def bystanders(count: int = 10) -> list[Invocation]:
    return store(*(row(f"free {n}", "deal_created") for n in range(count)))


@pytest.mark.parametrize("batch", [1, 200])
@pytest.mark.parametrize("status", ["unknown", "pending"])
def test_a_thousand_records_that_can_not_go_do_not_hold_up_the_others(
    sandbox: Connection, status: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "batch_size", batch)
    later = timezone.now() + timedelta(minutes=10)
    _, behind = blocked(status, doubtful=True, due_at=later)
    others = bystanders()
    drain("acme")
    assert {again(one).status for one in others} == {"succeeded"}
    assert Invocation.objects.filter(pk__in=[b.pk for b in behind], status="pending").count() == (
        1000
    )


def test_what_was_put_off_is_not_looked_at_until_its_head_is_due(
    sandbox: Connection, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    due = timezone.now() + timedelta(minutes=10)
    head, behind = store(row("one", "deal_created", due_at=due, doubtful=True), row("one"))
    assert not claimed().invocations
    assert again(behind).due_at == due
    assert not lanes.has_work("acme")
    time_machine.move_to("2026-01-01T00:10:00Z", tick=False)
    assert [invocation.pk for invocation in claimed().invocations] == [head.pk]


def test_what_stands_behind_an_unknown_one_goes_on_when_a_person_replays_it(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    misbehave("timeout_before", operation="create")
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    deal.title = "Two"
    deal.save()
    deliver()
    assert states() == ["unknown", "pending"]
    assert not lanes.has_work("acme")
    replay(Invocation.objects.filter(status="unknown"))
    deliver()
    assert "pending" not in states()
    assert names() == ["Two"]


# -- what it costs --------------------------------------------------------------------------------


def queries(size: int) -> int:
    decisions = Decisions("acme")
    with CaptureQueriesContext(database) as captured:
        window = claim("acme", decisions, size=size)
    assert len(window.invocations) == size
    return len(captured)


def history(count: int, keys: Iterable[str]) -> None:
    known = list(keys)
    done = [
        row(known[n % len(known)], status="succeeded", finished_at=timezone.now())
        for n in range(count)
    ]
    Invocation.objects.bulk_create(done, batch_size=1000)


def test_a_window_costs_the_same_queries_whatever_its_size_and_the_log(
    sandbox: Connection,
) -> None:
    names = [f"record {n}" for n in range(200)]
    store(*(row(name) for name in names))
    assert queries(20) == 1
    assert queries(200) == 1
    history(10_000, names)
    assert queries(20) == 1
    assert queries(200) == 1


def test_folding_a_window_costs_the_same_queries_whatever_its_size(sandbox: Connection) -> None:
    def fold(count: int, name: str) -> int:
        Invocation.objects.all().delete()
        for _ in range(3):
            store(*(row(f"{name} {n}") for n in range(count)))
        # Decisions are read once, three statements write down what was folded in one savepoint,
        # and the heads are read again.
        return queries(count)

    assert fold(20, "few") == fold(200, "many")


@pytest.mark.postgresql
def test_the_next_of_a_lane_are_found_without_reading_those_of_others(sandbox: Connection) -> None:
    ConnectionFactory.create(id="aaa")  # in front of ours in every index
    store(row("record", connection_id="aaa"))
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO xkit_crm_invocation (uuid, connection_id, event_id, payload, record_key, "
            "due_at, created_at) SELECT gen_random_uuid(), connection_id, event_id, payload, "
            "'record ' || n, due_at, created_at FROM xkit_crm_invocation, "
            "generate_series(1, 20000) AS n WHERE connection_id = 'aaa'"
        )
    # An id of its own: what other tests rolled back still lies in the index of theirs.
    mine = ConnectionFactory.create(id="only-here")
    store(*(row(f"record {n}", connection_id=mine.pk) for n in range(2_000)))
    with database.cursor() as cursor:
        cursor.execute("ANALYZE xkit_crm_invocation")
    with CaptureQueriesContext(database) as captured:
        claim(mine.pk, Decisions(mine.pk), size=20)
    statement = next(q["sql"] for q in captured if "ORDER BY due_at" in q["sql"])
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        plan = cursor.fetchone()[0][0]["Plan"]
    # A few pages of the index; and for each row its own, and the way to its record's others.
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 10 + 20 * 5
