"""How the lanes are now, and who should be looked at first."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from django.db import connection as database
from django.db.models import Min
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import ConnectionFactory, TallyFactory
from xkit_crm.delivery import shadow, waiting
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.pausing import Pause
from xkit_crm.models import Connection, EventDefinition, Invocation, Lane
from xkit_crm.models.invocation import NEVER, InvocationStatus, Priority
from xkit_crm.overview import lanes
from xkit_crm.overview.figures import RANGES
from xkit_crm.overview.lanes import LaneState

pytestmark = pytest.mark.django_db


def waits(connection: Connection | str, *, minutes: float = 0, **named: object) -> Invocation:
    """One that was made so many minutes ago, and is due since."""
    made = timezone.now() - timedelta(minutes=minutes)
    fields: dict[str, object] = {"created_at": made, "due_at": made, "record_key": str(made)}
    return Invocation.objects.create(
        connection_id=connection if isinstance(connection, str) else connection.pk,
        event=EventDefinition.objects.get(slug="deal_created"),
        **{**fields, **named},
    )


def now(connection: Connection) -> lanes.LaneNow:
    (found,) = lanes.now([connection.pk])
    return found


def lane(connection: Connection, **named: object) -> Lane:
    return Lane.objects.update_or_create(connection=connection, defaults=named)[0]


@pytest.mark.parametrize("status", ["pending", "disabled", "errored"])
def test_a_lane_whose_connection_is_not_enabled_says_so(
    connection: Connection, status: str
) -> None:
    lane(connection, paused_until=timezone.now() + timedelta(hours=1))
    Connection.objects.update(status=status)
    assert now(connection).state == status
    assert now(connection).pause is None


def test_a_lane_is_free_held_or_free_again_when_its_lease_has_run_out(
    connection: Connection,
) -> None:
    assert now(connection).state == LaneState.FREE
    soon = timezone.now() + timedelta(seconds=20)
    lane(connection, holder="host/1/2", leased_until=soon)
    assert (now(connection).state, now(connection).holder) == (LaneState.HELD, "host/1/2")
    lane(connection, leased_until=timezone.now() - timedelta(seconds=20))
    assert (now(connection).state, now(connection).holder) == (LaneState.FREE, "")


def test_a_connection_that_sends_nothing_yet_is_in_shadow_mode(connection: Connection) -> None:
    shadow.start(connection)
    assert now(connection).state == LaneState.SHADOW


@pytest.mark.parametrize(
    ("learned", "why"),
    [
        ({"failures": 5}, Pause.DOWN),
        ({"quota": 100, "quota_left": 10}, Pause.QUOTA),
        ({"tokens": 0.0}, Pause.LIMIT),
        ({}, Pause.ASKED),
    ],
)
def test_a_paused_lane_says_until_when_and_why(
    connection: Connection, learned: dict[str, object], why: Pause
) -> None:
    Connection.objects.update(quota_reserve=20)
    later = timezone.now() + timedelta(minutes=5)
    lane(connection, paused_until=later, quota_resets_at=later, tokens_at=later, **learned)
    found = now(connection)
    assert (found.state, found.paused_until, found.pause) == (LaneState.PAUSED, later, why)


def test_it_says_what_the_crm_still_allows(connection: Connection) -> None:
    Connection.objects.update(provider="hubspot")
    lane(connection, quota=1000, quota_left=400)
    found = now(connection)
    assert (found.calls_left, found.calls_at_once) == (10.0, 10)
    assert (found.quota, found.quota_left) == (1000, 400)


def test_a_provider_that_is_not_installed_any_more_is_no_reason_not_to_look(
    connection: Connection,
) -> None:
    Connection.objects.update(provider="gone")
    assert now(connection).calls_left is None


# -- what waits -----------------------------------------------------------------------------------


def test_a_lane_is_overdue_since_what_is_due_first(connection: Connection) -> None:
    first = waits(connection, minutes=30)
    waits(connection, minutes=3)
    waits(connection, minutes=90, priority=Priority.BACKGROUND)
    waits(connection, minutes=90, due_at=NEVER)
    waits(connection, minutes=90, status=InvocationStatus.SUCCEEDED)
    by_hand = Invocation.objects.filter(
        status="pending", due_at__lte=timezone.now(), priority__lt=Priority.BACKGROUND
    ).aggregate(Min("due_at"))["due_at__min"]
    assert waiting.overdue_since() == {"acme": by_hand} == {"acme": first.due_at}
    assert waiting.overdue_since(["acme", "other"]) == {"acme": first.due_at}
    assert waiting.overdue_since([]) == {}
    assert now(connection).overdue_since == first.due_at
    assert now(connection).is_late


def test_what_waits_on_purpose_is_old_and_not_overdue(connection: Connection) -> None:
    tried = waits(connection, minutes=30, due_at=timezone.now() + timedelta(minutes=5))
    found = now(connection)
    assert (found.overdue_since, found.is_late) == (None, False)
    assert found.waits == waiting.Amount(1, oldest=tried.created_at)


def test_what_is_replayed_is_overdue_since_then(connection: Connection) -> None:
    replayed = waits(connection, minutes=5000, due_at=timezone.now() - timedelta(seconds=1))
    assert now(connection).overdue_since == replayed.due_at


def test_each_lane_has_its_own(connection: Connection) -> None:
    due: dict[str, datetime] = {}
    for number in range(4):
        pk = ConnectionFactory.create(id=f"c{number}").pk
        due[pk] = waits(pk, minutes=number).due_at
        waits(pk)
    with CaptureQueriesContext(database) as queries:
        assert waiting.overdue_since() == due
    assert len(queries) == 1


def test_what_waits_is_counted_as_far_as_it_can_be_taken_in(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MANY", 3)
    ConnectionFactory.create(id="other")
    made = [waits(connection, minutes=number).created_at for number in range(3)]
    there = waits("other").created_at
    assert waiting.in_each(["acme", "other", "none"]) == {
        "acme": waiting.Amount(3, oldest=made[-1]),
        "other": waiting.Amount(1, oldest=there),
        "none": waiting.Amount(),
    }
    waits(connection)
    assert waiting.in_each(["acme"]) == {"acme": waiting.Amount(3, or_more=True, oldest=made[-1])}
    assert waiting.in_each([]) == {}
    assert waiting.in_all() == waiting.Amount(5)


# -- who should be looked at ----------------------------------------------------------------------


def test_the_worst_come_first_and_those_that_are_well_do_not_come(connection: Connection) -> None:
    for name in ("well", "late", "failing", "worse", "broken", "off", "paused"):
        ConnectionFactory.create(id=name)
    waits("well", minutes=0.2)
    late = waits("late", minutes=10)
    Connection.objects.filter(pk="broken").update(status="errored")
    Connection.objects.filter(pk="off").update(status="disabled")
    waits("off", minutes=500)
    waits("failing", minutes=2)
    TallyFactory.create(connection_id="failing", status="failed", count=2)
    TallyFactory.create(connection_id="worse", status="unknown", count=7)
    paused = Connection.objects.get(pk="paused")
    lane(paused, paused_until=timezone.now() + timedelta(minutes=1))
    found = lanes.survey(RANGES["1h"])
    assert [one.connection_id for one in found.troubled] == [
        "broken",
        "worse",
        "failing",
        "late",
        "paused",
    ]
    assert found.longest is not None
    assert (found.longest.connection_id, found.longest.overdue_since) == ("late", late.due_at)


def test_where_nothing_waits_nothing_is_late(sandbox: Connection) -> None:
    waits(sandbox, minutes=5, payload={"name": "Sales"}, record_key="k")
    drain("acme")
    assert lanes.survey(RANGES["24h"]) == lanes.Survey([], None)


def test_states_are_counted_by_provider(connection: Connection) -> None:
    ConnectionFactory.create(provider="hubspot", status="errored")
    ConnectionFactory.create(provider="hubspot")
    assert lanes.states() == {
        "sandbox": Counter({"free": 1}),
        "hubspot": Counter({"free": 1, "errored": 1}),
    }


def test_a_connection_is_found_by_its_id_or_context(connection: Connection) -> None:
    ConnectionFactory.create(id="globex", context="workspace-77")
    assert lanes.search("glob", begin=0, end=5) == ["globex"]
    assert lanes.search("space-7", begin=0, end=5) == ["globex"]
    assert lanes.search("", begin=1, end=5) == ["globex"]


def test_all_lanes_cost_the_same_queries_as_one(connection: Connection) -> None:
    def asked() -> int:
        with CaptureQueriesContext(database) as queries:
            survey = lanes.survey(RANGES["24h"])
            lanes.now([one.connection_id for one in survey.troubled])
            lanes.states()
        return len(queries)

    waits(connection, minutes=5)
    few = asked()
    for number in range(20):
        waits(ConnectionFactory.create(id=f"c{number}"), minutes=5)
    assert asked() == few <= 7
