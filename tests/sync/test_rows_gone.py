"""A row that is saved after somebody else deleted it is made again, and that is told."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db import connection as database

from tests.products.models import BigDeal, Customer, Deal
from tests.sync.test_capture import events, fired
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.fixture
def gone(deal: Deal) -> Deal:
    """A row that is in memory only: elsewhere it was deleted."""
    Deal.objects.filter(pk=deal.pk).delete()
    Invocation.objects.all().delete()
    return deal


def test_an_unchanged_row_that_is_gone_is_created_again(gone: Deal) -> None:
    gone.note = "not in any payload"
    gone.save()
    assert Deal.objects.filter(pk=gone.pk).exists()
    assert [(slug, payload["name"]) for slug, payload in fired()] == [
        ("deal_created", "Sales contract")
    ]
    gone.save()
    assert len(fired()) == 1


def test_its_record_is_made_again_too(sandbox: object, deal: Deal) -> None:
    deal.title = "Known"
    deal.save()
    deliver()
    stale = Deal.objects.get(pk=deal.pk)
    deal.delete()
    stale.save()
    deliver()
    assert events()[1:] == ["deal_deleted", "deal_created"]
    assert RecordLink.objects.filter(object_pk=str(stale.pk)).count() == 1


def test_a_row_of_an_inheriting_model_is_created_again(customer: Customer) -> None:
    big = BigDeal.objects.create(customer=customer, title="Big")
    stale = BigDeal.objects.get(pk=big.pk)
    big.delete()
    stale.save()
    assert events() == ["deal_created", "deal_deleted", "deal_created"]


def test_a_forced_insert_is_a_new_row(gone: Deal) -> None:
    gone.save(force_insert=True)
    assert events() == ["deal_created"]


def test_a_forced_insert_of_a_row_that_is_there_stays_an_error(deal: Deal) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        deal.save(force_insert=True)
    assert fired() == []


def test_what_the_product_forces_fails_as_ever(gone: Deal) -> None:
    with pytest.raises(DatabaseError, match="Forced update"), transaction.atomic():
        gone.save(force_update=True)
    with pytest.raises(DatabaseError, match="update_fields"), transaction.atomic():
        gone.save(update_fields=["note"])
    assert fired() == []


def test_what_the_database_refuses_is_not_taken_for_a_row_that_is_gone(deal: Deal) -> None:
    deal.note = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError), transaction.atomic():
        deal.save()
    assert fired() == []


def test_where_django_looks_before_it_writes_a_row_that_is_gone_is_created(
    gone: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deal._meta, "select_on_save", True)
    gone.save()
    assert events() == ["deal_created"]
    gone.save()
    assert events() == ["deal_created"]


@pytest.mark.django_db(transaction=True)
def test_the_row_and_its_creation_stand_or_fall_together(
    gone: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import outbox

    monkeypatch.setattr(outbox, "put_captured", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gone.save()
    assert not Deal.objects.filter(pk=gone.pk).exists()
    assert not database.needs_rollback
