"""A binding by triggers: nothing is captured as the product saves, and everything is told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import held, names
from tests.products.crm import TwinSync
from tests.products.models import Twin
from tests.sync.marking import installed
from xkit_crm.checks.bindings import check_bindings
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Connection, Invocation, MarkedRow
from xkit_crm.sync import triggers
from xkit_crm.testing import deliver


@pytest.fixture
def marked(twins_by_triggers: None, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table has the triggers, as a product's migration gives them."""
    pytest.importorskip("pgtrigger")
    with installed(Twin, fields=("title", "amount", "email", "connection_id"), patch=monkeypatch):
        yield


def twin(title: str) -> Twin:
    return Twin.objects.create(connection_id="acme", title=title)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("marked")
class TestWhatIsTold:
    def test_a_save_is_the_products_own_query_and_nothing_else(self, sandbox: Connection) -> None:
        row = twin("First")
        with CaptureQueriesContext(database) as queries:
            row.title = "Second"
            row.save()
        assert len(queries) == 1
        assert not Invocation.objects.exists()

    def test_a_row_is_made_changed_and_deleted_in_the_crm(self, sandbox: Connection) -> None:
        row = twin("First")
        Worker().run_once()
        assert names() == ["First"]
        row.title = "Second"
        row.save()
        Worker().run_once()
        assert names() == ["Second"]
        row.delete()
        Worker().run_once()
        assert not held()
        slugs = Invocation.objects.order_by("id").values_list("event__slug", flat=True)
        assert list(slugs) == ["deal_created", "deal_updated", "deal_deleted"]

    def test_several_saves_before_the_worker_looks_are_one(self, sandbox: Connection) -> None:
        row = twin("First")
        for title in ("Second", "Third"):
            row.title = title
            row.save()
        Worker().run_once()
        assert names() == ["Third"]
        assert Invocation.objects.count() == 1

    def test_what_was_rolled_back_is_not_told(self, sandbox: Connection) -> None:
        with transaction.atomic():
            twin("Never")
            transaction.set_rollback(True)
        Worker().run_once()
        assert not held()

    def test_what_goes_past_save_is_told_too(self, sandbox: Connection) -> None:
        Twin.objects.bulk_create(Twin(connection_id="acme", title=str(n)) for n in range(3))
        Worker().run_once()
        Twin.objects.update(title="All")
        Worker().run_once()
        assert names() == ["All"] * 3

    def test_what_is_muted_is_not_told(self, sandbox: Connection) -> None:
        with xkit_crm.muted():
            twin("Silent")
        Worker().run_once()
        assert not held()
        assert not MarkedRow.objects.exists()


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("marked")
def test_a_products_tests_need_no_commit(sandbox: Connection) -> None:
    twin("First")
    deliver()
    assert names() == ["First"]


# -- another database, and what is wrong with one -------------------------------------------------


@pytest.mark.skipif(database.vendor == "postgresql", reason="needs another database")
@pytest.mark.django_db
def test_another_database_has_no_triggers_so_it_is_captured_as_ever(
    sandbox: Connection, twins_by_triggers: None
) -> None:
    twin("First")
    deliver()
    assert names() == ["First"]
    assert not mistakes()


def mistakes() -> list[str]:
    return [found.msg for found in check_bindings() if str(found.id).endswith("E011")]


@pytest.mark.postgresql
@pytest.mark.usefixtures("twins_by_triggers")
def test_what_would_never_be_told_is_found(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pgtrigger")

    def with_triggers(*fields: str) -> list[str]:
        found = triggers.capture_triggers(*fields)
        monkeypatch.setattr(Twin._meta, "triggers", found, raising=False)
        return mistakes()

    settings.XKIT_CRM = {**getattr(settings, "XKIT_CRM", {}), "DELIVERY": "worker"}
    (said,) = mistakes()
    assert "products.Twin has none" in said
    (said,) = with_triggers("title", "email")
    assert "leave out amount" in said
    assert not with_triggers("title", "email", "amount")
    assert not with_triggers()
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "immediate"}
    (said,) = mistakes()
    assert "nobody looks" in said


@pytest.mark.postgresql
@pytest.mark.usefixtures("twins_by_triggers")
def test_so_is_what_another_binding_of_the_model_would_never_hear(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are left to the triggers, whichever says so."""
    pytest.importorskip("pgtrigger")
    settings.XKIT_CRM = {**getattr(settings, "XKIT_CRM", {}), "DELIVERY": "worker"}
    marked = triggers.capture_triggers("title", "email", "amount")
    monkeypatch.setattr(Twin._meta, "triggers", marked, raising=False)
    told = {"crm_object": "contact", "payload": {"name": "stage"}}
    xkit_crm.register(Twin)(type("Beside", (TwinSync,), told))
    (said,) = mistakes()
    assert "Beside" in said
    assert "leave out stage" in said
