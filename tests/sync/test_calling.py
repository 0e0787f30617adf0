"""Calling a CRM from outside of its lane: at its pace, and with its secrets kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import xkit_crm
from xkit_crm import exceptions
from xkit_crm.models import Connection
from xkit_crm.sync import calling
from xkit_crm.sync.calling import Caller

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOON
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def caller(sandbox: Connection, clock: Clock) -> Caller:
    return Caller(sandbox, sleep=clock.sleep, now=lambda: clock.now)


def failing(*errors: Exception) -> Any:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


def test_the_first_call_waits_for_nothing_and_the_next_for_its_turn(
    sandbox: Connection, clock: Clock
) -> None:
    caller = Caller(sandbox, rate=4, sleep=clock.sleep, now=lambda: clock.now)
    for _ in range(3):
        caller(lambda: None)
    assert clock.slept == [0.25, 0.25]


def test_a_busy_crm_is_waited_for_as_it_says_and_longer_each_time_where_it_says_nothing(
    caller: Caller, clock: Clock
) -> None:
    busy = exceptions.RateLimited("429", retry_after=9)
    away = exceptions.CRMUnavailable("503")
    assert caller(failing(busy, away, away)) == "done"
    assert clock.slept == [9, 4, 8]


def test_a_crm_that_stays_away_is_given_up(caller: Caller, clock: Clock) -> None:
    with pytest.raises(exceptions.CRMUnavailable):
        caller(failing(*[exceptions.CRMUnavailable("503")] * calling.TRIES))
    assert len(clock.slept) == calling.TRIES - 1
    assert max(clock.slept) == calling.LONGEST_WAIT


def test_nobody_sits_by_until_a_crm_whose_day_is_used_up_begins_another(
    caller: Caller, clock: Clock
) -> None:
    with pytest.raises(exceptions.RateLimited, match="The day is used up"):
        caller(failing(exceptions.RateLimited("The day is used up.", retry_after=3600)))
    assert clock.slept == []


def test_the_customers_share_of_the_quota_is_not_touched(
    sandbox: Connection, caller: Caller, clock: Clock
) -> None:
    sandbox.quota_reserve = 20
    usage = caller.provider.usage
    usage.quota, usage.quota_left = 1000, 199
    usage.quota_resets_at = NOON + timedelta(hours=5)
    caller(lambda: None)
    with pytest.raises(exceptions.RateLimited, match="2026-11-24 17:00 UTC"):
        caller(lambda: None)
    assert clock.slept == []


def test_secrets_are_taken_out_of_what_the_crm_says(clock: Clock, definitions: None) -> None:
    connection = xkit_crm.connect(
        "acme", provider="sandbox", credentials={"token": "very-secret-token"}
    )
    caller = Caller(connection, sleep=clock.sleep)
    for error in (exceptions.RejectedByCRM, exceptions.CRMUnauthorized):
        with pytest.raises(error) as raised:
            caller(failing(error("The token very-secret-token is wrong.")))
        assert "very-secret-token" not in str(raised.value)
    connection.refresh_from_db()
    assert connection.status == "errored"
    assert "very-secret-token" not in connection.status_reason
