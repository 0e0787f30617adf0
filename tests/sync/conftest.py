"""Rows that several stories begin with."""

from __future__ import annotations

import pytest

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal


@pytest.fixture
def deals(customer: Customer) -> list[Deal]:
    """Three rows that the database has, and nobody was told of."""
    with xkit_crm.muted():
        for title in ("one", "two", "three"):
            DealFactory.create(customer=customer, title=title)
    return list(Deal.objects.order_by("pk"))
