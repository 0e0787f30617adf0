"""What is said to Celery, when, and what a broker that is down costs: a line in the log.

The messages are real ones, in Celery's broker in memory; `test_celery_workers.py` has others.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import kombu.pools
import pytest
import time_machine
from celery import Celery
from celery.beat import Scheduler
from django.core.checks import run_checks
from django.db import transaction
from django.utils import timezone

import xkit_crm
from tests.delivery.backends.brokers import lanes_told, taken
from tests.delivery.backends.conftest import Run
from tests.delivery.conftest import Misbehave, held, names, states
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer
from xkit_crm.delivery import backends, retention
from xkit_crm.delivery.backends import celery as backend
from xkit_crm.delivery.backends import turns
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection, Lane
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def app(sandbox: Connection, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """The product's Celery app, and delivery by it."""
    monkeypatch.setattr(backend, "_rest", backend._Rest())
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "celery"}
    with Celery("product", broker="memory://") as made:
        made.conf.task_default_queue = f"xkit-{uuid4()}"
        yield made
    kombu.pools.reset()


@contextmanager
def nobody_told() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "backend", lambda: lambda connection_ids: None)
        yield


def put(*titles: str, connection_id: str = "acme") -> None:
    """Invocations that nobody is told of, and the connection where it isn't there yet."""
    with nobody_told():
        if connection_id != "acme":
            xkit_crm.connect(connection_id, provider="sandbox")
        for title in titles:
            xkit_crm.invoke(
                connection_id, "opportunity", "deal_created", {"name": title}, wait=False
            )


# -- when a message is sent ----------------------------------------------------------------------


def test_a_save_tells_of_its_lane_and_of_nothing_else(app: Celery, customer: Customer) -> None:
    DealFactory.create(customer=customer, title="Apple")
    (message,) = taken(app)
    assert message["task"] == "xkit_crm.drain_lane"
    assert message["argsrepr"] == "('acme',)"
    assert "Apple" not in str(message)
    assert states() == ["pending"]


def test_a_message_is_sent_after_the_commit_and_not_after_a_rollback(
    app: Celery, customer: Customer
) -> None:
    with transaction.atomic():
        DealFactory.create(customer=customer)
        assert lanes_told(app) == []
    assert lanes_told(app) == ["acme"]
    with transaction.atomic():
        DealFactory.create(customer=customer)
        transaction.set_rollback(True)
    assert lanes_told(app) == []


def test_many_saves_of_a_transaction_tell_of_each_lane_once(
    app: Celery, customer: Customer
) -> None:
    with nobody_told():
        xkit_crm.connect("other", provider="sandbox")
    with transaction.atomic():
        for _ in range(5):
            DealFactory.create(customer=customer)
            DealFactory.create(customer=CustomerFactory.create(connection_id="other"))
    assert sorted(lanes_told(app)) == ["acme", "other"]
    with transaction.atomic():
        DealFactory.create(customer=customer)
    assert lanes_told(app) == ["acme"]


def test_what_a_savepoint_takes_back_hides_nothing_that_stays(
    app: Celery, customer: Customer
) -> None:
    with transaction.atomic():
        with transaction.atomic():
            DealFactory.create(customer=customer)
            transaction.set_rollback(True)
        DealFactory.create(customer=customer)
    assert lanes_told(app) == ["acme"]
    with transaction.atomic():
        DealFactory.create(customer=customer)
        with transaction.atomic():
            DealFactory.create(customer=customer)
            transaction.set_rollback(True)
    assert lanes_told(app) == ["acme"]


def test_a_message_that_nobody_takes_expires(app: Celery, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    (message,) = taken(app)
    expires = timezone.datetime.fromisoformat(message["expires"])
    assert timedelta(seconds=50) < expires - timezone.now() <= timedelta(seconds=60)


# -- what a worker does with it ------------------------------------------------------------------


def test_a_message_drains_its_lane_and_no_other(app: Celery) -> None:
    put("First", "Second")
    put("Elsewhere", connection_id="other")
    backend.drain_lane("acme")
    assert names() == ["First", "Second"]
    assert lanes_told(app) == []


def test_a_long_backlog_is_handed_on_in_turns(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LIMIT", 2)
    put("First", "Second", "Third")
    backend.drain_lane("acme")
    assert names() == ["First", "Second"]
    assert lanes_told(app) == ["acme"]
    backend.drain_lane("acme")
    assert names() == ["First", "Second", "Third"]
    assert lanes_told(app) == []


def test_a_slow_crm_ends_the_turn_too(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    put("First", "Second")
    create, now = SandboxProvider.create, [0.0]

    def slow(self: Any, *args: Any, **named: Any) -> Any:
        now[0] += turns.SECONDS
        return create(self, *args, **named)

    monkeypatch.setattr(SandboxProvider, "batch_size", 1)
    monkeypatch.setattr(SandboxProvider, "create", slow)
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: now[0]))
    backend.drain_lane("acme")
    assert names() == ["First"]
    assert lanes_told(app) == ["acme"]


def test_a_lane_that_another_worker_holds_is_left_to_it(app: Celery) -> None:
    put("First")
    Lane.objects.update_or_create(
        connection_id="acme",
        defaults={"holder": "elsewhere/1/1", "leased_until": timezone.now() + timedelta(minutes=1)},
    )
    backend.drain_lane("acme")
    assert states() == ["pending"]
    assert lanes_told(app) == []


def test_doubled_messages_do_no_harm(app: Celery) -> None:
    put("First")
    for _ in range(3):
        backend.drain_lane("acme")
    assert names() == ["First"]


def test_a_message_for_a_connection_that_is_gone_does_nothing(app: Celery) -> None:
    backend.drain_lane("gone")
    assert lanes_told(app) == []


def test_a_backlog_of_any_length_is_worked_through_where_messages_run_at_once(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.conf.task_always_eager = True
    app.conf.task_eager_propagates = True
    monkeypatch.setattr(turns, "LIMIT", 1)
    put(*(f"Deal {n}" for n in range(60)))
    backend.poke(["acme"])
    assert len(held()) == 60


# -- the sweep -----------------------------------------------------------------------------------


def test_the_sweep_tells_of_every_lane_that_has_work(app: Celery) -> None:
    put("First", "Second")
    put(connection_id="idle")
    put("Elsewhere", connection_id="other")
    backend.sweep()
    assert sorted(lanes_told(app)) == ["acme", "other"]


def test_the_sweep_finds_a_retry_whose_time_has_come(app: Celery, misbehave: Misbehave) -> None:
    put("First")
    misbehave("unavailable", retry_after=300)
    backend.drain_lane("acme")
    assert states() == ["pending"]
    backend.sweep()
    assert lanes_told(app) == []
    with time_machine.travel(timezone.now() + timedelta(minutes=10)):
        backend.sweep()
        assert lanes_told(app) == ["acme"]
        backend.drain_lane("acme")
    assert names() == ["First"]


def test_the_sweep_sees_to_what_is_kept_too_long(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("First")
    backend.drain_lane("acme")
    monkeypatch.setattr(retention, "_next_look", 0.0)
    with time_machine.travel(timezone.now() + timedelta(days=100)):
        backend.sweep()
    assert states() == []


def test_beat_takes_the_schedule_supplied_and_sends_the_sweep(app: Celery) -> None:
    app.conf.beat_schedule = backend.beat_schedule(timedelta(minutes=5))
    scheduler = Scheduler(app)
    (entry,) = [entry for entry in scheduler.schedule.values() if entry.task == "xkit_crm.sweep"]
    assert entry.schedule.run_every == timedelta(minutes=5)
    scheduler.apply_async(entry)
    (message,) = taken(app)
    assert message["task"] == "xkit_crm.sweep"
    scheduler.producer.close()


# -- a broker that is down -----------------------------------------------------------------------


@pytest.fixture
def closed() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("port", ["closed", "silent"])
def test_a_broker_that_is_down_neither_fails_nor_holds_up_a_save(
    request: pytest.FixtureRequest,
    app: Celery,
    customer: Customer,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    port: str,
) -> None:
    app.conf.broker_url = f"{scheme}://127.0.0.1:{request.getfixturevalue(port)}"
    begun = time.monotonic()
    DealFactory.create(customer=customer)
    first = time.monotonic() - begun
    assert first < backend.PATIENCE + 2
    for _ in range(5):
        DealFactory.create(customer=customer)
    # An outage is met once, and not by every save.
    assert time.monotonic() - begun - first < backend.PATIENCE
    assert states() == ["pending"] * 6
    (record,) = caplog.records
    assert "acme" in record.getMessage()
    assert "sweep finds" in record.getMessage()


def test_a_broker_that_is_back_is_told_again(
    app: Celery,
    customer: Customer,
    closed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "REST", 0.0)
    app.conf.broker_url = f"redis://127.0.0.1:{closed}"
    DealFactory.create(customer=customer)
    app.conf.broker_url = "memory://"
    DealFactory.create(customer=customer)
    assert lanes_told(app) == ["acme"]


def test_the_bounds_that_a_product_sets_itself_are_kept(app: Celery) -> None:
    app.conf.broker_transport_options = {"socket_timeout": 7, "visibility_timeout": 60}
    options = backend._broker().transport_options
    assert (options["socket_timeout"], options["visibility_timeout"]) == (7, 60)
    assert options["socket_connect_timeout"] == backend.PATIENCE


# -- the checks ----------------------------------------------------------------------------------


def found() -> dict[str, Any]:
    return {message.id: message for message in run_checks(tags=["xkit_crm"])}


def test_a_schedule_without_the_sweep_is_warned_of(app: Celery) -> None:
    assert "beat_schedule()" in found()["xkit_crm.W016"].hint
    app.conf.beat_schedule = backend.beat_schedule()
    assert "xkit_crm.W016" not in found()


def test_a_schedule_that_is_kept_elsewhere_is_not_warned_of(app: Celery) -> None:
    app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    assert "xkit_crm.W016" not in found()


def test_a_celery_app_that_nobody_imports_is_warned_of(run: Run) -> None:
    said, _ = run("manage.py", "check", settings="celery_settings").communicate(timeout=30)
    assert "xkit_crm.W017" in said
    assert "__init__.py" in said


def test_celery_that_is_not_installed_is_an_error_with_the_command(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XKIT_CRM = {"DELIVERY": "celery"}
    monkeypatch.setitem(sys.modules, "celery", None)
    backends._is_there.cache_clear()
    try:
        messages = found()
        with pytest.raises(ConfigurationError, match="not installed"):
            backends.backend()
    finally:
        backends._is_there.cache_clear()
    assert messages["xkit_crm.E016"].hint == "Install it with: pip install 'xkit_crm[celery]'"
    assert not {"xkit_crm.E004", "xkit_crm.W016", "xkit_crm.W017"} & set(messages)
