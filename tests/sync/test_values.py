"""Values of every kind: changed in place, and compared as a column has them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.products.fields import Vector
from tests.products.models import Offer
from tests.sync.offers import bind_offers
from tests.sync.test_capture import fired
from xkit_crm.models import Invocation
from xkit_crm.sync.values import kept, same


@pytest.fixture
def told(offer: Offer) -> Offer:
    """All its columns are watched, and its labels told."""
    bind_offers(payload={"name": "title", "tags": "labels"}, get_views=lambda self, offer: 1)
    return Offer.synced.get(pk=offer.pk)


@pytest.mark.django_db
def test_a_list_of_any_field_that_is_changed_in_place_is_a_change(told: Offer) -> None:
    assert told.labels is not None
    told.labels.append("b")
    told.save()
    told.save()
    assert [payload["tags"] for _, payload in fired()] == [["a", "b"]]


@pytest.mark.django_db
def test_true_is_not_one_within_json(told: Offer) -> None:
    for value in (1, True, [0], [False], {"vip": 1}, {"vip": True}):
        told.details = {"vip": value}
        told.save()
    assert Invocation.objects.count() == 6
    told.details["vip"]["vip"] = True
    told.save()
    assert Invocation.objects.count() == 6


@pytest.mark.django_db
def test_nor_for_bulk_operations(told: Offer) -> None:
    for value in (0, False, False):
        Offer.synced.update(details={"vip": value})
    assert Invocation.objects.count() == 2


@pytest.mark.django_db
def test_values_that_are_compared_one_by_one_break_no_save(told: Offer) -> None:
    told.place = Vector([1.0, 2.0])
    told.save()
    told = Offer.synced.get()
    told.save()
    assert Invocation.objects.count() == 1
    told.place = Vector([1.0, 3.0])
    told.save()
    Offer.synced.update(place=Vector([1.0, 3.0]))
    Offer.synced.update(place=Vector([2.0, 3.0]))
    assert Invocation.objects.count() == 3


@pytest.mark.parametrize(
    "value",
    ["text", 1, 1.5, True, None, Decimal(1), dt.date(2026, 1, 1), UUID(int=1), b"bytes"],
)
def test_what_nobody_can_change_is_kept_as_it_is(value: Any) -> None:
    assert kept(value) is value


def test_what_can_not_be_copied_is_kept_as_it_is() -> None:
    generator = (one for one in ())
    assert kept(generator) is generator


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, {"a": None}], [1, {"a": None}]),
        ((1, 2), [1, 2]),
        (1, 1.0),
        (Vector([1, 2]), Vector([1, 2])),
    ],
)
def test_the_same(one: Any, other: Any) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        ([False], [0]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"b": 1}),
        ([1], [1, 2]),
        ("a", ["a"]),
        (Vector([1, 2]), Vector([1, 3])),
        (Vector([1, 2]), Vector([1, 2, 3])),
        (None, Vector([1])),
    ],
)
def test_not_the_same(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert not same(other, one)
