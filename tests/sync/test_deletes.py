"""A deletion is told as the database had the row, and to all who have a record of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import Customer, Deal, Ticket
from tests.sync.test_capture import rebound
from xkit_crm.models import Invocation

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(connection: Any) -> Customer:
    """Another customer, with a CRM of their own."""
    return CustomerFactory.create(connection_id=ConnectionFactory.create(id="second").pk)


def told() -> list[tuple[str, str]]:
    """The connections that were told, with the name in the payload."""
    found = Invocation.objects.order_by("connection_id")
    return [(invocation.connection_id, invocation.payload["name"]) for invocation in found]


# -- what is only in memory -----------------------------------------------------------------------


def test_what_was_not_saved_is_not_told(deal: Deal) -> None:
    deal.title, deal.views = "never saved", F("views") + 1
    deal.delete()
    assert told() == [("acme", "Sales contract")]
    assert deal.title == "never saved"


def test_a_customer_that_was_not_saved_is_not_told(deal: Deal, second: Customer) -> None:
    from tests.products.crm import DealSync

    watching = {"watch": ["title", "customer"]}
    with rebound(type("Watching", (DealSync,), watching)):
        deal = Deal.objects.get(pk=deal.pk)
        deal.customer = second
        deal.delete()
    assert told() == [("acme", "Sales contract")]


def test_after_a_rollback_it_is_read_what_the_row_has(deal: Deal) -> None:
    with transaction.atomic():
        deal.title = "taken back"
        deal.save()
        transaction.set_rollback(True)
    deal.delete()
    assert told() == [("acme", "Sales contract")]


def test_a_row_in_memory_alone_is_told_as_it_is(deal: Deal) -> None:
    Deal(pk=deal.pk, customer=deal.customer, title="By its key").delete()
    assert told() == [("acme", "By its key")]


def test_looking_for_it_costs_no_query(deal: Deal, django_assert_num_queries) -> None:
    row, other = DealFactory.create_batch(2, customer=deal.customer)
    Deal.objects.get(pk=deal.pk).delete()  # what is remembered of definitions is read
    Invocation.objects.all().delete()
    with CaptureQueriesContext(database) as unchanged:
        row.delete()
    other.title = "never saved"
    with django_assert_num_queries(len(unchanged)):
        other.delete()


# -- who has a record of it -----------------------------------------------------------------------


def test_whoever_has_a_record_of_the_row_is_told(deal: Deal, second: Customer) -> None:
    xkit_crm.link(deal, "acme", "Opportunity:00001")
    stale = Deal.objects.get(pk=deal.pk)
    stale.customer  # noqa: B018 - loaded already
    Deal.objects.filter(pk=deal.pk).update(customer=second)
    xkit_crm.link(deal, "second", "Opportunity:00002")
    stale.delete()
    assert told() == [("acme", "Sales contract"), ("second", "Sales contract")]


def test_also_in_a_block(deal: Deal, second: Customer) -> None:
    xkit_crm.link(deal, "second", "Opportunity:00002")
    with xkit_crm.bulk():
        deal.delete()
    assert [name for name, _ in told()] == ["acme", "second"]


def test_but_not_whom_the_deletion_comes_from(deal: Deal, second: Customer) -> None:
    xkit_crm.link(deal, "second", "Opportunity:00002")
    with xkit_crm.bulk(), xkit_crm.applying("second"):
        deal.delete()
    assert [name for name, _ in told()] == ["acme"]


def test_nor_who_has_a_record_of_another_row(deal: Deal, second: Customer) -> None:
    other = DealFactory.create(customer=deal.customer)
    Invocation.objects.all().delete()
    xkit_crm.link(other, "second", "Opportunity:00002")
    ticket = Ticket.objects.create(pk=deal.pk, code="1", title="Not a deal")
    xkit_crm.link(ticket, "second", "Opportunity:00003")
    deal.delete()
    assert [name for name, _ in told()] == ["acme"]


def test_one_query_looks_for_them_however_many_rows_are_deleted(deals: list[Deal]) -> None:
    with CaptureQueriesContext(database) as asked:
        Deal.synced.all().delete()
    assert len([one for one in asked if "xkit_crm_recordlink" in one["sql"]]) == 1
