"""Signs of life: who is busy keeps its lane, however long the CRM takes to answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import names, states
from tests.processes import until
from tests.threads import begun
from xkit_crm.delivery import heartbeat, lanes
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Lane
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=0.6)


@pytest.fixture
def short_leases(settings: Any) -> Iterator[None]:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "LANE_LEASE": LEASE}
    # One that sleeps for a part of a longer lease would come too late.
    heartbeat._forget_after_fork()
    earlier = set(beating())
    yield
    for thread in set(beating()) - earlier:
        thread.join(20)


def beating() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "xkit_crm heartbeat"]


class Slow:
    """A CRM that answers when it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.called, self.answer = threading.Event(), threading.Event()
        self.calls = 0
        call = SandboxProvider.create_many

        def create_many(provider: SandboxProvider, *args: Any) -> Any:
            self.calls += 1
            self.called.set()
            assert self.answer.wait(20)
            return call(provider, *args)

        patch.setattr(SandboxProvider, "create_many", create_many)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


def put(title: str, connection_id: str = "acme") -> None:
    xkit_crm.invoke(connection_id, "opportunity", "deal_created", {"name": title}, wait=False)


def at_work(connection_id: str = "acme") -> threading.Thread:
    """Another worker, in a thread of its own."""
    return begun(lambda: drain(connection_id))


def test_a_call_that_takes_longer_than_the_lease_is_not_overtaken(
    sandbox: Connection, short_leases: None, slow: Slow
) -> None:
    put("First")
    first = at_work()
    assert slow.called.wait(10)
    holder = Lane.objects.get().holder
    over = time.monotonic() + 3 * LEASE.total_seconds()
    while time.monotonic() < over:
        assert drain("acme") == 0
        time.sleep(0.05)
    lane = Lane.objects.get()
    assert lane.holder == holder != ""
    assert lane.leased_until is not None
    assert lane.leased_until > timezone.now()
    slow.answer.set()
    first.join(10)
    assert states() == ["succeeded"]
    assert names() == ["First"]
    assert slow.calls == 1
    assert Lane.objects.get().holder == ""


def test_one_thread_renews_every_lane_and_ends_when_none_is_held(
    sandbox: Connection, short_leases: None, slow: Slow
) -> None:
    xkit_crm.connect("other", provider="sandbox")
    put("First")
    put("First of the other", "other")
    earlier = set(beating())
    workers = [at_work("acme"), at_work("other")]
    deadline = time.monotonic() + 10
    while slow.calls < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(2 * LEASE.total_seconds())
    (thread,) = set(beating()) - earlier
    assert Lane.objects.filter(leased_until__gt=timezone.now()).count() == 2
    slow.answer.set()
    for worker in workers:
        worker.join(10)
    thread.join(20)
    assert not thread.is_alive()


def test_a_lane_that_was_taken_away_is_not_taken_back(
    sandbox: Connection, short_leases: None
) -> None:
    with lanes.held("acme") as hold:
        assert hold
        later = timezone.now() + timedelta(hours=1)
        Lane.objects.update(holder="elsewhere/1/1", leased_until=later)
        time.sleep(1.5 * LEASE.total_seconds())
        assert not hold
        assert not hold.renew()
    lane = Lane.objects.get()
    assert (lane.holder, lane.leased_until) == ("elsewhere/1/1", later)


def test_a_short_call_costs_no_renewal(sandbox: Connection, django_assert_num_queries: Any) -> None:
    with lanes.held("acme") as hold, django_assert_num_queries(0):
        assert hold.renew()
        assert hold.renew()


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite locks no rows")
def test_a_lane_that_somebody_has_locked_holds_up_no_other(
    sandbox: Connection, short_leases: None, slow: Slow
) -> None:
    """As who deletes a connection with a long log has, for as long as that takes."""
    xkit_crm.connect("other", provider="sandbox")
    put("First")
    put("Of the other", "other")
    workers = [at_work("other"), at_work("acme")]
    until(lambda: slow.calls == 2)
    with transaction.atomic():
        Lane.objects.filter(pk="other").delete()
        time.sleep(4 * LEASE.total_seconds())
        leased_until = Lane.objects.get(pk="acme").leased_until
        transaction.set_rollback(True)
    slow.answer.set()
    for worker in workers:
        worker.join(10)
    assert leased_until is not None
    assert timezone.now() - leased_until < LEASE
    assert names().count("First") == 1
