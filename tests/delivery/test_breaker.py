"""The circuit breaker: a CRM that is down is left alone, and nothing is lost by that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

import xkit_crm
from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.delivery.conftest import states
from tests.factories import CustomerFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery import lanes
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.rate import Breaker, Gauge
from xkit_crm.models import Attempt, Connection, Invocation, Lane
from xkit_crm.providers.sandbox.models import Misbehaviour, Org

THRESHOLD = 5
HOURS = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

# -- plain arithmetic -----------------------------------------------------------------------------

_breakers = st.builds(
    Breaker,
    threshold=st.integers(1, 10),
    base=st.timedeltas(timedelta(seconds=0.1), timedelta(seconds=10)),
    longest=st.timedeltas(timedelta(seconds=10), HOURS),
)


@given(_breakers, st.integers(0, 10_000))
def test_it_opens_at_the_threshold_and_pauses_longer_and_longer_up_to_the_longest(
    breaker: Breaker, failures: int
) -> None:
    gauge = Gauge(failures=failures)
    pause = breaker.pause(gauge)
    assert breaker.is_open(gauge) == (failures >= breaker.threshold)
    if failures < breaker.threshold:
        assert pause == timedelta()
        return
    ceiling = breaker.base
    for _ in range(min(failures - breaker.threshold, 20)):
        ceiling = min(ceiling * 2, breaker.longest)
    assert ceiling / 2 - timedelta(milliseconds=1) <= pause <= ceiling + timedelta(milliseconds=1)


# -- a CRM that is down ---------------------------------------------------------------------------

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(settings: Any, time_machine: Any) -> Any:
    """A clock that stands still until it is moved, and the waits of a real deployment."""
    settings.XKIT_CRM = {
        **settings.XKIT_CRM,
        "RETRY_BASE": 2.0,
        "BREAKER_THRESHOLD": THRESHOLD,
        "BREAKER_PAUSE_MAX": MINUTE,
    }
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    return time_machine


def pass_time(clock: Any, duration: timedelta, connection_id: str = "acme") -> None:
    """Let time pass while a worker looks in the lane whenever something can be done."""
    end = timezone.now() + duration
    while (now := timezone.now()) < end:
        paused = lanes.paused_until(connection_id)
        if paused is None:
            drain(connection_id)
            paused = lanes.paused_until(connection_id)
        pending = Invocation.objects.filter(connection_id=connection_id, status="pending")
        due = pending.order_by("due_at").values_list("due_at", flat=True).first()
        if due is None:
            return
        opens = paused or now
        clock.move_to(max(now + timedelta(seconds=0.5), due, opens), tick=False)


def save(count: int, connection_id: str = "acme", title: str = "Deal") -> None:
    customer = CustomerFactory.create(connection_id=connection_id)
    Deal.synced.bulk_create([Deal(customer=customer, title=f"{title} {n}") for n in range(count)])


def writes(crm: CRMControl, org: str = "acme") -> int:  # noqa: F811
    return sum(call["operation"] != "describe" for call in crm.calls(org))


@pytest.fixture
def single(loopback: Connection, crm: CRMControl) -> Connection:  # noqa: F811
    """A vendor that takes one record a call."""
    return xkit_crm.connect("acme", provider="loopback-single")


def test_after_so_many_failures_in_a_row_it_gets_one_probe_in_a_pause(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    save(100)
    crm.faults(rates={"unavailable": 1.0})
    drain("acme")
    assert writes(crm) == THRESHOLD
    assert lanes.paused_until("acme") is not None
    assert drain("acme") == 0
    assert writes(crm) == THRESHOLD
    pauses = []
    for _ in range(8):
        paused = lanes.paused_until("acme")
        assert paused is not None
        pauses.append((paused - timezone.now()).total_seconds())
        clock.move_to(paused + timedelta(seconds=0.001), tick=False)
        before = writes(crm)
        drain("acme")
        assert writes(crm) == before + 1
    # Doubled each time, half of it by chance, and a minute at most.
    assert all(1 <= pause <= 60 for pause in pauses)
    assert pauses[-1] >= 30
    assert Lane.objects.get(pk="acme").failures == THRESHOLD + 8


def test_so_it_is_left_alone_where_it_asks_for_that_and_says_not_how_long(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    save(100)
    crm.faults("acme", rates={"rate_limited": 1.0}, retry_after=0)
    pass_time(clock, MINUTE * 30)
    assert 30 <= writes(crm) <= 80
    assert Attempt.objects.count() <= writes(crm)
    crm.faults("acme")
    pass_time(clock, MINUTE * 2)
    assert states() == ["succeeded"] * 100


def test_it_closes_after_one_call_that_goes_well(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    save(20)
    crm.faults(rates={"unavailable": 1.0})
    drain("acme")
    crm.faults()
    clock.shift(HOURS)
    drain("acme")
    assert states() == ["succeeded"] * 20
    assert Lane.objects.get(pk="acme").failures == 0
    crm.faults(rates={"unavailable": 1.0})
    save(20)
    drain("acme")
    # And it takes as many to open it again.
    assert Lane.objects.get(pk="acme").failures == THRESHOLD


def test_an_answer_of_any_other_kind_closes_it_too(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    save(4)
    crm.faults(rates={"unavailable": 1.0})
    drain("acme")
    assert Lane.objects.get(pk="acme").failures == 4
    crm.faults()
    save(1, title="poison")
    drain("acme")
    assert Lane.objects.get(pk="acme").failures == 0


@pytest.mark.parametrize(
    ("vendor", "fault", "count"),
    [
        ("loopback", "unavailable", 1),
        ("loopback", "drop_after", 30),
        ("loopback-single", "drop_before", 30),
    ],
)
def test_an_outage_of_hours_loses_nothing_and_doubles_nothing(
    loopback: Connection,  # noqa: F811
    crm: CRMControl,  # noqa: F811
    clock: Any,
    vendor: str,
    fault: str,
    count: int,
) -> None:
    xkit_crm.connect("acme", provider=vendor)
    save(count)
    crm.faults(rates={fault: 1.0})
    pass_time(clock, 3 * HOURS)
    assert states() == ["pending"] * count
    crm.faults()
    pass_time(clock, HOURS)
    assert states() == ["succeeded"] * count
    assert len(crm.records("acme")) == count
    # The CRM is asked about once a minute: an outage is no flood.
    assert writes(crm) < 3 * 60 * 2 + 4 * count + THRESHOLD


def test_an_outage_uses_up_no_more_tries_than_it_takes_to_see_that_it_is_one(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
    settings: Any,
) -> None:
    save(1)
    crm.faults(rates={"unavailable": 1.0})
    pass_time(clock, 3 * HOURS)
    (waiting,) = Invocation.objects.all()
    assert waiting.status == "pending"
    assert waiting.tries - waiting.forgiven <= THRESHOLD


def test_soon_after_the_crm_is_back_everything_is_delivered(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    """However long it was down: the probe finds out within the longest pause."""
    save(30)
    crm.faults(rates={"unavailable": 1.0})
    pass_time(clock, 3 * HOURS)
    crm.faults()
    pass_time(clock, 3 * MINUTE)
    assert states() == ["succeeded"] * 30


def test_a_record_that_is_locked_is_not_a_crm_that_is_down(
    sandbox: Connection, customer: Customer, clock: Any
) -> None:
    Misbehaviour.objects.create(
        org=Org.objects.get(slug="acme"), kind="locked_record", operation="create", remaining=3
    )
    save(10)
    drain("acme")
    assert Lane.objects.get(pk="acme").failures == 0
    assert states().count("succeeded") == 7


def test_the_breaker_of_one_crm_leaves_another_alone(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    xkit_crm.connect(
        "other", provider="loopback-single", credentials=crm.credentials("other", timeout=1)
    )
    save(20)
    save(20, "other")
    crm.faults("acme", rates={"unavailable": 1.0})
    for _ in range(3):
        drain("acme")
        drain("other")
    assert len(crm.records("other")) == 20
    assert writes(crm) == THRESHOLD
    assert Lane.objects.get(pk="other").failures == 0
    assert lanes.paused_until("other") is None


def test_a_caller_is_told_at_once_that_the_crm_is_left_alone(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    save(20)
    crm.faults(rates={"unavailable": 1.0})
    drain("acme")
    before = writes(crm)
    waiting = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Now"})
    assert waiting.status == "pending"
    assert writes(crm) == before


def test_a_crm_that_can_not_even_describe_itself_is_down_as_well(
    single: Connection,
    crm: CRMControl,  # noqa: F811
    clock: Any,
) -> None:
    """What it says of its fields is asked for again every ten minutes, outage or not."""
    save(10)
    crm.faults(rates={"unavailable": 1.0})
    clock.shift(HOURS)
    cache.clear()
    before = len(crm.calls("acme"))
    for _ in range(10):
        drain("acme")
    assert len(crm.calls("acme")) - before <= THRESHOLD
    pass_time(clock, 3 * HOURS)
    assert states() == ["pending"] * 10
