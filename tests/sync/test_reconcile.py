"""Reconcile: what was changed past every hook is found, and just that is queued."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.db import models, transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act, held, names
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal, Offer, Twin
from tests.sync.offers import bind_offers
from tests.sync.test_capture import rebound
from xkit_crm import exceptions
from xkit_crm.connections import disconnect
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, ObjectMapping, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync import reconcile_deep as deep_reconciling
from xkit_crm.sync.drift import ChangedBy
from xkit_crm.sync.findings import ReconcileResult, State
from xkit_crm.sync.reconcile import reconcile
from xkit_crm.sync.reconcile_deep import DeepResult, Drift, reconcile_deep
from xkit_crm.sync.reconcile_deep import State as Deep

pytestmark = pytest.mark.django_db


def sql(statement: str, *values: Any) -> None:
    """What another service does to the table."""
    with database.cursor() as cursor:
        cursor.execute(statement, values)


def run(**options: Any) -> ReconcileResult:
    (result,) = reconcile([Deal], **options)
    return result


def deep(**options: Any) -> tuple[DeepResult, list[Drift]]:
    found: list[Drift] = []
    (result,) = reconcile_deep([Deal], found=found.append, **options)
    return result, found


def edit(link: RecordLink, **values: Any) -> None:
    """The customer changes the record in their CRM."""
    org = Org.objects.get(slug=link.connection_id)
    records.update_record(org, RecordRef.parse(link.record_id), values)


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> list[Deal]:
    """Two deals that the CRM has, updated once, so that every key was delivered."""
    deals = [DealFactory.create(customer=customer, title=title) for title in ("First", "Second")]
    drain("acme")
    for deal in deals:
        deal.views += 1
        deal.save()
    drain("acme")
    Invocation.objects.all().delete()
    return deals


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


# -- with the CRM itself --------------------------------------------------------------------------


def test_a_record_that_has_what_we_wrote_is_in_step(delivered: list[Deal]) -> None:
    result, found = deep()
    assert (result.counts, found, result.unsettled) == ({Deep.IN_STEP: 2}, [], 0)


def test_what_the_customer_changed_is_told_as_theirs(delivered: list[Deal]) -> None:
    first, _ = delivered
    edit(xkit_crm.links(first).get(), Name="Edited by hand")
    result, found = deep()
    (drift,) = found
    assert result.counts == {Deep.DRIFTED: 1, Deep.IN_STEP: 1}
    assert (drift.field, drift.ours, drift.theirs) == ("Name", "First", "Edited by hand")
    assert drift.changed_by is ChangedBy.CRM
    assert not Invocation.objects.exists()


def test_what_the_product_changed_is_told_as_ours(delivered: list[Deal]) -> None:
    first, second = delivered
    sql("UPDATE products_deal SET title = 'Renamed'")
    edit(xkit_crm.links(second).get(), Name="Edited by hand")
    result, found = deep()
    assert {drift.pk: drift.changed_by for drift in found} == {
        str(first.pk): ChangedBy.PRODUCT,
        str(second.pk): ChangedBy.BOTH,
    }
    assert result.fields == {ChangedBy.PRODUCT: 1, ChangedBy.BOTH: 1}


def test_what_a_new_mapping_changed_is_told_as_such(delivered: list[Deal]) -> None:
    act(
        "deal_updated",
        transformations=[{"field": "Name", "kind": "template", "template": "Deal: {name}"}],
    )
    _, found = deep()
    assert {drift.changed_by for drift in found} == {ChangedBy.MAPPING}


def test_a_field_that_was_never_written_is_nobodys_change(delivered: list[Deal]) -> None:
    RecordLink.objects.update(written={})
    sql("UPDATE products_deal SET title = 'Renamed'")
    _, found = deep()
    assert {drift.changed_by for drift in found} == {ChangedBy.UNKNOWN}


def test_what_changes_with_every_save_drifts_only_where_the_customer_changed_it(
    sandbox: Connection, customer: Customer
) -> None:
    stamp = {"field": "Description", "kind": "direct", "key": "updated_at"}
    act("deal_updated", transformations=[stamp])
    deal = DealFactory.create(customer=customer)
    drain("acme")
    deal.views += 1
    deal.save()
    drain("acme")
    sql("UPDATE products_deal SET modified_at = '2031-01-01 12:00:00'")
    assert deep()[0].counts == {Deep.IN_STEP: 1}
    edit(xkit_crm.links(deal).get(), Description="Theirs")
    assert [one.changed_by for one in deep()[1]] == [ChangedBy.CRM]


def test_fixing_makes_the_record_what_the_row_says(delivered: list[Deal]) -> None:
    first, _ = delivered
    edit(xkit_crm.links(first).get(), Name="Edited by hand")
    result, _ = deep(fix=True)
    assert (result.queued, result.unsettled) == ({"deal_updated": 1}, 0)
    assert deep()[0].counts == {Deep.ON_ITS_WAY: 1, Deep.IN_STEP: 1}
    drain("acme")
    assert sorted(names()) == ["First", "Second"]
    assert deep()[0].counts == {Deep.IN_STEP: 2}


def test_a_record_that_is_gone_in_the_crm_is_told_and_made_again_only_when_asked(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    link = xkit_crm.links(first).get()
    records.delete_record(Org.objects.get(slug="acme"), RecordRef.parse(link.record_id))
    result, found = deep(fix=True)
    assert (result.counts, result.queued) == ({Deep.GONE: 1, Deep.IN_STEP: 1}, {})
    assert (found[0].record_id, found[0].field) == (link.record_id, "")
    result, _ = deep(fix=True, create=True)
    assert result.queued == {"deal_created": 1}
    drain("acme")
    assert sorted(names()) == ["First", "Second"]
    assert xkit_crm.links(first).get().record_id != link.record_id


def test_rows_that_the_default_manager_hides_are_left_alone(
    delivered: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kept(models.Manager[Deal]):
        def get_queryset(self) -> models.QuerySet[Deal]:
            return super().get_queryset().exclude(note="deleted")

    first, second = delivered
    sql("UPDATE products_deal SET note = 'deleted', title = 'x'")
    manager = Kept()
    manager.model = Deal
    monkeypatch.setitem(Deal._meta.__dict__, "default_manager", manager)
    link = xkit_crm.links(first).get()
    records.delete_record(Org.objects.get(slug="acme"), RecordRef.parse(link.record_id))
    sql("DELETE FROM products_deal WHERE id = %s", second.pk)
    result, drifts = deep(fix=True, create=True)
    assert (result.counts, drifts) == ({Deep.ROW_GONE: 1}, [])
    assert xkit_crm.links(first).get() == link
    assert not Invocation.objects.exists()


def test_fixing_reads_what_many_rows_point_to_at_once(sandbox: Connection) -> None:
    def queries(count: int) -> int:
        with xkit_crm.muted():
            Deal.objects.all().delete()
        RecordLink.objects.all().delete()
        for _ in range(count):
            DealFactory.create(customer=CustomerFactory.create(connection_id="acme"))
        drain("acme")
        sql("UPDATE products_deal SET title = 'Renamed'")
        with CaptureQueriesContext(database) as captured:
            deep(fix=True)
        return sum('FROM "products_customer"' in one["sql"] for one in captured)

    assert queries(5) == queries(2)


@pytest.mark.parametrize("repaired", [True, False])
def test_a_link_that_somebody_changed_meanwhile_is_left_to_them(
    delivered: list[Deal], monkeypatch: pytest.MonkeyPatch, repaired: bool
) -> None:
    first, _ = delivered
    org, link = Org.objects.get(slug="acme"), xkit_crm.links(first).get()
    records.delete_record(org, RecordRef.parse(link.record_id))
    other = str(records.create_record(org, "Opportunity", {"Name": "First"}).ref)
    put_right = deep_reconciling._Run._put_right

    def after_a_person(self: Any, *args: Any) -> None:
        xkit_crm.link(first, "acme", other) if repaired else link.delete()
        put_right(self, *args)

    monkeypatch.setattr(deep_reconciling._Run, "_put_right", after_a_person)
    result, _ = deep(fix=True, create=True)
    assert (result.queued, result.unsettled) == ({}, 1)
    kept = [link.record_id for link in xkit_crm.links(first)]
    assert kept == ([other] if repaired else [])
    assert not Invocation.objects.exists()


def test_a_crm_that_refuses_stops_no_other(delivered: list[Deal], sandbox: Connection) -> None:
    xkit_crm.connect("globex", provider="sandbox", credentials={})
    deal = DealFactory.create(customer=CustomerFactory.create(connection_id="globex"))
    drain("globex")
    Org.objects.filter(slug="acme").update(token="changed-meanwhile")
    refused, fine = reconcile_deep([Deal])
    assert "401" in refused.problem
    assert refused.unsettled == 1
    assert fine.counts == {Deep.IN_STEP: 1}
    sandbox.refresh_from_db()
    assert sandbox.status == ConnectionStatus.ERRORED
    assert xkit_crm.links(deal).exists()


def test_a_record_that_the_crm_refuses_to_give_is_one_that_is_left(
    delivered: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    get_many = SandboxProvider.get_many

    def refusing(self: SandboxProvider, refs: Any, fields: Any) -> list[Any]:
        return [exceptions.RejectedByCRM("Not for your eyes."), *get_many(self, refs[1:], fields)]

    monkeypatch.setattr(SandboxProvider, "get_many", refusing)
    result, _ = deep()
    assert result.counts == {Deep.INVALID: 1, Deep.IN_STEP: 1}
    assert "Not for your eyes." in result.problem
    assert result.unsettled == 1


def test_a_crm_that_is_disconnected_meanwhile_is_read_no_more(
    delivered: list[Deal], sandbox: Connection
) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    DealFactory.create(customer=CustomerFactory.create(connection_id="globex"))
    drain("globex")
    stopped, fine = reconcile_deep(
        [Deal], batch_size=1, progress=lambda _: disconnect(sandbox, "by the customer")
    )
    assert stopped.counts == {Deep.IN_STEP: 1}
    assert "by the customer" in stopped.problem
    assert fine.counts == {Deep.IN_STEP: 1}


def test_nothing_is_left_to_a_person_for_a_customer_who_opted_out(
    delivered: list[Deal],
) -> None:
    ObjectMapping.objects.update(remote_object="")
    (result,) = reconcile_deep([Deal])
    assert (result.counts, result.problem) == ({Deep.OPTED_OUT: 2}, "")
    assert result.unsettled == 0


# -- at the same time as others ------------------------------------------------------------------


def until_somebody_waits() -> None:
    """Return as soon as another transaction waits for a lock."""
    deadline = time.monotonic() + 20
    with database.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_being_saved_is_waited_for_and_never_overwritten_with_what_it_was(
    delivered: list[Deal],
) -> None:
    first, _ = delivered
    sql("UPDATE products_deal SET amount = 7")
    began = threading.Event()

    def save() -> None:
        with transaction.atomic():
            deal = Deal.objects.get(pk=first.pk)
            deal.title = "Saved meanwhile"
            deal.save()
            began.set()
            until_somebody_waits()
        database.close()

    saver = threading.Thread(target=save)
    saver.start()
    assert began.wait(20)
    result = run()
    saver.join()
    assert result.counts == {State.ON_ITS_WAY: 1, State.DIFFERS: 1}
    invocation = Invocation.objects.get(object_pk=str(first.pk))
    assert invocation.payload["name"] == "Saved meanwhile"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_fixing_begins_again_where_the_database_chose_who_else_locks_the_rows(
    delivered: list[Deal],
) -> None:
    first, second = delivered
    for deal in delivered:
        edit(xkit_crm.links(deal).get(), Name="Theirs")
    began = threading.Event()

    def save_the_other_way_round() -> None:
        with transaction.atomic():
            Deal.objects.filter(pk=second.pk).update(note="saved")
            began.set()
            until_somebody_waits()
            Deal.objects.filter(pk=first.pk).update(note="saved")
        database.close()

    saver = threading.Thread(target=save_the_other_way_round)
    saver.start()
    assert began.wait(20)
    result, _ = deep(fix=True)
    saver.join()
    assert (result.queued, result.unsettled) == ({"deal_updated": 2}, 0)
    assert not Deal.objects.exclude(note="saved").exists()


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
