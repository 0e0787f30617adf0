"""A deletion is told as the database had the row."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import Customer, Deal
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
