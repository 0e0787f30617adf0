"""Rows are read from the database that is written: a replica that lags behind knows less."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import router

import xkit_crm
from tests.delivery.conftest import names
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Elsewhere
from xkit_crm.models import Connection, Invocation
from xkit_crm.sync.backfill import backfill
from xkit_crm.sync.findings import State
from xkit_crm.sync.reconcile import reconcile
from xkit_crm.sync.reconcile_deep import State as Deep
from xkit_crm.sync.reconcile_deep import reconcile_deep
from xkit_crm.sync.resync import resync
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def lagging(settings: Any) -> None:
    """Deals are read from a replica that has none of them yet."""
    settings.DATABASE_ROUTERS = ["tests.products.routers.Lagging"]
    assert (router.db_for_read(Deal), router.db_for_write(Deal)) == ("other", "default")


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Ours")
    deliver()
    Invocation.objects.all().delete()
    return deal


@pytest.mark.usefixtures("lagging")
def test_a_row_that_the_replica_does_not_have_yet_is_not_gone(delivered: Deal) -> None:
    (result,) = reconcile([Deal])
    assert result.counts == {State.IN_STEP: 1}
    (deep,) = reconcile_deep([Deal])
    assert deep.counts == {Deep.IN_STEP: 1}
    deliver()
    assert names() == ["Ours"]


def test_a_row_whose_link_the_replica_does_not_have_yet_is_linked(
    delivered: Deal, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = ["tests.products.routers.LaggingLinks"]
    (result,) = reconcile([Deal], create=True)
    assert result.counts == {State.IN_STEP: 1}
    assert resync(Deal.objects.all()).queued == 1
    assert Invocation.objects.get().event.slug == "deal_updated"


@pytest.mark.usefixtures("lagging")
def test_rows_are_found_that_the_replica_does_not_have_yet(
    sandbox: Connection, customer: Customer
) -> None:
    with xkit_crm.muted():
        DealFactory.create(customer=customer, title="First")
    assert backfill(Deal, "acme", match=[]).rows == 1
    with xkit_crm.muted():
        DealFactory.create(customer=customer, title="Second")
    assert resync(Deal.objects.filter(title="Second")).queued == 1


@pytest.mark.usefixtures("lagging")
def test_a_change_of_a_row_that_the_crm_does_not_know_is_made_of_what_was_written(
    sandbox: Connection, customer: Customer
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer)
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert names() == ["Renamed"]


class Updates(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    on_update = "deal_updated"
    payload = {"name": "title"}

    def get_connections(self, row: Elsewhere) -> list[str]:
        return [row.connection_id]


def test_a_change_of_a_row_in_another_database_becomes_its_create(
    sandbox: Connection, django_capture_on_commit_callbacks
) -> None:
    from tests.products.crm import ElsewhereSync

    xkit_crm.unregister(Elsewhere)
    xkit_crm.register(Elsewhere)(Updates)
    try:
        with xkit_crm.muted():
            row = Elsewhere.objects.create(title="Far", connection_id="acme")
        row.title = "Farther"
        with django_capture_on_commit_callbacks(using="other", execute=True):
            row.save()
        deliver()
        assert names() == ["Farther"]
    finally:
        xkit_crm.unregister(Elsewhere)
        xkit_crm.register(Elsewhere)(ElsewhereSync)
