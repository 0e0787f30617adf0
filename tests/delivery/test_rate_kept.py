"""Limits are kept over HTTP, with a CRM that enforces them and tells what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

import xkit_crm
from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.crm.provider import LoopbackProvider, SingleLoopbackProvider
from tests.delivery.conftest import act, states
from tests.factories import CustomerFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.providers.base import Limits


class Declared(SingleLoopbackProvider):
    """One record a call, and a hundred calls a second, as the CRM allows."""

    slug = "loopback-declared"
    limits: ClassVar[Limits] = Limits(calls=100, per=1.0)


class Silent(Declared):
    """The same, of a CRM that says nothing of itself."""

    slug = "loopback-silent"

    def _note(self, headers: Mapping[str, str]) -> None:
        pass


LOOPBACK = (SingleLoopbackProvider, Declared, Silent)


@pytest.fixture
def vendors(crm: CRMControl, settings: Any) -> None:  # noqa: F811
    known = settings.XKIT_CRM["PROVIDERS"]
    ours = {found.slug: f"{found.__module__}.{found.__qualname__}" for found in LOOPBACK}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDERS": {**known, **ours}}


def connect(crm: CRMControl, provider: type[LoopbackProvider], name: str = "acme") -> Connection:  # noqa: F811
    return xkit_crm.connect(
        name, provider=provider.slug, credentials=crm.credentials(name, timeout=2)
    )


def save(customer: Customer, count: int) -> list[Deal]:
    return Deal.synced.bulk_create(
        [Deal(customer=customer, title=f"Deal {n}") for n in range(count)]
    )


def outcomes(crm: CRMControl, org: str = "acme") -> dict[str, int]:  # noqa: F811
    found: dict[str, int] = {}
    for call in crm.calls(org):
        found[call["outcome"]] = found.get(call["outcome"], 0) + 1
    return found


def refused(crm: CRMControl, *, since: int) -> list[str]:  # noqa: F811
    """What was asked for when there was no room for it."""
    made = [(call["operation"], call["outcome"]) for call in crm.calls("acme")[since:]]
    return [operation for operation, outcome in made if outcome == "429"]


def drain_patiently(connection_id: str = "acme", seconds: float = 60) -> None:
    """As a worker does: come back when the pause is over."""
    deadline = time.monotonic() + seconds
    while Invocation.objects.filter(connection_id=connection_id, status="pending").exists():
        assert time.monotonic() < deadline, states()
        drain(connection_id)
        paused = Lane.objects.get(pk=connection_id).paused_until
        if paused is not None and (left := (paused - timezone.now()).total_seconds()) > 0:
            time.sleep(left)


@pytest.mark.django_db
@pytest.mark.parametrize("provider", LOOPBACK)
def test_three_hundred_calls_at_a_limit_never_meet_a_429(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
    provider: type[LoopbackProvider],
) -> None:
    connect(crm, provider)
    crm.faults("acme", calls=100, per=1.0)
    save(customer, 300)
    drain_patiently(seconds=60)
    assert "429" not in outcomes(crm)
    assert len(crm.records("acme")) == 300


@pytest.mark.django_db
@pytest.mark.parametrize("provider", [SingleLoopbackProvider, Declared])
def test_reads_before_a_write_keep_to_the_limit_as_well(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
    provider: type[LoopbackProvider],
) -> None:
    connect(crm, provider)
    deals = save(customer, 60)
    drain_patiently()
    name = {"field": "Name", "kind": "direct", "key": "name", "mode": "when_empty"}
    act(
        "deal_updated", transformations=[name, {"field": "Views", "kind": "direct", "key": "views"}]
    )
    for deal in deals:
        deal.views = 1
        deal.save()
    before = len(crm.calls("acme"))
    crm.faults("acme", calls=20, per=0.5)
    drain_patiently()
    assert refused(crm, since=before) == []


@pytest.mark.django_db
@pytest.mark.parametrize("provider", [SingleLoopbackProvider, Declared])
def test_reads_after_a_write_keep_to_the_limit_as_well(
    connection: Connection,
    crm: CRMControl,  # noqa: F811
    vendors: None,
    provider: type[LoopbackProvider],
) -> None:
    connect(crm, provider)
    for n in range(40):
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": f"Deal {n}"}, wait=False)
    before = len(crm.calls("acme"))
    crm.faults("acme", calls=15, per=0.5)
    drain_patiently()
    assert refused(crm, since=before) == []


@pytest.mark.django_db
def test_a_crm_that_asks_for_a_pause_is_asked_nothing_more_before_the_write(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
) -> None:
    connect(crm, SingleLoopbackProvider)
    deals = save(customer, 40)
    drain_patiently()
    name = {"field": "Name", "kind": "direct", "key": "name", "mode": "when_empty"}
    act("deal_updated", transformations=[name])
    for deal in deals:
        deal.title = "Renamed"
        deal.save()
    crm.faults("acme", rates={"rate_limited": 1.0}, retry_after=60)
    drain("acme")
    assert outcomes(crm)["429"] == 1


@pytest.mark.django_db
def test_a_pause_that_one_crm_asks_for_is_no_pause_for_another(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
) -> None:
    connect(crm, SingleLoopbackProvider)
    connect(crm, SingleLoopbackProvider, "other")
    crm.faults("acme", rates={"rate_limited": 1.0}, retry_after=60)
    save(customer, 20)
    save(CustomerFactory.create(connection_id="other"), 20)
    for _ in range(3):
        drain("acme")
        drain("other")
    assert outcomes(crm)["429"] == 1
    assert len(crm.records("other")) == 20
    paused = Lane.objects.get(pk="acme").paused_until
    assert paused is not None
    assert 50 < (paused - timezone.now()).total_seconds() <= 60
    assert Invocation.objects.filter(connection_id="acme", status="pending").count() == 20
    # No fault of its own: none of its tries is used up.
    assert {i.tries - i.forgiven for i in Invocation.objects.filter(connection_id="acme")} == {0}


@pytest.mark.django_db
def test_a_crm_that_names_a_moment_which_is_over_is_left_alone_all_the_same(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
) -> None:
    """Asked again at once, it would be asked again and again, as fast as it answers."""
    connect(crm, SingleLoopbackProvider)
    crm.faults("acme", rates={"rate_limited": 1.0}, retry_after=0)
    save(customer, 1)
    drain("acme", limit=5)
    assert outcomes(crm)["429"] == 1
    paused = Lane.objects.get(pk="acme").paused_until
    assert paused is not None
    assert 0 < (paused - timezone.now()).total_seconds() <= 1


@pytest.mark.django_db
def test_the_share_of_the_quota_that_is_reserved_holds_the_lane_until_it_is_renewed(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
    time_machine: Any,
) -> None:
    connect(crm, SingleLoopbackProvider)
    Connection.objects.update(quota_reserve=20)
    crm.faults("acme", quota=50, quota_per=3600.0)
    save(customer, 60)
    drain("acme")
    drain("acme")
    # Forty of the fifty, and ten are left to the customer's other tools.
    assert len(crm.records("acme")) == 40
    assert "429" not in outcomes(crm)
    lane = Lane.objects.get(pk="acme")
    assert lane.quota == 50
    assert lane.quota_left == 10
    assert lane.paused_until is not None
    assert lane.quota_resets_at is not None
    assert abs(lane.paused_until - lane.quota_resets_at) < timedelta(milliseconds=1)
    assert 3500 < (lane.paused_until - timezone.now()).total_seconds() <= 3600
    crm.faults("acme")
    time_machine.move_to(lane.paused_until + timedelta(seconds=1), tick=False)
    drain("acme")
    assert len(crm.records("acme")) == 60


@pytest.mark.django_db
def test_what_was_learned_of_one_account_says_nothing_of_the_next(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
) -> None:
    """The day was used up there; who connects another CRM doesn't wait for midnight."""
    connect(crm, SingleLoopbackProvider)
    crm.faults("acme", quota=5, quota_per=3600.0)
    save(customer, 10)
    drain("acme")
    assert Lane.objects.get(pk="acme").paused_until is not None
    elsewhere = crm.credentials("elsewhere", timeout=2)
    xkit_crm.connect("acme", provider=SingleLoopbackProvider.slug, credentials=elsewhere)
    drain("acme")
    assert states() == ["succeeded"] * 10
    assert (len(crm.records("acme")), len(crm.records("elsewhere"))) == (5, 5)


@pytest.mark.django_db
def test_what_was_learned_of_the_limits_outlasts_the_worker(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    vendors: None,
) -> None:
    """All that work in a lane, one after the other, share one bucket."""
    connect(crm, Declared)
    save(customer, 5)
    drain("acme")
    lane = Lane.objects.get(pk="acme")
    assert lane.tokens is not None
    assert lane.tokens < 100
    assert lane.tokens_at is not None
