"""Taking in what triggers have marked: several at once, rows that change meanwhile, and trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

import xkit_crm
from tests.delivery.conftest import held, names, states
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal
from tests.sync.marking import delivered, events, insert, marked, marks, rename, sql
from tests.sync.test_capture import rebound
from tests.threads import elsewhere
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Connection, Invocation, MarkedRow
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.sync import taking_in

pytest.importorskip("pgtrigger")
pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]
__all__ = ["delivered", "marked"]


def test_two_that_look_at_once_tell_everything_once(
    sandbox: Connection, customer: Customer
) -> None:
    for number in range(4):
        insert(customer, f"Deal {number}")
    with transaction.atomic():
        assert taking_in.take_in(limit=2) == 2
        assert elsewhere(taking_in.take_in) == 0
    assert taking_in.take_in() == 2
    drain("acme")
    assert sorted(names()) == [f"Deal {number}" for number in range(4)]


def test_two_that_look_at_once_tell_of_a_deletion_once(delivered: Deal) -> None:
    sql("DELETE FROM products_deal")
    with transaction.atomic():
        assert taking_in.take_in() == 1
        assert elsewhere(taking_in.take_in) == 0
    assert events() == ["deal_deleted"]


@contextmanager
def once_read(table: str, step: Any) -> Iterator[None]:
    """Take the step elsewhere right after this table was first read for the marked rows."""
    done = []

    def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if not done and f'FROM "{table}"' in sql and '"object_pk" IN' in sql:
            done.append(elsewhere(step))
        return result

    with database.execute_wrapper(wrap):
        yield
    assert done


READ = ["xkit_crm_recordlink", "xkit_crm_invocation"]


@pytest.mark.parametrize("table", READ)
def test_what_is_delivered_while_it_is_looked_is_not_overlooked(
    delivered: Deal, table: str
) -> None:
    rename(delivered, "Second")
    taking_in.take_in()
    rename(delivered, "First")
    with once_read(table, lambda: drain("acme")):
        taking_in.take_in()
    Worker().run_once()
    assert names() == ["First"]


@pytest.mark.parametrize("table", READ)
def test_a_row_that_goes_while_it_is_created_is_deleted(
    sandbox: Connection, customer: Customer, table: str
) -> None:
    insert(customer, "Short")
    taking_in.take_in()
    sql("DELETE FROM products_deal")
    with once_read(table, lambda: drain("acme")):
        taking_in.take_in()
    Worker().run_once()
    assert not held()


@pytest.mark.parametrize("table", READ)
def test_a_row_that_goes_and_comes_back_while_it_is_looked_is_there_in_the_end(
    delivered: Deal, table: str
) -> None:
    def come_back() -> bool:
        sql(
            "INSERT INTO products_deal (id, customer_id, title, tags, views, note, modified_at) "
            "VALUES (%s, %s, 'First', '[]', 0, '', now())",
            delivered.pk,
            delivered.customer_id,
        )
        taking_in.take_in()
        return True

    sql("DELETE FROM products_deal")
    with once_read(table, come_back):
        taking_in.take_in()
    Worker().run_once()
    assert names() == ["First"]


def test_a_row_that_somebody_is_writing_is_left_and_told_later(delivered: Deal) -> None:
    rename(delivered, "Renamed")
    with transaction.atomic():
        rename(delivered, "Renamed again")
        assert elsewhere(taking_in.take_in) == 0
    Worker().run_once()
    assert names() == ["Renamed again"]
    assert not marks()


def test_rows_that_somebody_keeps_for_long_hold_up_no_other(
    delivered: Deal, customer: Customer
) -> None:
    for number in range(3):
        insert(customer, f"Deal {number}")
    rename(delivered, "Renamed")
    with transaction.atomic():
        kept = list(Deal.objects.exclude(pk=delivered.pk).order_by("pk").select_for_update())
        assert elsewhere(lambda: taking_in.take_in(limit=2)) == 1
    assert events() == ["deal_updated"]
    assert marks() == [str(deal.pk) for deal in kept]


def test_what_fails_in_between_loses_no_mark(
    delivered: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename(delivered, "Renamed")
    with transaction.atomic():
        taking_in.take_in()
        assert len(events()) == 1
        transaction.set_rollback(True)
    assert marks() == [str(delivered.pk)]
    assert not events()
    Worker().run_once()
    assert names() == ["Renamed"]


def test_a_row_that_nobody_can_deal_with_holds_up_no_other(
    delivered: Deal, caplog: pytest.LogCaptureFixture
) -> None:
    MarkedRow.objects.create(model="products.deal", object_pk="no number")
    MarkedRow.objects.create(model="gone.model", object_pk="1")
    rename(delivered, "Renamed")
    Worker().run_once()
    assert names() == ["Renamed"]
    assert not marks()
    assert "products.deal no number was written past the capture" in caplog.text


def test_a_row_that_was_left_to_one_crms_workflow_is_not_made_there_again(
    delivered: Deal,
) -> None:
    xkit_crm.connect("globex", provider="sandbox")

    class Both(DealSync):
        def get_connections(self, deal: Deal) -> list[str]:
            return ["acme", "globex"]

    with rebound(Both):
        rename(delivered, "Renamed")
        taking_in.take_in()
        globex = Invocation.objects.filter(connection="globex")
        assert [one.event.slug for one in globex] == ["deal_created"]
        globex.update(status=InvocationStatus.DEFERRED)
        drain("acme")
        rename(delivered, "Renamed again")
        taking_in.take_in()
        assert [one.event.slug for one in globex.filter(status="pending")] == ["deal_updated"]


def test_a_row_that_goes_to_no_connection_is_not_told(delivered: Deal) -> None:
    sql("UPDATE products_customer SET connection_id = ''")
    rename(delivered, "Renamed")
    assert taking_in.take_in() == 1
    assert states() == []
