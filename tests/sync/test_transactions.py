"""Transactions, savepoints and rollbacks: what is captured stands or falls with the row."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_save

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from tests.sync.test_capture import events, fired
from xkit_crm.models import Invocation

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_rolled_back_transaction_leaves_no_invocation(deal: Deal) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        deal.title = "Renamed"
        deal.save()
        assert events() == ["deal_updated"]
        raise RuntimeError
    assert fired() == []


def test_in_autocommit_the_row_and_its_invocation_stand_or_fall_together(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import outbox

    def broken(*args: object, **kwargs: object) -> None:
        raise ConnectionError("the database went away")

    monkeypatch.setattr(outbox, "put_captured", broken)
    deal.title = "Renamed"
    with pytest.raises(ConnectionError):
        deal.save()
    assert Deal.objects.get().title == "Sales contract"


def test_a_rolled_back_savepoint_takes_only_its_own(deal: Deal) -> None:
    with transaction.atomic():
        deal.title = "kept"
        deal.save()
        with pytest.raises(RuntimeError), transaction.atomic():
            deal.title = "dropped"
            deal.save()
            raise RuntimeError
    assert [payload["name"] for _, payload in fired()] == ["kept"]


def test_saving_again_after_a_rollback_fires(deal: Deal) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        deal.title = "Renamed"
        deal.save()
        raise RuntimeError
    deal.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed"]


def test_after_a_rolled_back_savepoint_what_was_written_before_it_counts(deal: Deal) -> None:
    with transaction.atomic():
        deal.title = "One"
        deal.save()
        with pytest.raises(RuntimeError), transaction.atomic():
            deal.title = "Two"
            deal.save()
            raise RuntimeError
        deal.title = "One"
        deal.save()
        deal.title = "Sales contract"
        deal.save()
    names = [payload["name"] for _, payload in fired()]
    # Once more than it must, since a rollback leaves unknown what the database has.
    assert names == ["One", "One", "Sales contract"]


@pytest.mark.postgresql
def test_with_autocommit_off_a_rollback_leaves_nothing_unseen(deal: Deal) -> None:
    transaction.set_autocommit(False)
    try:
        deal.title = "Renamed"
        deal.save()
        transaction.rollback()
        deal.save()
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert Deal.objects.get().title == "Renamed"
    assert [payload["name"] for _, payload in fired()] == ["Renamed"]


def test_a_row_pickled_in_a_transaction_forgets_what_it_cannot_know(deal: Deal) -> None:
    with transaction.atomic():
        deal.title = "Renamed"
        deal.save()
        stored = pickle.dumps(deal)
    again = pickle.loads(stored)  # noqa: S301
    again.title = "Sales contract"
    again.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed", "Sales contract"]


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction that comes to nothing."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_what_the_database_computed_and_took_back_fires_when_it_is_saved(deal: Deal) -> None:
    with rolled_back():
        deal.views = F("views") + 1
        deal.save()
    deal.save()
    assert Deal.objects.get().views == 1
    assert [payload["views"] for _, payload in fired()] == [1]


def test_a_computed_value_whose_save_failed_fires_when_it_is_saved(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import outbox

    deal.views = F("views") + 1
    with monkeypatch.context() as broken:
        broken.setattr(outbox, "put_captured", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deal.save()
    deal.save()
    assert [payload["views"] for _, payload in fired()] == [1]


def test_a_muted_save_that_was_rolled_back_fires_when_it_is_saved(deal: Deal) -> None:
    with rolled_back(), xkit_crm.muted():
        deal.title = "Renamed"
        deal.save()
    deal.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed"]


def test_after_a_rollback_and_a_refresh_the_refreshed_row_counts(deal: Deal) -> None:
    with rolled_back():
        deal.title = "Renamed"
        deal.save()
    Deal.objects.update(title="Changed elsewhere")
    deal.refresh_from_db()
    deal.save()
    assert fired() == []
    deal.title = "Sales contract"
    deal.save()
    assert [payload["name"] for _, payload in fired()] == ["Sales contract"]


def test_a_commit_whose_hooks_fail_is_still_a_commit(deal: Deal) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(lambda: 1 / 0)
        deal.title = "Renamed"
        deal.save()
    deal.title = "Sales contract"
    deal.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed", "Sales contract"]


def test_after_a_rollback_a_partial_save_does_not_pass_for_a_whole_one(deal: Deal) -> None:
    with rolled_back():
        deal.title = "Renamed"
        deal.save()
    deal.note = "noted"
    deal.save(update_fields=["note"])
    deal.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed"]


def test_writing_over_another_row_by_its_key_fires(customer: Customer) -> None:
    with xkit_crm.muted():
        first, second = DealFactory.create_batch(2, customer=customer)
    first = Deal.objects.get(pk=first.pk)
    first.pk = second.pk
    first.save()
    (invocation,) = Invocation.objects.all()
    assert (invocation.event.slug, invocation.object_pk) == ("deal_updated", str(second.pk))


def test_a_row_made_by_the_text_of_its_key_is_the_row_that_is_loaded(customer: Customer) -> None:
    Deal.objects.create(pk="007", customer=customer, title="Bond")
    deal = Deal.objects.get(pk=7)
    deal.title = "James Bond"
    deal.save()
    assert set(Invocation.objects.values_list("object_pk", flat=True)) == {"7"}
    assert len(set(Invocation.objects.values_list("record_key", flat=True))) == 1


def test_saving_again_in_the_same_transaction_fires_once(deal: Deal) -> None:
    with transaction.atomic():
        deal.title = "Renamed"
        deal.save()
        deal.save()
    deal.save()
    assert len(fired()) == 1


def test_an_unchanged_save_opens_no_transaction(deal: Deal) -> None:
    seen = []
    with database.execute_wrapper(
        lambda execute, sql, params, many, context: (
            seen.append(database.in_atomic_block),
            execute(sql, params, many, context),
        )[1]
    ):
        deal.note = "changed"
        deal.save()
    assert seen == [False]


def test_receivers_of_the_product_run_after_the_capture(customer: Customer) -> None:
    def rename(sender: object, instance: Deal, created: bool, **_: object) -> None:
        if created:
            instance.title = "renamed by a receiver"
            instance.save()

    post_save.connect(rename, sender=Deal)
    try:
        DealFactory.create(customer=customer)
    finally:
        post_save.disconnect(rename, sender=Deal)
    assert events() == ["deal_created", "deal_updated"]
