"""Delivery by Django's tasks framework: in the process, and by a worker that polls the database."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import django
import pytest
from django.core.checks import run_checks

from tests.delivery.backends.conftest import Run
from tests.delivery.conftest import held, names, states
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm.delivery import backends
from xkit_crm.delivery.backends import turns
from xkit_crm.invoking import invoke
from xkit_crm.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)

FRAMEWORK = "django.tasks" if find_spec("django.tasks") else "django_tasks"


@pytest.fixture
def at_once(sandbox: Connection, settings: Any) -> Any:
    """The backend that runs a task within the call that enqueues it."""
    settings.TASKS = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "tasks"}
    return settings


@pytest.fixture
def nowhere(at_once: Any) -> list[Any]:
    """The backend that keeps what is enqueued, and what it was given."""
    tasks = pytest.importorskip(FRAMEWORK)
    at_once.TASKS = {"default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
    results: list[Any] = tasks.default_task_backend.results
    return results


def test_a_save_enqueues_its_lane(nowhere: list[Any], customer: Customer) -> None:
    DealFactory.create(customer=customer)
    (result,) = nowhere
    assert result.task.module_path == "xkit_crm.delivery.backends.tasks.drain_lane"
    assert list(result.args) == ["acme"]
    assert states() == ["pending"]


def test_many_saves_of_a_transaction_enqueue_their_lane_once_after_the_commit(
    nowhere: list[Any], customer: Customer
) -> None:
    from django.db import transaction

    with transaction.atomic():
        for _ in range(5):
            DealFactory.create(customer=customer)
        assert nowhere == []
    assert len(nowhere) == 1


def test_a_task_that_runs_at_once_has_written_the_record_when_save_returns(
    at_once: Any, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    assert names() == ["Apple"]
    deal.title = "Pear"
    deal.save()
    assert names() == ["Pear"]


def test_a_backlog_of_any_length_is_worked_through_at_once(
    at_once: Any, nowhere: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery.backends import tasks

    for n in range(60):
        invoke("acme", "opportunity", "deal_created", {"name": f"Deal {n}"}, wait=False)
    monkeypatch.setattr(turns, "LIMIT", 1)
    at_once.TASKS = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
    tasks.poke(["acme"])
    assert len(held()) == 60


def test_the_sweep_finds_what_nobody_was_told_of(
    at_once: Any, nowhere: list[Any], customer: Customer
) -> None:
    from xkit_crm.delivery.backends import tasks

    DealFactory.create(customer=customer, title="Apple")
    nowhere.clear()  # and so it is lost
    at_once.TASKS = {"default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend"}}
    tasks.sweep.enqueue()
    assert names() == ["Apple"]


def test_a_backend_that_fails_stops_no_save(
    at_once: Any, customer: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    at_once.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    DealFactory.create(customer=customer)
    assert states() == ["pending"]
    assert "nowhere" in caplog.text


def test_tasks_that_wait_in_the_database_are_done_by_a_worker_of_their_own(
    sandbox: Connection, customer: Customer, run: Run
) -> None:
    save = (
        "import django; django.setup();"
        "from django.core.management import call_command;"
        "call_command('migrate', verbosity=0);"
        "from tests.products.models import Deal;"
        f"Deal.objects.create(customer_id={customer.pk}, title='Apple')"
    )
    said, _ = run("-c", save, settings="tasks_settings").communicate(timeout=60)
    assert said == ""
    assert states() == ["pending"]
    worker = ("manage.py", "db_worker", "--batch", "--backend", "crm", "--queue-name", "sync")
    said, _ = run(*worker, "-v", "3", settings="tasks_settings").communicate(timeout=60)
    assert names() == ["Apple"], said


IMMEDIATE = f"{FRAMEWORK}.backends.immediate.ImmediateBackend"


@pytest.mark.parametrize(
    ("tasks", "ours", "told", "hint"),
    [
        ({"BACKEND": "nowhere.DatabaseBackend"}, {}, "nowhere", "BACKEND"),
        ({"BACKEND": IMMEDIATE}, {"TASKS_BACKEND": "crm"}, "crm", "TASKS"),
        ({"BACKEND": IMMEDIATE}, {"TASKS_QUEUE": "sync"}, "sync", "'sync' among its QUEUES"),
        ({"BACKEND": IMMEDIATE, "QUEUES": ["sync"]}, {}, "default", "'default' among its QUEUES"),
    ],
)
def test_tasks_that_can_not_be_enqueued_are_found_by_the_checks(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tasks: dict[str, Any],
    ours: dict[str, str],
    told: str,
    hint: str,
) -> None:
    settings.TASKS = {"default": tasks}
    settings.XKIT_CRM = {"DELIVERY": "tasks", **ours}
    monkeypatch.delitem(sys.modules, "xkit_crm.delivery.backends.tasks", raising=False)
    backends._load.cache_clear()
    try:
        messages = {message.id: message for message in run_checks(tags=["xkit_crm"])}
    finally:
        backends._load.cache_clear()
    message = messages["xkit_crm.E004"]
    assert told in message.msg
    assert hint in message.hint


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django brings the framework")
def test_a_framework_that_is_not_installed_is_an_error_with_the_command(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XKIT_CRM = {"DELIVERY": "tasks"}
    monkeypatch.setitem(sys.modules, "django_tasks", None)
    backends._is_there.cache_clear()
    try:
        messages = {message.id: message for message in run_checks(tags=["xkit_crm"])}
    finally:
        backends._is_there.cache_clear()
    assert messages["xkit_crm.E016"].hint == "Install it with: pip install 'xkit_crm[tasks]'"
