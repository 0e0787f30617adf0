"""Rows that meet no condition may be as unfinished as they like: the product's code fails of them,
and neither its own work nor that of other rows is stopped by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import names, states
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer, Deal
from tests.sync.test_capture import events, fired, rebound
from tests.sync.test_conditions import SentOnly, write
from xkit_crm.models import Connection
from xkit_crm.sync.backfill import Outcome, backfill
from xkit_crm.sync.reconcile import State, reconcile
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


class Fragile(SentOnly):
    """Made for deals that were sent, and for no others."""

    def get_connections(self, deal: Deal) -> Any:
        return {"sent": deal.customer.connection_id}[deal.note]

    def get_name(self, deal: Deal) -> str:
        return {"sent": deal.title}[deal.note]


@pytest.fixture
def fragile(deal: Deal) -> Iterator[None]:
    with rebound(Fragile):
        yield


def test_it_can_be_deleted_and_what_nobody_could_tell_is_logged(
    fragile: None, deal: Deal, caplog: pytest.LogCaptureFixture
) -> None:
    deal.delete()
    assert fired() == []
    assert not Deal.objects.exists()
    assert "get_connections fails: KeyError" in caplog.text


def test_its_deletion_is_kept_as_failed_where_its_payload_can_not_be_made(
    sandbox: Connection, deal: Deal
) -> None:
    class Nameless(SentOnly):
        def get_name(self, deal: Deal) -> str:
            return {"sent": deal.title}[deal.note]

    with rebound(Nameless):
        write(deal, note="sent")
        deliver()
        write(deal, note="withdrawn")
        deal.delete()
    assert events() == ["deal_created", "deal_deleted"]
    assert states() == ["succeeded", "failed"]


def test_a_row_that_meets_it_has_to_be_right(deal: Deal) -> None:
    class Broken(SentOnly):
        def get_connections(self, deal: Deal) -> Any:
            return {}["acme"]

    with rebound(Broken), pytest.raises(KeyError):
        write(deal, note="sent")


def test_backfill_leaves_it_out_and_goes_on(
    sandbox: Connection, fragile: None, customer: Customer
) -> None:
    with xkit_crm.muted():
        DealFactory.create(customer=customer, title="Sent", note="sent")
    assert backfill(Deal, "acme", match=[]).counts == {Outcome.CREATED: 1, Outcome.LEFT_OUT: 1}
    deliver()
    assert names() == ["Sent"]


def test_many_rows_behind_it_cost_as_little_as_few(sandbox: Connection, fragile: None) -> None:
    def cost(count: int) -> int:
        for _ in range(count):
            theirs = CustomerFactory.create(connection_id="acme")
            with xkit_crm.muted():
                DealFactory.create(customer=theirs, note="sent")
        with CaptureQueriesContext(database) as queries:
            (result,) = reconcile([Deal], dry_run=True, create=True)
        assert result.counts[State.NOT_LINKED] == Deal.objects.filter(note="sent").count()
        return len(queries)

    cost(1)  # what is remembered of definitions is read
    few = cost(1)
    assert cost(9) == few
