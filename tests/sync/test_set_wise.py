"""Whatever is done to rows, set-wise capture tells the CRM the same as one save after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal
from tests.sync.test_capture import rebound
from xkit_crm.models import Connection, Invocation

pytestmark = pytest.mark.django_db

titles = st.sampled_from(["a", "b", "c"])
values = st.one_of(
    st.fixed_dictionaries({"title": titles}),
    st.fixed_dictionaries({"views": st.integers(0, 2), "note": titles}),
    st.fixed_dictionaries({"note": titles}),
    st.fixed_dictionaries({"tags": st.lists(titles, max_size=1), "title": titles}),
)
some = st.sets(st.integers(0, 5), max_size=4)
kept = st.sampled_from(["kept", "kept", "rolled back", "block"])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("create"), kept, st.lists(titles, max_size=3), st.none()),
        st.tuples(st.just("update"), kept, some, values),
        st.tuples(st.just("bulk_update"), kept, some, values),
        st.tuples(st.just("delete"), kept, some, st.none()),
    ),
    max_size=8,
)


class World(ABC):
    """One customer's deals, by the number in which they were made."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.pks: list[int] = []

    def run(self, operations: Sequence[tuple[str, str, Any, Any]]) -> None:
        for name, fate, what, columns in operations:
            block = {"block": xkit_crm.bulk, "rolled back": transaction.atomic}
            before = list(self.pks)
            with block.get(fate, nullcontext)():
                if name == "create":
                    self.create(what)
                else:
                    self.change(name, [pk for n, pk in enumerate(self.pks) if n in what], columns)
                if fate == "rolled back":
                    transaction.set_rollback(True)
                    self.pks = before

    @abstractmethod
    def create(self, titles: Sequence[str]) -> None:
        """Make deals of these titles."""

    @abstractmethod
    def change(self, name: str, pks: Sequence[int], columns: Any) -> None:
        """Do what the name says to these deals."""

    def told(self) -> list[tuple[str, Any] | None]:
        """What its CRM has of each deal after all events: the last one's type and payload."""
        records: dict[str, tuple[str, Any] | None] = {str(pk): None for pk in self.pks}
        made = Invocation.objects.filter(connection_id=self.customer.connection_id)
        for invocation in made.select_related("event").order_by("id"):
            known = records[str(invocation.object_pk)]
            payload = {**(known[1] if known else {}), **invocation.payload}
            payload.pop("updated_at", None)  # `update()` doesn't set it
            records[str(invocation.object_pk)] = (str(invocation.event.type), payload)
        return list(records.values())


class OneByOne(World):
    def create(self, titles: Sequence[str]) -> None:
        for title in titles:
            self.pks.append(Deal.objects.create(customer=self.customer, title=title).pk)

    def change(self, name: str, pks: Sequence[int], columns: Any) -> None:
        for deal in Deal.objects.filter(pk__in=pks):
            if name == "delete":
                deal.delete()
                continue
            for column, value in columns.items():
                setattr(deal, column, value)
            deal.save()


class SetWise(World):
    def create(self, titles: Sequence[str]) -> None:
        rows = [Deal(customer=self.customer, title=title) for title in titles]
        self.pks += [row.pk for row in Deal.synced.bulk_create(rows)]

    def change(self, name: str, pks: Sequence[int], columns: Any) -> None:
        rows = Deal.synced.filter(pk__in=pks)
        if name == "bulk_update":
            deals = list(rows)
            for deal in deals:
                for column, value in columns.items():
                    setattr(deal, column, value)
            Deal.synced.bulk_update(deals, list(columns))
        else:
            change: Callable[..., object] = getattr(rows, name)
            change(**(columns or {}))


class Noted(DealSync):
    """Rows come under it, and leave it, as their note is changed."""

    condition = [{"path": "note", "operator": "one_of", "value": ["a", "b"]}]


@pytest.mark.parametrize("sync", [DealSync, Noted])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=operations)
def test_set_wise_capture_tells_what_single_saves_tell(
    connection: Connection,
    sync: type[xkit_crm.ModelSync],
    operations: list[tuple[str, str, Any, Any]],
) -> None:
    # Rolled back by hand, so that one example leaves nothing to the next.
    with rebound(sync), transaction.atomic():
        ConnectionFactory.create(id="second")
        one = OneByOne(CustomerFactory.create(connection_id="acme"))
        many = SetWise(CustomerFactory.create(connection_id="second"))
        one.run(operations)
        many.run(operations)
        assert many.told() == one.told()
        transaction.set_rollback(True)
