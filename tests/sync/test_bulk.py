"""`xkit_crm.bulk()` gathers what is saved and deleted, and it stands or falls with the rows."""

from __future__ import annotations

import contextlib
import contextvars
import threading

import pytest
from django.db import connections, transaction

import xkit_crm
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import Customer, Deal, Elsewhere, Ticket
from tests.sync.test_capture import events, fired
from tests.sync.test_querysets import names, queries
from xkit_crm.delivery import outbox
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Connection, Invocation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The lanes that the delivery backend is told of, one list each time."""
    calls: list[list[str]] = []
    monkeypatch.setattr("xkit_crm.delivery.backends.backend", lambda: calls.append)
    return calls


def rename(deal: Deal, *titles: str) -> None:
    for title in titles:
        deal.title = title
        deal.save()


def test_many_saves_are_written_with_one_insert(customer: Customer) -> None:
    def work() -> None:
        with xkit_crm.bulk():
            DealFactory.create_batch(30, customer=customer)

    inserts = [sql for sql in queries(work) if "INSERT INTO" in sql and "invocation" in sql]
    assert events() == ["deal_created"] * 30
    assert len(inserts) == 1


def test_several_changes_of_a_row_are_one_event_with_the_last_payload(deal: Deal) -> None:
    with xkit_crm.bulk():
        rename(deal, "one", "two", "three")
        assert fired() == []
    assert names() == ["three"]


def test_so_are_changes_in_transactions_of_their_own(deal: Deal) -> None:
    with xkit_crm.bulk():
        for title in ("one", "two", "three"):
            Deal.objects.update_or_create(pk=deal.pk, defaults={"title": title})
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            rename(deal, "never")
            _ = 1 / 0
    assert names() == ["three"]


def test_a_row_s_events_keep_their_order(customer: Customer) -> None:
    with xkit_crm.bulk():
        deal = DealFactory.create(customer=customer, title="new")
        rename(deal, "one", "two")
        deal.delete()
    assert [(slug, payload["name"]) for slug, payload in fired()] == [
        ("deal_created", "new"),
        ("deal_updated", "two"),
        ("deal_deleted", "two"),
    ]
    assert len(set(Invocation.objects.values_list("record_key", flat=True))) == 1


def test_a_change_for_another_connection_replaces_nothing(
    deal: Deal, customer: Customer, connection: Connection
) -> None:
    ConnectionFactory.create(id="second")
    with xkit_crm.bulk():
        rename(deal, "for the first")
        deal.customer.connection_id = "second"
        rename(deal, "for the second")
    made = Invocation.objects.order_by("id")
    assert [i.connection_id for i in made] == ["acme", "second"]


def test_bulk_operations_and_queryset_deletes_join_in(deal: Deal) -> None:
    with xkit_crm.bulk():
        Deal.synced.update(title="one")
        Deal.synced.bulk_create([Deal(customer=deal.customer, title="two")])
        Deal.synced.filter(title="two").delete()
        assert fired() == []
    assert events() == ["deal_updated", "deal_created", "deal_deleted"]


def test_a_long_block_writes_as_it_goes(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.sync.gathering.CHUNK", 10)
    with xkit_crm.bulk():
        for number in range(25):
            DealFactory.create(customer=customer, title=str(number))
        assert len(fired()) == 20
    assert names() == [str(number) for number in range(25)]


def test_so_does_one_of_many_transactions(deal: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xkit_crm.sync.gathering.CHUNK", 10)
    rows = DealFactory.create_batch(25, customer=deal.customer)
    Invocation.objects.all().delete()
    with xkit_crm.bulk():
        for number, row in enumerate(rows):
            Deal.objects.update_or_create(pk=row.pk, defaults={"title": str(number)})
        assert len(fired()) == 20
    assert names() == [str(number) for number in range(25)]


def test_the_backend_is_told_once(deal: Deal, told: list[list[str]]) -> None:
    with xkit_crm.bulk():
        rename(deal, "one")
        DealFactory.create_batch(3, customer=deal.customer)
        assert told == []
    assert told == [["acme"]]


def test_a_transaction_of_many_saves_tells_the_backend_once(
    deal: Deal, told: list[list[str]]
) -> None:
    with transaction.atomic():
        rename(deal, "one", "two", "three")
    assert told == [["acme"]]
    rename(deal, "four")
    assert told == [["acme"]] * 2


def test_a_save_at_the_commit_takes_nothing_from_what_is_committed(
    deal: Deal, told: list[list[str]]
) -> None:
    ConnectionFactory.create(id="second")

    def save_another() -> None:
        Ticket.objects.create(code="1", title="x", connection_ids=["second"])

    with transaction.atomic():
        transaction.on_commit(save_another)
        rename(deal, "one")
    assert sorted(told) == [["acme"], ["second"]]


def test_lanes_of_a_rolled_back_transaction_are_not_told(deal: Deal, told: list[list[str]]) -> None:
    with transaction.atomic():
        rename(deal, "one")
        transaction.set_rollback(True)
    assert told == []
    with transaction.atomic():
        rename(deal, "two")
        with contextlib.suppress(RuntimeError), transaction.atomic():
            rename(deal, "three")
            raise RuntimeError
    assert told == [["acme"]]


def test_an_exception_leaves_no_trace(deal: Deal) -> None:
    with pytest.raises(RuntimeError), xkit_crm.bulk():
        rename(deal, "one")
        raise RuntimeError
    assert Deal.objects.get().title == "Sales contract"
    assert fired() == []
    deal.save()
    assert names() == ["one"]


def test_a_rolled_back_savepoint_takes_only_its_own(deal: Deal) -> None:
    with xkit_crm.bulk():
        rename(deal, "kept")
        with pytest.raises(RuntimeError), transaction.atomic():
            rename(deal, "dropped")
            raise RuntimeError
    assert names() == ["kept"]


def test_what_was_gathered_outside_a_savepoint_is_not_taken_back_with_it(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.sync.gathering.CHUNK", 3)
    with xkit_crm.bulk():
        rename(deal, "kept")
        with transaction.atomic():
            sibling = DealFactory.create(customer=deal.customer, title="sibling")
        with pytest.raises(RuntimeError), transaction.atomic():
            DealFactory.create_batch(5, customer=deal.customer, title="dropped")
            raise RuntimeError
        rename(sibling, "renamed")
    assert names() == ["kept", "sibling", "renamed"]


def test_nor_with_the_one_around_that_in_which_it_was_written(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.sync.gathering.CHUNK", 3)
    with xkit_crm.bulk():
        rename(deal, "kept")
        with pytest.raises(RuntimeError), transaction.atomic():
            DealFactory.create(customer=deal.customer, title="dropped")
            for title in ("written", "too"):
                with transaction.atomic():
                    DealFactory.create(customer=deal.customer, title=title)
            assert names() == ["kept", "dropped", "written"]
            raise RuntimeError
        assert names() == []
        with transaction.atomic():
            rename(deal, "changed")
    assert names() == ["changed"]


def test_a_row_s_events_keep_their_order_whatever_is_rolled_back(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.sync.gathering.CHUNK", 2)
    with xkit_crm.bulk():
        deal = DealFactory.create(customer=customer, title="new")
        with pytest.raises(RuntimeError), transaction.atomic():
            rename(deal, "dropped")
            deal.delete()
            raise RuntimeError
        Deal.objects.get().delete()
    assert events() == ["deal_created", "deal_deleted"]


def test_a_block_within_a_block_is_part_of_it(deal: Deal) -> None:
    with xkit_crm.bulk():
        with xkit_crm.bulk():
            rename(deal, "one")
        assert fired() == []
        with pytest.raises(RuntimeError), xkit_crm.bulk():
            DealFactory.create(customer=deal.customer)
            raise RuntimeError
    assert names() == ["one"]


def test_within_a_transaction_it_is_written_at_the_end_of_the_block(deal: Deal) -> None:
    with transaction.atomic():
        with xkit_crm.bulk():
            rename(deal, "one")
        assert names() == ["one"]
        transaction.set_rollback(True)
    assert fired() == []


def test_an_error_that_was_swallowed_rolls_the_block_back(deal: Deal) -> None:
    with xkit_crm.bulk():
        rename(deal, "good")
        with contextlib.suppress(PayloadInvalid):
            rename(deal, "x" * 90)
    assert Deal.objects.get().title == "Sales contract"
    assert fired() == []


def test_what_can_not_be_written_takes_the_rows_with_it(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("the database went away")

    monkeypatch.setattr(outbox, "put_many", broken)
    with pytest.raises(ConnectionError), xkit_crm.bulk():
        DealFactory.create_batch(2, customer=deal.customer)
    assert Deal.objects.count() == 1


def test_muted_saves_in_the_block_fire_nothing(deal: Deal) -> None:
    with xkit_crm.bulk():
        with xkit_crm.muted():
            rename(deal, "quietly")
        deal.save()
    assert fired() == []


def test_it_decorates_a_function(deal: Deal) -> None:
    @xkit_crm.bulk()
    def work() -> None:
        rename(deal, "one", "two")

    work()
    work()
    assert names() == ["two", "two"]


def test_a_thread_that_takes_the_context_along_is_not_gathered(customer: Customer) -> None:
    """It has a transaction of its own, which may be committed when the block's is rolled back."""

    seen: list[object] = []

    def look() -> None:
        from xkit_crm.sync import gathering

        seen.append(gathering._gather_of("default"))
        connections.close_all()

    with xkit_crm.bulk():
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=[look])
        thread.start()
        thread.join()
    assert seen == [None]
    DealFactory.create(customer=customer, title="before")
    context.run(DealFactory.create, customer=customer, title="after the block")
    assert names() == ["before", "after the block"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_of_another_database_are_told_of_when_they_are_committed(
    connection: Connection,
) -> None:
    with xkit_crm.bulk():
        Elsewhere.objects.create(title="Far", connection_id="acme")
        assert len(Elsewhere.objects.all()) == 1
    assert [payload for _, payload in fired()] == [{"name": "Far"}]


def test_a_row_loaded_in_a_transaction_that_is_rolled_back_fires_when_it_is_saved(
    deal: Deal,
) -> None:
    with transaction.atomic():
        rename(deal, "one")
        loaded = Deal.objects.get()
        Deal.synced.update(title="two")
        again, refreshed = Deal.objects.get(), Deal.objects.get()
        Deal.synced.update(title="three")
        refreshed.refresh_from_db()
        transaction.set_rollback(True)
    assert fired() == []
    for row in (loaded, again, refreshed):
        row.save()
    assert names() == ["one", "two", "three"]


def test_a_row_loaded_in_a_transaction_that_is_committed_is_known(deal: Deal) -> None:
    with transaction.atomic():
        rename(deal, "one")
        loaded = Deal.objects.get()
    loaded.save()
    assert names() == ["one"]
