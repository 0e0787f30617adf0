"""What is settled leaves the log after a while; what somebody may still need stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import act, create, held, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery import retention
from xkit_crm.delivery.replay import replay
from xkit_crm.delivery.retention import Keep, prune, prune_if_due
from xkit_crm.models import Attempt, Connection, EventDefinition, Invocation
from xkit_crm.providers.sandbox.models import Flow
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def made(status: str, *, days: float, **values: Any) -> Invocation:
    """An invocation that ended in this state so many days ago."""
    then = timezone.now() - timedelta(days=days)
    final = status not in ("pending", "running")
    values = {"created_at": then, "finished_at": then if final else None} | values
    return Invocation.objects.create(
        connection=Connection.objects.get(pk="acme"),
        event=EventDefinition.objects.get(slug=values.pop("slug", "deal_created")),
        record_key=values.pop("record_key", "Opportunity:1"),
        status=status,
        **values,
    )


def left() -> list[str]:
    return states()


# -- what goes and what stays ----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["succeeded", "skipped", "deferred", "superseded"])
def test_what_is_done_goes_when_it_is_older_than_it_is_kept(
    connection: Connection, status: str
) -> None:
    old, young = made(status, days=91), made(status, days=89)
    assert prune() == 1
    assert list(Invocation.objects.all()) == [young]
    assert not Invocation.objects.filter(pk=old.pk).exists()


@pytest.mark.parametrize("status", ["pending", "running", "unknown", "failed"])
def test_what_needs_somebody_stays_for_ever(connection: Connection, status: str) -> None:
    made(status, days=9_000)
    assert prune() == 0


def test_what_failed_goes_where_a_time_is_set(connection: Connection) -> None:
    made("failed", days=8)
    made("failed", days=6)
    made("unknown", days=8)
    with override_settings(XKIT_CRM={"KEEP_FAILED": 7 * DAY, "KEEP_SUCCEEDED": None}):
        assert prune() == 1
    assert left() == ["failed", "unknown"]


def test_nothing_goes_where_all_is_kept_for_ever(
    connection: Connection, django_assert_num_queries: Any
) -> None:
    made("succeeded", days=9_000)
    with (
        override_settings(XKIT_CRM={"KEEP_SUCCEEDED": None}),
        django_assert_num_queries(0),
    ):
        assert prune() == 0


def test_age_is_counted_from_the_end(connection: Connection) -> None:
    now = timezone.now()
    made("succeeded", days=100, finished_at=now - DAY)
    assert prune() == 0


def test_attempts_go_with_their_invocation(sandbox: Connection) -> None:
    create("Sales")
    with time_machine.travel(timezone.now() + 91 * DAY):
        create("Later")
        assert prune() == 1
    assert Attempt.objects.count() == 1
    assert len(held()) == 2


def test_an_idempotency_key_stays_used_within_its_window(sandbox: Connection) -> None:
    first = create("Sales", idempotency_key="k")
    with override_settings(XKIT_CRM={"KEEP_SUCCEEDED": timedelta()}):
        with time_machine.travel(timezone.now() + timedelta(hours=23)):
            assert prune() == 0
            assert create("Sales", idempotency_key="k") == first
        with time_machine.travel(timezone.now() + timedelta(hours=25)):
            assert prune() == 1
    assert len(held()) == 1


# -- what hangs together ---------------------------------------------------------------------------


def test_what_pointed_to_one_that_is_gone_points_to_nothing(connection: Connection) -> None:
    head = made("succeeded", days=91)
    joined = made("superseded", days=89, superseded_by=head)
    assert prune() == 1
    joined.refresh_from_db()
    assert joined.superseded_by is None


@pytest.mark.parametrize("status", ["pending", "failed", "unknown"])
def test_what_joined_one_that_is_not_done_stays_with_it(
    connection: Connection, status: str
) -> None:
    head = made(status, days=91)
    made("superseded", days=91, superseded_by=head)
    assert prune() == 0
    Invocation.objects.filter(pk=head.pk).update(status="succeeded", finished_at=head.created_at)
    assert prune() == 2


def test_a_row_left_to_a_workflow_gets_no_second_record_after_pruning(
    flow: Flow, customer: Customer
) -> None:
    flow.steps.filter(is_result=True).update(is_result=False)
    deal = DealFactory.create(customer=customer)
    deliver()
    assert left() == ["deferred"]
    with time_machine.travel(timezone.now() + 91 * DAY):
        assert prune() == 0
        deal.title = "Renamed"
        deal.save()
        deliver()
    assert left() == ["deferred", "failed"]
    assert len(held()) == 1


def test_it_goes_once_the_row_is_linked(flow: Flow, customer: Customer) -> None:
    deal = _deferred(customer)
    xkit_crm.link(deal, "acme", "Opportunity:00001")
    assert prune() == 1


def test_it_goes_once_the_row_is_deleted(flow: Flow, customer: Customer) -> None:
    deal = _deferred(customer)
    deal.delete()
    deliver()
    assert left() == ["deferred", "skipped"]
    assert prune() == 1


def test_only_the_newest_of_a_row_is_needed(flow: Flow, customer: Customer) -> None:
    _deferred(customer)
    first = Invocation.objects.get()
    names = ("event", "connection", "payload", "content_type", "object_pk", "record_key")
    copy = {name: getattr(first, name) for name in names}
    again = Invocation.objects.create(
        **copy, status="deferred", created_at=first.created_at, finished_at=first.finished_at
    )
    assert prune() == 1
    assert Invocation.objects.get() == again


def test_an_api_call_left_to_a_workflow_is_not_needed(flow: Flow) -> None:
    create("Sales")
    act("deal_created", action="noop")
    Invocation.objects.update(created_at=timezone.now() - 91 * DAY)
    Invocation.objects.update(finished_at=timezone.now() - 91 * DAY)
    assert left() == ["deferred"]
    assert prune() == 1


def _deferred(customer: Customer) -> Deal:
    """A row whose create was left to a workflow that doesn't say what it made, long ago."""
    Flow.objects.get().steps.filter(is_result=True).update(is_result=False)
    deal = DealFactory.create(customer=customer)
    deliver()
    long_ago = timezone.now() - 91 * DAY
    Invocation.objects.update(created_at=long_ago, finished_at=long_ago)
    return deal


# -- in batches ------------------------------------------------------------------------------------


def test_the_oldest_go_first_and_no_more_than_the_limit(connection: Connection) -> None:
    rows = [made("succeeded", days=200 - n) for n in range(10)]
    assert prune(limit=3, batch=2) == 3
    assert list(Invocation.objects.order_by("id")) == rows[3:]
    assert prune(batch=2) == 7


def test_what_stays_is_no_obstacle(connection: Connection) -> None:
    for n in range(10):
        made("failed" if n % 3 else "succeeded", days=200 - n)
    assert prune(batch=2) == 4
    assert left() == ["failed"] * 6


def test_a_batch_costs_the_same_few_queries_and_the_young_are_not_read(
    connection: Connection, django_assert_num_queries: Any
) -> None:
    for _ in range(8):
        made("succeeded", days=100)
    for _ in range(20):
        made("succeeded", days=1)
    # Two pages of the old, one that is wholly too young; savepoint, lock, three to write, release.
    with django_assert_num_queries(3 + 2 * 6):
        assert prune(batch=4) == 8


@pytest.mark.skipif(database.vendor == "mysql", reason="its plans read otherwise")
def test_pages_are_walked_along_the_primary_key(connection: Connection) -> None:
    made("succeeded", days=100)
    with CaptureQueriesContext(database) as queries:
        prune()
    page = next(q["sql"] for q in queries if q["sql"].startswith("SELECT") and "LIMIT" in q["sql"])
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            # For one row a planner wouldn't care.
            for way in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(
            ("EXPLAIN QUERY PLAN " if database.vendor == "sqlite" else "EXPLAIN ") + page
        )
        plan = " ".join(str(column) for line in cursor.fetchall() for column in line)
    wanted = {"sqlite": "USING INTEGER PRIMARY KEY", "postgresql": "xkit_crm_invocation_pkey"}
    assert wanted[database.vendor] in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_what_was_replayed_meanwhile_stays(sandbox: Connection) -> None:
    invocation = made("failed", days=91)
    condition = retention._is_over(Keep(None, DAY), timezone.now())
    assert Invocation.objects.filter(condition).count() == 1
    replay([invocation])
    assert retention._delete([invocation.pk], condition) == 0
    assert left() == ["pending"]


# -- now and then ----------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A process that has just begun, at second 0."""
    now = [0.0]
    monkeypatch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(retention, "_next_look", None)
    return now


def test_a_worker_looks_once_an_hour_each_at_its_own_time(
    connection: Connection, clock: list[float], django_assert_num_queries: Any
) -> None:
    made("succeeded", days=91)
    assert prune_if_due() == 0
    assert retention._next_look is not None
    assert 0 <= retention._next_look <= 3600
    clock[0] = 3600.0
    assert prune_if_due() == 1
    made("succeeded", days=91)
    clock[0] += 3599
    with django_assert_num_queries(0):
        assert prune_if_due() == 0
    clock[0] += 1
    assert prune_if_due() == 1


def test_a_worker_that_left_some_looks_again_soon(
    connection: Connection, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "WORKER_LIMIT", 2)
    for _ in range(3):
        made("succeeded", days=91)
    prune_if_due()
    clock[0] = 3600.0
    assert prune_if_due() == 2
    clock[0] += 9
    assert prune_if_due() == 0
    clock[0] += 1
    assert prune_if_due() == 1


# -- by hand ---------------------------------------------------------------------------------------


def run(*options: str) -> str:
    out = StringIO()
    call_command("xkit_prune", *options, stdout=out)
    return out.getvalue()


def test_the_command_counts_or_deletes(connection: Connection) -> None:
    made("succeeded", days=91)
    made("succeeded", days=10)
    made("failed", days=91)
    assert run("--dry-run") == "There would be deleted: 1 invocation(s).\n"
    assert run("--dry-run", "--older-than", "9") == "There would be deleted: 2 invocation(s).\n"
    assert len(left()) == 3
    assert run() == "Deleted: 1 invocation(s).\n"
    assert run("--older-than", "9") == "Deleted: 1 invocation(s).\n"
    assert left() == ["failed"]


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(CommandError, match="0 or more"):
        run("--older-than", "-1")


def test_what_joined_one_that_joined_another_stays_while_that_one_waits(
    connection: Connection,
) -> None:
    waiting = made("pending", days=91)
    between = made("superseded", days=91, superseded_by=waiting)
    first = made("superseded", days=91, superseded_by=between)
    assert prune() == 0
    Invocation.objects.filter(pk=waiting.pk).update(status="succeeded", finished_at=timezone.now())
    assert prune() == 1
    assert prune() == 1
    assert not Invocation.objects.filter(pk=first.pk).exists()
