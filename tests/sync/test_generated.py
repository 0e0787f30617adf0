"""Generated columns: the database computes them of others, and what is told is what it has."""

from __future__ import annotations

from decimal import Decimal

import pytest

import xkit_crm
from tests.products.models import Offer
from tests.sync.offers import bind_offers
from tests.sync.test_capture import AN_EVENT, events, fired
from xkit_crm.sync import bindings

pytestmark = pytest.mark.django_db


@pytest.fixture
def large_offers(offer: Offer) -> None:
    """Only offers of ten and more are synced."""
    bind_offers(condition=[{"path": "total", "operator": "at_least", "value": 10}])


def amounts() -> list[float]:
    return [payload["amount"] for _, payload in fired()]


def test_a_generated_column_is_watched_with_what_it_is_computed_of(offer: Offer) -> None:
    (binding,) = bindings.bindings_for(Offer)
    assert binding.watched == ("price", "quantity", "title", "total")


def test_a_change_of_what_it_is_computed_of_tells_the_new_value(offer: Offer) -> None:
    offer.price = Decimal(5)
    offer.save()
    offer.quantity = 4
    offer.save(update_fields=["quantity"])
    assert amounts() == [15, 20]
    assert offer.total == 20
    offer.save()
    assert amounts() == [15, 20]


def test_reading_it_back_costs_one_query_where_it_may_have_changed(
    offer: Offer, django_assert_num_queries
) -> None:
    offer.title = "warm"
    offer.save()
    offer.title = "changed"
    with django_assert_num_queries(1 + AN_EVENT):
        offer.save()
    offer.price = Decimal(5)
    with django_assert_num_queries(2 + AN_EVENT):
        offer.save()
    offer.note = "not in any payload"
    with django_assert_num_queries(1):
        offer.save()


def test_what_was_saved_muted_is_read_when_it_is_asked_for(offer: Offer) -> None:
    with xkit_crm.muted():
        offer.price = Decimal(5)
        offer.save()
    offer.title = "Renamed"
    offer.save()
    assert amounts() == [15]


def test_bulk_operations_tell_the_new_value(offer: Offer) -> None:
    Offer.synced.update(price=5)
    offer.refresh_from_db()
    offer.price = Decimal(6)
    Offer.synced.bulk_update([offer], ["price"])
    offer.title = "Renamed"
    offer.save()
    assert amounts() == [15, 18, 18]


def test_a_row_begins_to_meet_a_condition_on_it(offer: Offer, large_offers: None) -> None:
    offer.price = Decimal(5)
    offer.save()
    offer.price = Decimal(6)
    offer.save()
    offer.price = Decimal(1)
    offer.save()
    offer.price = Decimal(4)
    offer.save(update_fields=["price"])
    assert events() == ["deal_created", "deal_updated", "deal_created"]


def test_with_bulk_operations_too(offer: Offer, large_offers: None) -> None:
    for price in (5, 6, 1, 4):
        Offer.synced.update(price=price)
    for price in (1, 5, 6):
        offer.price = Decimal(price)
        Offer.synced.bulk_update([offer], ["price"])
    assert events() == [
        "deal_created",
        "deal_updated",
        "deal_created",
        "deal_created",
        "deal_updated",
    ]


def test_a_condition_after_a_muted_save_compares_with_what_the_database_has(
    offer: Offer, large_offers: None
) -> None:
    with xkit_crm.muted():
        offer.price = Decimal(5)
        offer.save()
    offer.price = Decimal(6)
    offer.save()
    assert events() == ["deal_updated"]
