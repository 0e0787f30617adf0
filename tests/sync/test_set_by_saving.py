"""Columns that a field sets itself as the row is saved: what they hold is known only afterwards."""

from __future__ import annotations

import pytest
from django.db import connection as database

import xkit_crm
from tests.products.models import Offer
from tests.sync.offers import bind_offers
from tests.sync.test_capture import events, fired
from xkit_crm.sync import bindings

pytestmark = pytest.mark.django_db


@pytest.fixture
def by_slug(offer: Offer) -> Offer:
    """Only the slug is told, which follows the title."""
    bind_offers(payload={"name": "slug"})
    return Offer.synced.get(pk=offer.pk)


def names() -> list[str]:
    return [payload["name"] for _, payload in fired()]


def test_what_the_field_sets_is_a_change(by_slug: Offer) -> None:
    by_slug.title = "Renamed by us"
    by_slug.save()
    assert names() == ["renamed-by-us"]


def test_saving_what_gives_the_same_fires_nothing(by_slug: Offer) -> None:
    by_slug.title, by_slug.note = "ours!", "noted"
    by_slug.save()
    by_slug.save()
    assert fired() == []


def test_update_fields_fires_only_for_what_it_writes(by_slug: Offer) -> None:
    by_slug.title = "Renamed"
    by_slug.save(update_fields=["title"])
    assert fired() == []
    by_slug.save(update_fields=["slug"])
    assert names() == ["renamed"]


def test_what_was_set_in_a_muted_save_is_known(by_slug: Offer) -> None:
    with xkit_crm.muted():
        by_slug.title = "Renamed"
        by_slug.save()
    by_slug.save()
    assert fired() == []


def test_a_row_begins_to_meet_a_condition_on_it(offer: Offer) -> None:
    bind_offers(condition=[{"path": "slug", "operator": "is", "value": "sent"}])
    for title in ("Sent", "Sent!", "Lost", "Sent"):
        offer.title = title
        offer.save()
    assert events() == ["deal_created", "deal_updated", "deal_created"]


def test_a_row_that_is_gone_is_created_again(by_slug: Offer) -> None:
    Offer.objects.filter(pk=by_slug.pk).delete()
    events_before = len(events())
    by_slug.save()
    assert events()[events_before:] == ["deal_created"]


@pytest.mark.django_db(transaction=True)
def test_only_where_such_a_column_is_watched_a_save_opens_a_transaction(by_slug: Offer) -> None:
    def in_transaction() -> bool:
        seen: list[bool] = []
        with database.execute_wrapper(
            lambda execute, *call: (seen.append(database.in_atomic_block), execute(*call))[1]
        ):
            by_slug.save()
        return any(seen)

    assert in_transaction()
    bind_offers(payload={"name": "title"})
    by_slug = Offer.synced.get(pk=by_slug.pk)
    assert not in_transaction()


def test_a_field_that_stamps_each_save_fires_nothing_by_itself(offer: Offer) -> None:
    bind_offers(payload={"name": "title", "updated_at": "touched_at"})
    (binding,) = bindings.bindings_for(Offer)
    assert binding.watched == ("title",)
    offer = Offer.synced.get(pk=offer.pk)
    offer.note = "noted"
    offer.save()
    assert fired() == []
    offer.title = "Renamed"
    offer.save()
    ((_, payload),) = fired()
    assert payload["updated_at"].endswith("Z")
