"""Reconcile: what was changed past every hook is found, and just that is queued."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act, held, names
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal, Offer, Twin
from tests.sync.offers import bind_offers
from tests.sync.reconciling import delivered, sql, until_somebody_waits
from tests.sync.test_capture import rebound
from tests.threads import begun
from xkit_crm import exceptions
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.sync.findings import ReconcileResult, State
from xkit_crm.sync.reconcile import reconcile

pytestmark = pytest.mark.django_db
__all__ = ["delivered"]


def run(**options: Any) -> ReconcileResult:
    (result,) = reconcile([Deal], **options)
    return result


# -- by digests -----------------------------------------------------------------------------------


def test_nothing_is_queued_where_everything_was_delivered(delivered: list[Deal]) -> None:
    result = run()
    assert result.counts == {State.IN_STEP: 2}
    assert result.unsettled == 0
    assert not Invocation.objects.exists()


def test_a_row_changed_by_raw_sql_is_found_and_only_it_is_queued(delivered: list[Deal]) -> None:
    first, _ = delivered
    sql("UPDATE products_deal SET title = 'Renamed' WHERE id = %s", first.pk)
    result = run()
    invocation = Invocation.objects.get()
    assert result.counts == {State.DIFFERS: 1, State.IN_STEP: 1}
    assert result.queued == {"deal_updated": 1}
    assert result.differences[0].detail == "name"
    assert (invocation.object_pk, invocation.priority) == (str(first.pk), Priority.BACKGROUND)
    drain("acme")
    assert sorted(names()) == ["Renamed", "Second"]
    assert run().counts == {State.IN_STEP: 2}


def test_a_queryset_update_of_many_rows_is_found(delivered: list[Deal]) -> None:
    with xkit_crm.muted():
        Deal.objects.update(amount=99)
    assert run().queued == {"deal_updated": 2}


def test_a_number_that_the_database_spells_otherwise_was_delivered(
    sandbox: Connection, customer: Customer
) -> None:
    class Large(DealSync):
        def get_amount(self, deal: Deal) -> float:
            return 2e16

    with rebound(Large):
        deal = DealFactory.create(customer=customer)
        drain("acme")
        deal.views += 1
        deal.save()
        drain("acme")
        assert run().counts == {State.IN_STEP: 1}


def test_what_is_on_its_way_is_not_queued_again(delivered: list[Deal]) -> None:
    first, _ = delivered
    first.title = "Renamed"
    first.save()
    assert run().counts == {State.ON_ITS_WAY: 1, State.IN_STEP: 1}
    assert Invocation.objects.count() == 1


def rename(deal: Deal, title: str) -> None:
    sql("UPDATE products_deal SET title = %s WHERE id = %s", title, deal.pk)


REFUSED = {"field": "Name", "kind": "static", "value": "x" * 200}
NAME = {"field": "Name", "kind": "direct", "key": "name"}


def test_an_update_that_the_crm_refuses_is_told_and_not_queued_on_every_run(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    act("deal_updated", transformations=[REFUSED])
    rename(first, "Refused")
    assert run().queued == {"deal_updated": 1}
    drain("acme")
    result = run()
    assert result.counts == {State.FAILED_BEFORE: 1, State.IN_STEP: 1}
    assert (result.queued, result.unsettled) == ({}, 1)
    assert result.differences[0].detail == "its update event failed: replay it"
    rename(first, "Another name")
    assert run().queued == {"deal_updated": 1}


def test_an_update_that_failed_since_the_crm_was_down_for_long_is_queued_again(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    rename(first, "Not delivered")
    run()
    Invocation.objects.filter(status="pending").update(
        status="failed", error_code="crm_unavailable"
    )
    assert run().queued == {"deal_updated": 1}


def test_what_an_update_that_failed_was_joined_by_is_part_of_its_payload(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    act("deal_updated", transformations=[REFUSED])
    for title in ("Refused", "Refused as well"):
        first.title = title
        first.save()
    drain("acme")
    assert Invocation.objects.filter(status="superseded").count() == 1
    assert run().counts[State.FAILED_BEFORE] == 1


def test_an_update_that_failed_before_others_were_delivered_is_over(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    act("deal_updated", transformations=[REFUSED])
    rename(first, "Refused")
    run()
    drain("acme")
    act("deal_updated", transformations=[NAME])
    rename(first, "Delivered")
    run()
    drain("acme")
    rename(first, "Refused")
    assert run().queued == {"deal_updated": 1}


def test_a_column_that_changes_with_every_save_makes_no_difference_by_itself(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    first.note = "nothing that is watched"
    first.save()
    assert run().counts == {State.IN_STEP: 2}


def test_nor_does_one_that_its_field_stamps_with_every_save(
    sandbox: Connection, offer: Offer
) -> None:
    bind_offers(payload={"name": "title", "updated_at": "touched_at"})
    for title in ("Made", "Told"):
        offer.title = title
        offer.save()
        drain("acme")
    offer.note = "nothing that is watched"
    offer.save()
    (result,) = reconcile([Offer])
    assert result.counts == {State.IN_STEP: 1}


def test_a_row_linked_by_hand_was_never_delivered(sandbox: Connection, customer: Customer) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer)
    org = Org.objects.get(slug="acme")
    record = records.create_record(org, "Opportunity", {"Name": "Theirs"})
    xkit_crm.link(deal, "acme", str(record.ref))
    assert run().queued == {"deal_updated": 1}
    drain("acme")
    assert names() == ["Sales contract"]


def test_a_dry_run_queues_nothing_and_says_so(delivered: list[Deal]) -> None:
    sql("UPDATE products_deal SET title = 'Renamed'")
    result = run(dry_run=True)
    assert (result.queued, result.unsettled) == ({"deal_updated": 2}, 2)
    assert not Invocation.objects.exists()


def test_rows_without_a_record_are_counted_and_created_only_when_asked(
    delivered: list[Deal], customer: Customer
) -> None:
    with xkit_crm.muted():
        DealFactory.create(customer=customer, title="Third")
    result = run()
    assert (result.counts[State.NOT_LINKED], result.queued, result.unsettled) == (1, {}, 0)
    assert run(create=True).queued == {"deal_created": 1}
    drain("acme")
    assert sorted(names()) == ["First", "Second", "Third"]


def test_a_row_deleted_by_raw_sql_is_deleted_in_the_crm(delivered: list[Deal]) -> None:
    first, _ = delivered
    sql("DELETE FROM products_deal WHERE id = %s", first.pk)
    assert run(delete=False).queued == {}
    assert run(dry_run=True).queued == {"deal_deleted": 1}
    assert run().counts == {State.IN_STEP: 1, State.GONE: 1}
    assert run().counts == {State.IN_STEP: 1, State.ON_ITS_WAY: 1}
    drain("acme")
    assert names() == ["Second"]
    assert run().counts == {State.IN_STEP: 1}


def test_without_a_delete_event_the_link_of_a_row_that_is_gone_goes(sandbox: Connection) -> None:
    twin = Twin.objects.create(title="Sales", connection_id="acme")
    drain("acme")
    sql("DELETE FROM products_twin WHERE id = %s", twin.pk)
    (result,) = reconcile([Twin], dry_run=True)
    assert RecordLink.objects.exists()
    (result,) = reconcile([Twin])
    assert (result.counts, result.queued) == ({State.GONE: 1}, {})
    assert not RecordLink.objects.exists()
    assert len(held()) == 1


def test_a_row_that_moved_to_another_connection_is_told(delivered: list[Deal]) -> None:
    first, _ = delivered
    other = CustomerFactory.create(connection_id="globex")
    sql("UPDATE products_deal SET customer_id = %s WHERE id = %s", other.pk, first.pk)
    assert run().counts == {State.IN_STEP: 1, State.STRAYED: 1}


def test_an_invalid_payload_is_told_and_stops_no_other(delivered: list[Deal]) -> None:
    first, second = delivered
    sql("UPDATE products_deal SET title = %s WHERE id = %s", "x" * 90, first.pk)
    sql("UPDATE products_deal SET title = 'Renamed' WHERE id = %s", second.pk)
    result = run()
    assert (result.counts, result.unsettled) == ({State.DIFFERS: 1, State.INVALID: 1}, 1)
    assert "payload.name" in result.differences[0].detail


def test_nothing_is_queued_for_a_customer_who_wants_no_updates(delivered: list[Deal]) -> None:
    act("deal_updated", action="noop", transformations=[])
    sql("UPDATE products_deal SET title = 'Renamed'")
    assert run().counts == {State.OPTED_OUT: 2}


def test_a_connection_that_is_not_enabled_is_passed_over_and_refused_by_name(
    delivered: list[Deal], sandbox: Connection
) -> None:
    sandbox.status = ConnectionStatus.DISABLED
    sandbox.save()
    assert run().counts == {}
    with pytest.raises(exceptions.ConnectionNotEnabled):
        run(connection="acme")


def test_other_connections_are_left_alone_where_one_is_named(delivered: list[Deal]) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    sql("UPDATE products_deal SET title = 'Renamed'")
    assert run(connection="globex").queued == {}
    assert run(connection="acme").queued == {"deal_updated": 2}


@pytest.mark.django_db(databases=["default", "other"])
def test_every_bound_model_is_walked_where_none_is_named(delivered: list[Deal]) -> None:
    assert {result.model for result in reconcile()} >= {"products.Deal", "products.Twin"}


def test_a_page_costs_the_same_queries_however_many_connections_are_in_it(
    sandbox: Connection,
) -> None:
    def queries(count: int) -> int:
        with xkit_crm.muted():
            Deal.objects.all().delete()
        for number in range(count):
            name = f"{count}-{number}"
            xkit_crm.connect(name, provider="sandbox")
            DealFactory.create(customer=CustomerFactory.create(connection_id=name))
            drain(name)
        sql("UPDATE products_deal SET title = 'Renamed'")
        with CaptureQueriesContext(database) as captured:
            assert run().queued == {"deal_updated": count}
        return len(captured)

    queries(1)
    assert queries(6) == queries(2)


def test_creating_reads_what_many_rows_point_to_at_once(sandbox: Connection) -> None:
    class OnlyMade(DealSync):
        on_update = ""

        def get_owner_email(self, deal: Deal) -> str | None:
            return deal.owner.email if deal.owner else None

    def queries(count: int) -> int:
        with xkit_crm.muted():
            Deal.objects.all().delete()
            for number in range(count):
                owner = User.objects.create(username=f"{count} {number}", email="ada@example.com")
                DealFactory.create(
                    customer=CustomerFactory.create(connection_id="acme"), owner=owner
                )
        with CaptureQueriesContext(database) as captured:
            assert run(create=True).queued == {"deal_created": count}
        return len(captured)

    with rebound(OnlyMade):
        queries(1)
        assert queries(6) == queries(2)


# -- at the same time as others ------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_being_saved_is_waited_for_and_never_overwritten_with_what_it_was(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    sql("UPDATE products_deal SET amount = 7")
    writing = threading.Event()

    def save() -> None:
        with transaction.atomic():
            deal = Deal.objects.get(pk=first.pk)
            deal.title = "Saved meanwhile"
            deal.save()
            writing.set()
            until_somebody_waits()

    saver = begun(save)
    assert writing.wait(20)
    result = run()
    saver.join()
    assert result.counts == {State.ON_ITS_WAY: 1, State.DIFFERS: 1}
    invocation = Invocation.objects.get(object_pk=str(first.pk))
    assert invocation.payload["name"] == "Saved meanwhile"


def test_a_row_that_was_erased_from_the_log_is_not_sent_again_for_that(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    drain("acme")
    xkit_crm.erase(deal)
    result = run()
    assert result.counts[State.ERASED] == 1
    assert not result.queued
    assert result.unsettled == 0
