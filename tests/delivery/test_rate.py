"""How fast a lane calls its CRM: by what the vendor declares, and by what the CRM says."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xkit_crm
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.delivery.conftest import states
from xkit_crm.delivery import rate
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.rate import Gauge, spend, wait
from xkit_crm.models import Connection, Lane
from xkit_crm.providers.base import Limits, Usage
from xkit_crm.providers.sandbox.provider import SandboxProvider

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = timedelta()
#: Waits are in whole microseconds, so a call may come that much too early.
GRAIN = 1e-3


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def paid(gauge: Gauge, limits: Limits, *, at: float, requests: int = 1, **said: Any) -> None:
    spend(gauge, limits, Usage(requests=requests, **said), requests=requests, now=after(at))


def left_to_wait(gauge: Gauge, limits: Limits, *, at: float, reserve: int = 0) -> float:
    return wait(gauge, limits, reserve=reserve, now=after(at)).total_seconds()


# -- the bucket -----------------------------------------------------------------------------------


def test_a_vendor_without_limits_is_called_at_once() -> None:
    gauge = Gauge()
    for _ in range(100):
        paid(gauge, Limits(), at=0)
        assert left_to_wait(gauge, Limits(), at=0) == 0


def test_a_burst_is_let_through_and_then_one_call_for_each_token_that_drips_in() -> None:
    gauge, limits = Gauge(), Limits(calls=10, per=1, burst=3)
    for _ in range(3):
        assert left_to_wait(gauge, limits, at=0) == 0
        paid(gauge, limits, at=0)
    assert left_to_wait(gauge, limits, at=0) == pytest.approx(0.1)
    assert left_to_wait(gauge, limits, at=0.1) == 0


def test_a_long_rest_gives_one_burst_and_not_more() -> None:
    gauge, limits = Gauge(), Limits(calls=10, per=1, burst=3)
    paid(gauge, limits, at=0, requests=3)
    for _ in range(3):
        assert left_to_wait(gauge, limits, at=3600) == 0
        paid(gauge, limits, at=3600)
    assert left_to_wait(gauge, limits, at=3600) > 0


def test_a_call_that_took_several_requests_is_paid_for_afterwards() -> None:
    gauge, limits = Gauge(), Limits(calls=10, per=1, burst=3)
    paid(gauge, limits, at=0, requests=8)
    assert left_to_wait(gauge, limits, at=0) == pytest.approx(0.6)


def test_a_clock_that_goes_backwards_gives_nothing_and_takes_nothing() -> None:
    gauge, limits = Gauge(), Limits(calls=1, per=1, burst=1)
    paid(gauge, limits, at=10)
    assert left_to_wait(gauge, limits, at=0) >= 1
    assert left_to_wait(gauge, limits, at=11) == 0


_limits = st.builds(
    Limits,
    calls=st.integers(1, 50),
    per=st.sampled_from([0.5, 1.0, 10.0, 60.0]),
    burst=st.none() | st.integers(1, 100),
)
_pauses = st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60)


def moments(limits: Limits, pauses: list[float]) -> list[float]:
    """When the calls of a lane are made whose work comes in these intervals."""
    gauge, clock, made = Gauge(), 0.0, []
    for pause in pauses:
        clock += pause
        clock += left_to_wait(gauge, limits, at=clock)
        made.append(clock)
        paid(gauge, limits, at=clock)
    return made


@given(_limits, _pauses)
def test_in_no_time_more_calls_are_made_than_a_burst_and_the_rate(
    limits: Limits, pauses: list[float]
) -> None:
    assert limits.calls is not None
    made = moments(limits, pauses)
    burst, per_second = limits.burst or limits.calls, limits.calls / limits.per
    for first, begin in enumerate(made):
        for last in range(first, len(made)):
            allowed = burst + per_second * (made[last] - begin + GRAIN)
            assert last - first + 1 <= allowed + GRAIN


@given(_limits, _pauses)
def test_nobody_waits_longer_than_the_rate_asks_for(limits: Limits, pauses: list[float]) -> None:
    """Who comes at the pace that is allowed never waits."""
    assert limits.calls is not None
    kept = 0 if limits.burst is not None or limits.calls == 1 else max(limits.calls // 10, 1)
    each = limits.per / (limits.calls - kept)
    steady = [max(pause, each + GRAIN) for pause in pauses]
    clock = 0.0
    for pause, moment in zip(steady, moments(limits, steady), strict=True):
        clock += pause
        assert moment == pytest.approx(clock, abs=GRAIN * len(steady))


@given(
    st.integers(1, 50),
    st.sampled_from([0.5, 1.0, 10.0]),
    st.lists(st.floats(0, 1, allow_nan=False), min_size=60, max_size=150),
)
def test_so_many_calls_in_so_many_seconds_means_no_more_in_any_such_time(
    calls: int, per: float, pauses: list[float]
) -> None:
    """`Limits(calls=100, per=10)` is what vendors print: a hundred in any ten seconds."""
    made = moments(Limits(calls=calls, per=per), pauses)
    for first in range(len(made) - calls):
        assert made[first + calls] - made[first] >= per - GRAIN * (calls + 1)


# -- what the CRM says ----------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(), Limits(calls=100, per=1)])
def test_a_crm_that_has_none_left_is_left_alone_until_it_has(limits: Limits) -> None:
    gauge = Gauge()
    paid(gauge, limits, at=0, left=0, resets_at=after(30))
    assert 30 <= left_to_wait(gauge, limits, at=0) <= 30.1
    assert 5 <= left_to_wait(gauge, limits, at=25) <= 5.1
    assert left_to_wait(gauge, limits, at=30.1) == 0


def test_a_crm_that_says_fewer_than_we_counted_knows_better() -> None:
    gauge, limits = Gauge(), Limits(calls=100, per=100)
    paid(gauge, limits, at=0, left=2, resets_at=after(100))
    for _ in range(2):
        assert left_to_wait(gauge, limits, at=0) == 0
        paid(gauge, limits, at=0)
    assert left_to_wait(gauge, limits, at=0) > 0


def test_a_crm_that_says_more_than_is_declared_is_not_called_faster() -> None:
    gauge, limits = Gauge(), Limits(calls=2, per=10)
    for _ in range(2):
        paid(gauge, limits, at=0, left=1000, resets_at=after(10))
    assert left_to_wait(gauge, limits, at=0) > 0


@pytest.mark.parametrize("limits", [Limits(), Limits(calls=10, per=1)])
def test_nobody_is_left_alone_for_years_whatever_a_crm_says(limits: Limits) -> None:
    """It may name a time of day where it should name seconds."""
    day, years = 24 * 3600, after(1.7e9)
    gauge = Gauge()
    paid(gauge, limits, at=0, left=0, resets_at=years)
    assert day <= left_to_wait(gauge, limits, at=0) <= day + 1
    gauge = Gauge()
    paid(gauge, limits, at=0, quota_left=0, quota_resets_at=years)
    assert left_to_wait(gauge, limits, at=0) == day


def test_some_left_is_enough_where_nothing_is_declared() -> None:
    gauge = Gauge()
    paid(gauge, Limits(), at=0, left=1, resets_at=after(30))
    assert left_to_wait(gauge, Limits(), at=0) == 0


@given(
    _limits | st.just(Limits()),
    st.lists(
        st.tuples(st.floats(0, 5, allow_nan=False), st.none() | st.integers(0, 5)),
        min_size=1,
        max_size=40,
    ),
)
def test_after_none_left_nothing_is_called_before_the_moment_that_was_named(
    limits: Limits, story: list[tuple[float, int | None]]
) -> None:
    gauge, clock, closed_until = Gauge(), 0.0, 0.0
    for pause, left in story:
        clock += pause
        clock += left_to_wait(gauge, limits, at=clock)
        assert clock >= closed_until - GRAIN
        resets = clock + 7
        said: dict[str, Any] = {} if left is None else {"left": left, "resets_at": after(resets)}
        paid(gauge, limits, at=clock, **said)
        if left == 0:
            closed_until = resets


# -- the daily quota ------------------------------------------------------------------------------


def quota(gauge: Gauge, left: int, *, of: int | None = 100, resets: float | None = 3600) -> None:
    named: dict[str, Any] = {} if resets is None else {"quota_resets_at": after(resets)}
    paid(gauge, Limits(), at=0, quota=of, quota_left=left, **named)


@pytest.mark.parametrize(("reserve", "last"), [(0, 0), (20, 20), (100, 100)])
def test_a_share_of_the_quota_is_left_to_others(reserve: int, last: int) -> None:
    gauge = Gauge()
    quota(gauge, last + 1)
    assert left_to_wait(gauge, Limits(), at=0, reserve=reserve) == 0
    quota(gauge, last)
    assert left_to_wait(gauge, Limits(), at=0, reserve=reserve) == 3600
    assert left_to_wait(gauge, Limits(), at=3600, reserve=reserve) == 0


def test_a_quota_of_unknown_size_is_used_to_the_end() -> None:
    gauge = Gauge()
    quota(gauge, 1, of=None)
    assert left_to_wait(gauge, Limits(), at=0, reserve=50) == 0
    quota(gauge, 0, of=None)
    assert left_to_wait(gauge, Limits(), at=0, reserve=50) == 3600


def test_a_quota_that_is_used_up_and_says_not_when_it_is_renewed_is_asked_again_in_an_hour() -> (
    None
):
    gauge = Gauge()
    quota(gauge, 0, resets=None)
    assert wait(gauge, Limits(), reserve=0, now=NOW) == rate.QUOTA_PAUSE


ODD: tuple[Any, ...] = (-3, 2**31, 10**30, 2.5, "12", "many", True, math.inf, math.nan, [])


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ODD)
def test_whatever_a_crm_says_is_left_the_lane_is_given_back(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    told = SandboxProvider.create

    def create(self: SandboxProvider, *args: Any, **named: Any) -> Any:
        self.usage.left = self.usage.quota = self.usage.quota_left = odd
        return told(self, *args, **named)

    monkeypatch.setattr(SandboxProvider, "create", create)
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Sales"}, wait=False)
    drain("acme")
    assert states() == ["succeeded"]
    assert Lane.objects.get(pk="acme").holder == ""


@pytest.mark.parametrize(("said", "left"), [(-3, 0), (2.5, 2), (10**30, 2**31 - 1), ("12", 12)])
def test_a_quota_is_taken_for_the_nearest_that_can_be_kept(said: Any, left: int) -> None:
    gauge = Gauge()
    quota(gauge, said, of=said)
    assert gauge.quota_left == left


def test_what_is_no_number_says_nothing_of_the_quota() -> None:
    gauge = Gauge()
    quota(gauge, 5)
    for odd in ("many", math.nan, math.inf, []):
        paid(gauge, Limits(), at=0, left=odd, quota=odd, quota_left=odd)
    assert (gauge.tokens, gauge.quota, gauge.quota_left) == (None, 100, 5)


@given(st.integers(1, 200), st.integers(0, 100), st.integers(0, 200))
def test_the_reserve_is_never_touched(size: int, reserve: int, used: int) -> None:
    gauge, left = Gauge(), max(size - used, 0)
    quota(gauge, left, of=size)
    while left_to_wait(gauge, Limits(), at=0, reserve=reserve) == 0:
        left -= 1
        quota(gauge, left, of=size)
    assert left >= min(int(size * reserve / 100), max(size - used, 0)) - (left == 0)
    assert left >= 0
