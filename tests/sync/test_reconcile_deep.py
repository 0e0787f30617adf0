"""Deep reconciliation: what differs from the CRM itself is told, and put right where asked."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection as database
from django.db import models, transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act, names
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer, Deal
from tests.sync.reconciling import delivered, edit, sql, until_somebody_waits
from tests.threads import begun
from xkit_crm import exceptions
from xkit_crm.connections import disconnect
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, ObjectMapping, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync import reconcile_deep as deep_reconciling
from xkit_crm.sync.drift import ChangedBy
from xkit_crm.sync.reconcile_deep import DeepResult, Drift, reconcile_deep
from xkit_crm.sync.reconcile_deep import State as Deep

pytestmark = pytest.mark.django_db
__all__ = ["delivered"]


def deep(**options: Any) -> tuple[DeepResult, list[Drift]]:
    found: list[Drift] = []
    (result,) = reconcile_deep([Deal], found=found.append, **options)
    return result, found


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


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_fixing_begins_again_where_the_database_chose_who_else_locks_the_rows(
    delivered: list[Deal],
) -> None:
    first, second = delivered
    for deal in delivered:
        edit(xkit_crm.links(deal).get(), Name="Theirs")
    writing = threading.Event()

    def save_the_other_way_round() -> None:
        with transaction.atomic():
            Deal.objects.filter(pk=second.pk).update(note="saved")
            writing.set()
            until_somebody_waits()
            Deal.objects.filter(pk=first.pk).update(note="saved")

    saver = begun(save_the_other_way_round)
    assert writing.wait(20)
    result, _ = deep(fix=True)
    saver.join()
    assert (result.queued, result.unsettled) == ({"deal_updated": 2}, 0)
    assert not Deal.objects.exclude(note="saved").exists()
