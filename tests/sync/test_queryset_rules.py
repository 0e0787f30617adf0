"""Bulk operations keep the rules that saves keep, whichever of them it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection as database
from django.db import transaction

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import Customer, Deal, Elsewhere, Ticket
from tests.sync.test_capture import fired, rebound
from tests.sync.test_querysets import made, names, queries, ticket
from tests.threads import elsewhere
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Connection, Invocation
from xkit_crm.sync import querysets

pytestmark = pytest.mark.django_db


# -- the same rules -------------------------------------------------------------------------------


Operation = Callable[[Sequence[Deal]], object]


def _update(deals: Sequence[Deal]) -> object:
    return Deal.synced.update(title="x" * 90)


def _bulk_update(deals: Sequence[Deal]) -> object:
    for deal in deals:
        deal.title = "x" * 90
    return Deal.synced.bulk_update(deals, ["title"])


def _bulk_create(deals: Sequence[Deal]) -> object:
    return Deal.synced.bulk_create(made(deals[0].customer, *["x" * 90] * 3))


def _delete(deals: Sequence[Deal]) -> object:
    Deal.objects.update(title="x" * 90)
    return Deal.synced.all().delete()


each_operation = pytest.mark.parametrize(
    "operation", [_update, _bulk_update, _bulk_create, _delete], ids=lambda o: o.__name__
)


@each_operation
def test_muted_operations_fire_nothing(deals: list[Deal], operation: Operation) -> None:
    with xkit_crm.muted():
        operation(deals)
    assert fired() == []


@each_operation
def test_an_invalid_payload_stops_all_of_it(deals: list[Deal], operation: Operation) -> None:
    before = list(Deal.objects.order_by("pk").values())
    with pytest.raises(PayloadInvalid), transaction.atomic():
        operation(deals)
    assert fired() == []
    assert list(Deal.objects.order_by("pk").values()) == before


@each_operation
def test_invalid_payloads_may_be_recorded_instead(
    deals: list[Deal], operation: Operation, settings
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    operation(deals)
    found = Invocation.objects.all()
    assert [i.status for i in found] == ["failed"] * 3
    assert {i.error.errors[0].path for i in found} == {"payload.name"}


@each_operation
def test_rows_without_connection_fire_nothing(deals: list[Deal], operation: Operation) -> None:
    Customer.objects.update(connection_id="")
    operation(list(Deal.objects.all()))
    assert fired() == []


def test_a_valid_row_is_carried_out_beside_one_that_is_recorded_as_invalid(
    deals: list[Deal], settings
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    deals[0].title, deals[1].title = "y" * 90, "good"
    Deal.synced.bulk_update(deals, ["title"])
    assert set(Invocation.objects.values_list("status", "payload__name")) == {
        ("failed", "y" * 90),
        ("pending", "good"),
    }


def test_each_row_goes_to_all_its_connections(connection: Connection) -> None:
    ConnectionFactory.create(id="second")
    Ticket.objects.bulk_create(
        [
            Ticket(code="1", title="a", connection_ids=["acme", "second"]),
            Ticket(code="2", title="b", connection_ids=["second", "not-connected"]),
            Ticket(code="3", title="c", connection_ids=[]),
        ]
    )
    Ticket.objects.update(title="z")
    assert [(i.connection_id, i.payload["name"]) for i in Invocation.objects.order_by("id")] == [
        ("acme", "a"),
        ("second", "a"),
        ("second", "b"),
        ("acme", "z"),
        ("second", "z"),
        ("second", "z"),
    ]


def test_more_rows_than_one_chunk_holds_are_all_told(connection: Connection) -> None:
    Ticket.objects.bulk_create([ticket(str(n), "a") for n in range(1203)])
    Ticket.objects.update(title="b")
    Ticket.objects.filter(code="7").delete()
    assert Invocation.objects.filter(event__slug="deal_created").count() == 1203
    updated = Invocation.objects.filter(event__slug="deal_updated").order_by("id")
    assert [int(i.object_pk) for i in updated] == sorted(int(i.object_pk) for i in updated)
    assert len(updated) == 1203


def test_a_computed_key_and_the_connections_cost_no_query_for_each_row(
    connection: Connection,
) -> None:
    from tests.products.crm import DealSync

    class Computed(DealSync):
        payload = {"amount": "amount"}

        def get_name(self, deal: Deal) -> str:
            return deal.customer.name

    with xkit_crm.muted():
        for _ in range(10):
            DealFactory.create(customer=CustomerFactory.create(connection_id="acme"))
    with rebound(Computed):
        statements = queries(lambda: Deal.synced.update(amount=1))
    assert len(fired()) == 10
    assert (
        len([sql for sql in statements if "products_customer" in sql]) == 2
    )  # the first, the rest


def test_a_bound_model_whose_manager_captures_nothing_is_told_by_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told() -> list[str]:
        found = run_checks(tags=["xkit_crm"])
        return [m.msg for m in found if m.id == "xkit_crm.W018" and "products." in m.msg]

    assert told() == []
    monkeypatch.setitem(Deal._meta.__dict__, "default_manager", Deal.objects)
    assert ["products.Deal" in message for message in told()] == [True]


def test_a_queryset_of_the_product_s_own_is_a_manager_too() -> None:
    class Own(xkit_crm.SyncedQuerySet):
        def big(self) -> Any:
            return self.filter(amount__gt=1000)

    manager = Own.as_manager()
    manager.model = Deal
    assert isinstance(manager.get_queryset().big(), Own)
    assert not hasattr(manager, "delete")


# -- transactions ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@each_operation
def test_in_autocommit_rows_and_events_stand_or_fall_together(
    deals: list[Deal], operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import outbox

    def broken(*args: object, **kwargs: object) -> None:
        raise ConnectionError("the database went away")

    before = list(Deal.objects.order_by("pk").values())
    # A name that the schema takes, so that it comes as far as the outbox.
    monkeypatch.setattr(Deal._meta.get_field("title"), "max_length", 200)
    monkeypatch.setattr(outbox, "put_many", broken)
    monkeypatch.setattr("xkit_crm.sync.payloads.build", lambda *_: ({"name": "x"}, []))
    with pytest.raises(ConnectionError):
        operation(deals)
    with_titles = [{**row, "title": None} for row in Deal.objects.order_by("pk").values()]
    assert with_titles == [{**row, "title": None} for row in before]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_events_with_the_rows_and_saves_fire_again(deals: list[Deal]) -> None:
    with transaction.atomic():
        deals[0].title = "renamed"
        Deal.synced.bulk_update(deals, ["title"])
        (new,) = Deal.synced.bulk_create(made(deals[0].customer, "new"))
        transaction.set_rollback(True)
    assert fired() == []
    deals[0].save()
    new.save()
    assert sorted(names()) == ["new", "renamed"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_in_another_database_are_told_of_once_they_are_committed(
    connection: Connection,
) -> None:
    with transaction.atomic(using="other"):
        Elsewhere.objects.bulk_create(
            [Elsewhere(title=title, connection_id="acme") for title in "ab"]
        )
        assert fired() == []
    assert [p for _, p in fired()] == [{"name": "a"}, {"name": "b"}]


def once_locked(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Have another connection do something once rows are locked, without capturing it."""
    original = xkit_crm.SyncedQuerySet._locked

    def work() -> None:
        with xkit_crm.muted():
            meanwhile()

    def then_another_comes(self: Any, *args: Any) -> Any:
        found = original(self, *args)
        elsewhere(work)
        return found

    monkeypatch.setattr(xkit_crm.SyncedQuerySet, "_locked", then_another_comes)


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite lets nobody write meanwhile")
@pytest.mark.django_db(transaction=True)
def test_a_row_that_comes_to_match_meanwhile_is_not_updated_unseen(
    deals: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = deals[0].customer
    once_locked(monkeypatch, lambda: DealFactory.create(customer=customer, title="late"))
    assert Deal.synced.update(title="new") == 3
    assert len(fired()) == 3
    assert Deal.objects.filter(title="late").count() == 1


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite lets nobody write meanwhile")
@pytest.mark.django_db(transaction=True)
def test_nor_is_one_that_bulk_update_was_given(
    deals: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Deal.objects.filter(pk=deals[1].pk)
    once_locked(monkeypatch, lambda: second.update(title="2"))
    for deal in deals:
        deal.title += "!"
    assert Deal.synced.exclude(title="two").bulk_update(deals, ["title"]) == 2
    assert names() == ["one!", "three!"]
    assert second.get().title == "2"


def test_a_row_that_bulk_update_did_not_reach_fires_when_it_is_saved(deals: list[Deal]) -> None:
    for deal in deals:
        deal.title += "!"
    Deal.synced.exclude(title="two").bulk_update(deals, ["title"])
    for deal in deals:
        deal.save()
    assert names() == ["one!", "three!", "two!"]


def test_nor_is_it_taken_for_written_where_nobody_looked(deals: list[Deal]) -> None:
    deals[1].title = "2"
    with xkit_crm.muted():
        Deal.synced.exclude(title="two").bulk_update(deals, ["title"])
    deals[1].save()
    assert names() == ["2"]


def test_bulk_update_knows_rows_by_keys_of_any_spelling(deals: list[Deal]) -> None:
    given = Deal(pk=str(deals[0].pk), title="by text")
    assert Deal.synced.bulk_update([given], ["title"]) == 1
    assert names() == ["by text"]


def test_rows_that_take_several_updates_are_all_those_that_matched_before_the_first(
    deals: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querysets, "_UPDATED_AT_ONCE", 2)
    siblings = Deal.synced.filter(customer__deals__title="one").distinct()
    assert siblings.update(title="new") == 3
    assert names() == ["new"] * 3
