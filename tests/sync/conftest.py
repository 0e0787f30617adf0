"""Rows that several stories begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Offer
from tests.sync.offers import bind_offers
from xkit_crm.models import Connection


@pytest.fixture
def deals(customer: Customer) -> list[Deal]:
    """Three rows that the database has, and nobody was told of."""
    with xkit_crm.muted():
        for title in ("one", "two", "three"):
            DealFactory.create(customer=customer, title=title)
    return list(Deal.objects.order_by("pk"))


@pytest.fixture
def offer(connection: Connection) -> Iterator[Offer]:
    """A row whose total is 6, bound, and that nobody was told of."""
    bind_offers()
    with xkit_crm.muted():
        made = Offer.synced.create(
            title="Ours", price=2, quantity=3, labels=["a"], connection_id=connection.pk
        )
    yield Offer.synced.get(pk=made.pk)
    xkit_crm.unregister(Offer)
