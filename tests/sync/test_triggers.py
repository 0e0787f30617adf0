"""Triggers: on PostgreSQL, what is written past the capture reaches the CRM too."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import held, names
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain
from tests.sync.marking import delivered, events, insert, marked, marks, rename, sql
from xkit_crm.delivery.backends import turns
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.sync import taking_in, triggers
from xkit_crm.sync.echo import applying

pytest.importorskip("pgtrigger")
pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]
__all__ = ["delivered", "marked"]


# -- what reaches the CRM -------------------------------------------------------------------------


def test_a_row_inserted_by_raw_sql_is_created_in_the_crm(
    sandbox: Connection, customer: Customer
) -> None:
    insert(customer, "By hand")
    Worker().run_once()
    assert names() == ["By hand"]
    assert not marks()
    deal = Deal.objects.get()
    assert RecordLink.objects.get().object_pk == str(deal.pk)


def test_a_row_updated_by_raw_sql_is_updated_in_the_crm(delivered: Deal) -> None:
    rename(delivered, "Renamed")
    Worker().run_once()
    assert names() == ["Renamed"]
    assert events() == ["deal_updated"]


def test_a_row_deleted_by_raw_sql_is_deleted_in_the_crm(delivered: Deal) -> None:
    sql("DELETE FROM products_deal WHERE id = %s", delivered.pk)
    Worker().run_once()
    assert not held()
    assert events() == ["deal_deleted"]


def test_rows_by_the_thousand_in_one_statement_reach_the_crm(
    sandbox: Connection, customer: Customer
) -> None:
    with (
        database.cursor() as cursor,
        cursor.copy(
            "COPY products_deal (customer_id, title, tags, views, note, modified_at) FROM STDIN"
        ) as copy,
    ):
        for number in range(1100):
            copy.write_row((customer.pk, f"Deal {number}", "[]", 0, "", "2026-01-01"))
    Worker().run_once()
    assert sorted(names()) == sorted(f"Deal {number}" for number in range(1100))
    assert not marks()


def test_the_sweep_of_a_distributed_engine_takes_it_in_too(delivered: Deal) -> None:
    rename(delivered, "Renamed")
    poked: list[str] = []
    turns.sweep(poked.extend)
    assert poked == ["acme"]
    drain("acme")
    assert names() == ["Renamed"]


def test_a_raw_write_after_a_captured_one_in_the_same_transaction_is_told(
    delivered: Deal,
) -> None:
    with transaction.atomic():
        delivered.title = "Saved"
        delivered.save()
        rename(delivered, "Renamed")
    Worker().run_once()
    assert names() == ["Renamed"]


def test_a_raw_write_while_another_is_on_its_way_is_told(delivered: Deal) -> None:
    delivered.title = "Saved"
    delivered.save()
    rename(delivered, "Renamed")
    Worker().run_once()
    assert names() == ["Renamed"]


def test_an_event_that_a_caller_fires_for_the_row_hides_no_raw_write(delivered: Deal) -> None:
    link = RecordLink.objects.get()
    with transaction.atomic():
        rename(delivered, "Renamed")
        xkit_crm.invoke(
            "acme",
            "opportunity",
            "deal_updated",
            {"views": 7},
            record=link.record_id,
            instance=delivered,
        )
    Worker().run_once()
    assert names() == ["Renamed"]


def test_a_row_that_is_deleted_and_put_back_is_there_in_the_end(delivered: Deal) -> None:
    sql("CREATE TEMPORARY TABLE kept AS SELECT * FROM products_deal")
    sql("DELETE FROM products_deal")
    taking_in.take_in()
    sql("INSERT INTO products_deal SELECT * FROM kept")
    sql("DROP TABLE kept")
    Worker().run_once()
    assert events() == ["deal_deleted", "deal_created"]
    assert names() == ["First"]


def test_an_invalid_payload_is_a_failed_invocation_that_an_operator_sees(delivered: Deal) -> None:
    rename(delivered, "x" * 90)
    taking_in.take_in()
    invocation = Invocation.objects.get()
    assert invocation.status == "failed"
    assert "written past the capture" in str(invocation.error)


def test_a_row_whose_key_changes_is_another_row(delivered: Deal) -> None:
    sql("UPDATE products_deal SET id = id + 1000")
    taking_in.take_in()
    assert sorted(events()) == ["deal_created", "deal_deleted"]


# -- what is not marked ---------------------------------------------------------------------------


def test_captured_writes_leave_no_mark_and_give_no_second_invocation(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    with transaction.atomic():
        deal.title = "Second"
        deal.save()
    Deal.synced.update(title="Third")
    Deal.synced.bulk_create([DealFactory.build(customer=customer) for _ in range(3)])
    with xkit_crm.bulk():
        for row in Deal.objects.all():
            row.views = 5
            row.save()
    before = len(events())
    Deal.objects.all().delete()
    assert not marks()
    assert len(events()) == before + 4
    assert taking_in.take_in() == 0


def test_captured_writes_in_savepoints_leave_no_mark(
    sandbox: Connection, customer: Customer
) -> None:
    with transaction.atomic():
        with transaction.atomic():
            first = DealFactory.create(customer=customer)
            with transaction.atomic():
                second = DealFactory.create(customer=customer)
        with transaction.atomic():
            first.title = "Renamed"
            first.save()
        with transaction.atomic():
            second.delete()
    assert not marks()


def test_a_save_whose_savepoint_is_rolled_back_hides_no_raw_write(delivered: Deal) -> None:
    with transaction.atomic():
        try:
            with transaction.atomic():
                delivered.title = "Saved"
                delivered.save()
                raise RuntimeError
        except RuntimeError:
            pass
        rename(delivered, "Renamed")
    assert marks() == [str(delivered.pk)]


def test_a_savepoint_that_is_rolled_back_hides_no_raw_write_before_it(
    delivered: Deal, customer: Customer
) -> None:
    other = DealFactory.create(customer=customer, title="Other")
    with transaction.atomic():
        other.title = "Saved before"
        other.save()
        delivered.title = "Saved"
        delivered.save()
        rename(delivered, "Renamed")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            rename(delivered, "Never")
            _ = 1 / 0
    assert str(delivered.pk) in marks()


def test_an_older_invocation_of_the_row_hides_no_raw_write(delivered: Deal) -> None:
    delivered.title = "Saved"
    delivered.save()
    rename(delivered, "Renamed")
    assert marks() == [str(delivered.pk)]


def test_a_rollback_leaves_no_mark(delivered: Deal) -> None:
    with transaction.atomic():
        rename(delivered, "Renamed")
        transaction.set_rollback(True)
    assert not marks()


def test_an_update_that_changes_nothing_leaves_no_mark(delivered: Deal) -> None:
    sql("UPDATE products_deal SET title = title, modified_at = now()")
    assert not marks()


def test_with_fields_only_their_change_counts(delivered: Deal) -> None:
    _, update = triggers.capture_triggers("title")
    update.install(Deal)
    sql("UPDATE products_deal SET views = views + 1")
    assert not marks()
    rename(delivered, "Renamed")
    assert marks() == [str(delivered.pk)]


def test_a_raw_write_that_makes_no_difference_is_not_told(delivered: Deal) -> None:
    sql("UPDATE products_deal SET note = 'nothing that is watched'")
    assert len(marks()) == 1
    assert taking_in.take_in() == 1
    assert not events()
    assert not marks()


@pytest.mark.parametrize("around", [False, True], ids=["autocommit", "in a transaction"])
def test_muted_writes_leave_no_mark(delivered: Deal, customer: Customer, around: bool) -> None:
    with ExitStack() as stack:
        if around:
            stack.enter_context(transaction.atomic())
        with xkit_crm.muted():
            delivered.title = "Quiet"
            delivered.save()
            Deal.objects.update(views=99)
            Deal.synced.bulk_create([DealFactory.build(customer=customer)])
            DealFactory.create(customer=customer).delete()
    assert not marks()


def test_what_follows_a_muted_block_in_its_transaction_is_marked(delivered: Deal) -> None:
    other = DealFactory.create(customer=delivered.customer)
    with transaction.atomic():
        with xkit_crm.muted():
            Deal.objects.filter(pk=delivered.pk).update(views=99)
        rename(other, "Renamed")
    assert marks() == [str(other.pk)]


def test_what_a_crm_told_us_leaves_no_mark(delivered: Deal) -> None:
    with applying("acme"):
        delivered.title = "Theirs"
        delivered.save()
    assert not marks()


# -- what it costs --------------------------------------------------------------------------------


def test_a_captured_save_makes_no_query_more(delivered: Deal) -> None:
    def queries() -> int:
        delivered.views += 1
        with CaptureQueriesContext(database) as made:
            delivered.save()
        return len(made)

    with_triggers = queries()
    for trigger in triggers.capture_triggers():
        trigger.uninstall(Deal)
    assert with_triggers == queries()


def test_marks_of_an_unbound_model_are_taken_away(db: None) -> None:
    Plain.objects.create(connection_id="acme", title="Plain")
    assert taking_in.take_in() == 1
    assert not marks()


def test_a_look_costs_one_query_where_nothing_is_marked(db: None) -> None:
    with CaptureQueriesContext(database) as made:
        assert taking_in.take_in() == 0
    assert len(made) == 1


def test_a_look_costs_nothing_where_no_model_has_triggers(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_in_use", False)
    with CaptureQueriesContext(database) as made:
        assert taking_in.take_in() == 0
    assert not made.captured_queries
