"""What all tests share. A test that needs a service says so by a marker; where the service is
absent it skips on a laptop and fails in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from django.db import connection as database
from hypothesis import HealthCheck, settings

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.objects import OBJECTS
from tests.products.models import Customer, Deal
from xkit_crm import catalogue, mappings
from xkit_crm.models import APIKey, Connection, EventAction
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import RemoteField
from xkit_crm.sync import bindings
from xkit_crm.testing import deliver

# A busy machine is no mistake of the strategies.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")


def need(present: bool, what: str) -> None:
    """Skip the test, or fail it in CI, where `what` is absent."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {what}.")
    pytest.skip(f"needs {what}")


#: Modules whose tests start processes or wait for real: CI runs them, a plain run leaves them out.
LONG = (
    "tests/api/test_fuzz",
    "tests/browser/",
    "tests/crm/",
    "tests/crm_link/test_translations",
    "tests/delivery/backends/test_celery",
    "tests/delivery/backends/test_tasks",
    "tests/delivery/test_batching",
    "tests/delivery/test_breaker",
    "tests/delivery/test_claiming.py::test_a_record_with_twelve_thousand",
    "tests/delivery/test_claiming.py::test_a_thousand_records",
    "tests/delivery/test_claiming.py::test_a_window_costs_the_same",
    "tests/delivery/test_heartbeat",
    "tests/delivery/test_lost_batches",
    "tests/delivery/test_machine",
    "tests/delivery/test_rate",
    "tests/delivery/test_rounds",
    "tests/delivery/test_processes",
    "tests/delivery/test_worker",
    "tests/example/",
    "tests/management/test_backfill.py::test_after_a_kill",
    "tests/providers/sandbox/test_conformance",
    "tests/providers/test_tutorial",
    "tests/test_tracing.py::test_without_the_package",
    "tests/admin/crm_records/test_mixin.py::test_a_products_admin_may_be_loaded",
    *(
        f"tests/providers/{vendor}/"
        for vendor in ("dynamics", "pipedrive", "salesforce", "tryton", "zoho")
    ),
    *(f"tests/providers/test_{vendor}.py" for vendor in ("odoo", "xkit")),
    "tests/sync/test_set_wise",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, before what is asked for is chosen by the marks."""
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def _fresh_catalogue() -> Iterator[None]:
    """A test's rows are rolled back; what was remembered of them goes too."""
    catalogue.forget()
    descriptions._held.cache_clear()
    yield
    catalogue.forget()


@pytest.fixture
def forgotten_rows() -> Iterator[None]:
    """What a test bound by rows is rolled back; what was loaded of it goes too."""
    yield
    bindings._from_rows.clear()
    bindings._by_class.clear()


@pytest.fixture(autouse=True)
def _marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgresql") and database.vendor != "postgresql":
        pytest.skip("needs XKIT_DATABASE=postgresql")


@pytest.fixture
def definitions(db: None) -> None:
    """The CRM objects and events of `tests/objects.py`."""
    xkit_crm.define(OBJECTS)


@pytest.fixture
def connection(definitions: None) -> Connection:
    """A connection that exists and is enabled, with no CRM behind it."""
    return ConnectionFactory.create(id="acme", context="workspace-1")


@pytest.fixture
def customer(connection: Connection) -> Customer:
    """A customer of the product whose CRM is `connection`."""
    return CustomerFactory.create(connection_id=connection.pk)


@pytest.fixture
def deal(customer: Customer) -> Deal:
    """A row that was saved before anything was captured, as the database has it."""
    with xkit_crm.muted():
        made = DealFactory.create(customer=customer)
    return Deal.objects.get(pk=made.pk)


@pytest.fixture
def sandbox(connection: Connection) -> Connection:
    """The same connection with a sandbox CRM behind it, mapped by default."""
    return xkit_crm.connect("acme", provider="sandbox", context="workspace-1")


@pytest.fixture
def log(sandbox: Connection, customer: Customer) -> Connection:
    """A connection with every kind of row: delivered, failed, linked, bound, drafted."""
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    APIKey.objects.issue("backend")
    EventAction.objects.filter(event__slug="deal_created").update(
        transformations=[{"field": "Name", "kind": "static", "value": None}]
    )
    DealFactory.create(customer=customer)
    deliver()
    mappings.draft(sandbox)
    return sandbox


@pytest.fixture
def twins_by_triggers() -> Iterator[None]:
    """Twins are left to the triggers of their table, and their deletions are told of too."""
    from tests.products.crm import TwinSync
    from tests.products.models import Twin

    xkit_crm.unregister(Twin)
    told = {"by_triggers": True, "on_delete": "deal_deleted"}
    xkit_crm.register(Twin)(type("ByTriggers", (TwinSync,), told))
    yield
    xkit_crm.unregister(Twin)
    xkit_crm.register(Twin)(TwinSync)


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each remote object whose fields a sandbox CRM is asked for, in order."""
    from xkit_crm.providers.sandbox.provider import SandboxProvider

    asked: list[str] = []
    describe = SandboxProvider.describe_fields

    def counting(self: SandboxProvider, remote_object: str) -> Sequence[RemoteField]:
        asked.append(remote_object)
        return describe(self, remote_object)

    monkeypatch.setattr(SandboxProvider, "describe_fields", counting)
    return asked
