"""Figures of a range: they say what counting the log by hand says, and cost one query."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import ConnectionFactory, TallyFactory
from xkit_crm.delivery import replay, rollup
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Attempt, Connection, Invocation, Tally
from xkit_crm.models.tally import Span
from xkit_crm.overview.figures import (
    RANGES,
    Figures,
    course,
    of_all_time,
    of_each,
    undelivered,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
NAME = [{"field": "Name", "kind": "direct", "key": "name"}]
NO_STAGE = [*NAME, {"field": "StageName", "kind": "direct", "key": "name"}]


def fire(connection: Connection, *, refused: bool = False) -> None:
    xkit_crm.invoke(connection, "opportunity", "deal_created", {"name": "Sales"}, wait=False)
    act("deal_created", transformations=NO_STAGE if refused else NAME)


def by_hand(begin: datetime, **of: str) -> tuple[Counter[str], Counter[str]]:
    """States and causes of the log since then, counted one by one."""
    ended = Invocation.objects.filter(finished_at__gte=begin, **of)
    tried = Attempt.objects.filter(started_at__gte=begin)
    if of:
        tried = tried.filter(invocation__connection_id=of["connection_id"])
    causes = Counter(one.error["code"] for one in tried if one.error and one.outcome == "failed")
    return Counter(one.status for one in ended), causes


def test_they_agree_with_a_count_over_the_log_in_every_range_at_any_time(
    sandbox: Connection,
) -> None:
    other = xkit_crm.connect("globex", provider="sandbox", context="workspace-2")
    with time_machine.travel(NOON - timedelta(days=8), tick=False) as clock:
        for number in range(60):
            fire(sandbox, refused=number % 4 == 0)
            drain("acme")
            if number % 3 == 0:
                fire(other)
                drain("globex")
            clock.shift(timedelta(minutes=7 if number > 40 else 260))
            if number % 5 == 0:
                rollup.roll_up()
        for wanted in RANGES.values():
            begin = wanted.steps(datetime.now(UTC))[0]
            states, causes = by_hand(begin)
            found = course(wanted).figures
            assert (found.ended, found.causes) == (states, causes), wanted.slug
            assert states["failed"] or wanted.slug == "1h"
            for pk in ("acme", "globex"):
                states, causes = by_hand(begin, connection_id=pk)
                own = course(wanted, pk).figures
                assert (own.ended, own.causes) == (states, causes)
                listed = of_each(["acme", "globex"], wanted).get(pk, Figures())
                assert listed.ended == own.ended


def test_each_step_has_its_own(sandbox: Connection) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        fire(sandbox)
        drain("acme")
        clock.shift(timedelta(minutes=3))
        fire(sandbox)
        fire(sandbox)
        drain("acme")
        found = course(RANGES["1h"])
    assert len(found.steps) == 60
    counts = {one.at.minute: one.figures.delivered for one in found.steps if one.figures.delivered}
    assert counts == {34: 1, 37: 2}


def test_a_day_is_by_hours_and_a_week_by_three_of_them() -> None:
    day, week = RANGES["24h"].steps(NOON), RANGES["7d"].steps(NOON)
    assert (day[0], day[-1]) == (
        datetime(2026, 2, 28, 13, tzinfo=UTC),
        datetime(2026, 3, 1, 12, tzinfo=UTC),
    )
    assert (len(week), week[-1]) == (56, datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_a_replayed_one_ends_twice(sandbox: Connection) -> None:
    fire(sandbox, refused=True)
    drain("acme")
    act("deal_created", transformations=NAME)
    replay.replay(Invocation.objects.all())
    drain("acme")
    found = course(RANGES["1h"]).figures
    assert found.ended == {"failed": 1, "succeeded": 1}
    assert found.reopened == {"failed": 1}
    assert found.success == 0.5


def test_success_is_of_what_was_to_be_sent() -> None:
    figures = Figures()
    assert figures.success is None
    figures.ended.update(succeeded=6, deferred=1, failed=2, unknown=1, superseded=9, skipped=9)
    assert figures.success == 0.7
    assert (figures.delivered, figures.undelivered, figures.others) == (7, 3, 18)


@pytest.mark.parametrize(
    ("buckets", "share", "least", "most"),
    [
        ({}, 0.5, None, None),
        ({7: 100}, 0.5, 0.064, 0.128),
        ({7: 50, 12: 50}, 0.5, 0.064, 0.128),
        ({7: 50, 12: 50}, 0.95, 2.048, 4.096),
        ({0: 99, 20: 1}, 0.99, 0, 0.001),
    ],
)
def test_a_percentile_lies_in_the_bucket_where_the_share_is_reached(
    buckets: dict[int, int], share: float, least: float | None, most: float | None
) -> None:
    figures = Figures()
    figures.buckets.update(buckets)
    found = figures.percentile(share)
    if least is None or most is None:
        assert found is None
    else:
        assert found is not None
        assert least <= found <= most


def test_percentiles_are_near_those_of_the_log(sandbox: Connection) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        for seconds in range(1, 41):
            fire(sandbox)
            clock.shift(seconds)
            drain("acme")
        took = sorted(
            (one.finished_at - one.created_at).total_seconds()
            for one in Invocation.objects.all()
            if one.finished_at
        )
        found = course(RANGES["1h"]).figures
    for share in (0.5, 0.95, 0.99):
        exact = took[round(share * len(took)) - 1]
        assert exact / 2 < (found.percentile(share) or 0) < exact * 2
    assert found.mean == pytest.approx(sum(took) / len(took), abs=0.01)


def test_failures_are_found_by_connection(db: None) -> None:
    TallyFactory.create(connection_id="acme", status="failed", count=3)
    TallyFactory.create(connection_id="acme", status="unknown")
    TallyFactory.create(connection_id="acme", status="failed", reopened=True, count=2)
    TallyFactory.create(connection_id="globex", status="succeeded")
    TallyFactory.create(connection_id="", status="failed", span=Span.HOUR)
    assert undelivered(RANGES["1h"]) == {"acme": 4}


def test_of_all_time_is_by_provider_and_never_less(sandbox: Connection) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        before = 0
        for _ in range(4):
            fire(sandbox)
            drain("acme")
            clock.shift(timedelta(days=10))
            rollup.roll_up()
            now = of_all_time(["provider"], Tally.objects.of_all())[("sandbox",)].delivered
            assert now == before + 1
            before = now


def test_a_range_costs_one_query(sandbox: Connection) -> None:
    for number in range(5):
        ConnectionFactory.create(id=f"c{number}")
        TallyFactory.create(connection_id=f"c{number}", count=10)
    with CaptureQueriesContext(database) as queries:
        assert course(RANGES["24h"]).figures.delivered == 50
    assert len(queries) == 1
