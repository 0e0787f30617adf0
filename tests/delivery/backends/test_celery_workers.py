"""Real Celery workers on real brokers: what was saved reaches the CRM whatever is lost, doubled or
killed on the way."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import kombu.pools
import pytest
from celery import Celery
from django.db import transaction

import xkit_crm
from tests.conftest import need
from tests.delivery.backends.brokers import RABBITMQ, REDIS, is_up, lanes_told, remove
from tests.delivery.backends.conftest import Run
from tests.delivery.conftest import names, states
from tests.factories import DealFactory
from tests.processes import Process, until
from tests.products.models import Customer
from xkit_crm.delivery.backends import celery as backend
from xkit_crm.models import Connection, Lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

PRODUCT = ("-m", "celery", "-A", "tests.delivery.backends.product")
Start = Callable[..., Process]


@pytest.fixture(params=[REDIS, RABBITMQ], ids=["redis", "rabbitmq"])
def app(
    request: pytest.FixtureRequest,
    sandbox: Connection,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Celery]:
    """The product's Celery app, and delivery by it."""
    need(is_up(request.param), f"a broker at {request.param}")
    monkeypatch.setattr(backend, "_rest", backend._Rest())
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "celery"}
    with Celery("product", broker=request.param) as made:
        made.conf.task_default_queue = f"xkit-{uuid4()}"
        yield made
        remove(made)
    kombu.pools.reset()


@pytest.fixture
def start(app: Celery, run: Run) -> Start:
    """Start a process of the product's Celery: `worker`, `beat`."""

    def process(*arguments: str) -> Process:
        broker = {
            "XKIT_TEST_BROKER": app.conf.broker_url,
            "XKIT_TEST_QUEUE": app.conf.task_default_queue,
        }
        return run(*PRODUCT, *arguments, settings="celery_settings", **broker)

    return process


def work(start: Start, *, pool: str = "solo", log: str = "WARNING") -> Process:
    alone = ("--without-gossip", "--without-mingle")
    return start("worker", "--pool", pool, "--concurrency", "2", "--loglevel", log, *alone)


def test_what_is_saved_reaches_the_crm(customer: Customer, start: Start) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    worker = work(start, pool="prefork", log="INFO")
    until(lambda: names() == ["Apple"])
    deal.title = "Pear"
    deal.save()
    until(lambda: names() == ["Pear"])
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=20)
    assert worker.returncode == 0, said
    assert "Lane acme: " in said
    assert Lane.objects.get().holder == ""


def test_what_a_lost_message_told_of_is_found_by_the_sweep_that_beat_runs(
    app: Celery, customer: Customer, start: Start, tmp_path: Path
) -> None:
    with transaction.atomic():
        DealFactory.create(customer=customer, title="Apple")
        DealFactory.create(customer=customer, title="Pear")
    assert lanes_told(app) == ["acme"]  # and so it is lost
    start("beat", "--schedule", str(tmp_path / "schedule"), "--pidfile", "")
    work(start)
    until(lambda: names() == ["Apple", "Pear"])


def test_doubled_messages_make_one_record_each(app: Celery, start: Start) -> None:
    titles = [f"Deal {n}" for n in range(10)]
    for title in titles:
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": title}, wait=False)
        backend.poke(["acme", "acme"])
    workers = [work(start) for _ in range(2)]
    until(lambda: states() == ["succeeded"] * 10)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        said, _ = worker.communicate(timeout=20)
        assert "Traceback" not in said
    assert names() == titles


def test_after_a_killed_worker_another_goes_on_when_the_lease_has_run_out(
    customer: Customer, start: Start, told: Path
) -> None:
    told.touch()
    with transaction.atomic():
        DealFactory.create(customer=customer, title="Apple")
        DealFactory.create(customer=customer, title="Pear")
    killed = work(start)
    until(lambda: not told.exists())
    killed.kill()
    killed.wait()
    assert states()[0] == "running"
    work(start)

    def swept() -> bool:
        backend.sweep()
        return states() == ["succeeded"] * 2

    until(swept)
    assert names() == ["Apple", "Pear"]
