"""Sync now: rows are written to their CRMs as they are, whether or not they differ."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act, names
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Elsewhere, Plain
from xkit_crm.exceptions import ConfigurationError, ConnectionNotEnabled
from xkit_crm.models import Connection, Invocation
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.sync.findings import State
from xkit_crm.sync.resync import Resync, resync
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def of(*deals: Deal) -> Resync:
    return resync(Deal.objects.filter(pk__in=[deal.pk for deal in deals]))


def made() -> list[tuple[str, str, str | None]]:
    """Event, connection and row of every invocation that waits."""
    waiting = Invocation.objects.filter(status="pending").order_by("id")
    return list(waiting.values_list("event__slug", "connection_id", "object_pk"))


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Ours")
    deliver()
    return deal


def test_a_record_that_was_changed_in_the_crm_is_written_again(delivered: Deal) -> None:
    org = Org.objects.get(slug="acme")
    records.update_record(org, RecordRef.parse("Opportunity:00001"), {"Name": "Theirs"})
    found = of(delivered)
    assert (found.queued, found.left, found.unbound) == (1, {}, 0)
    assert made() == [("deal_updated", "acme", str(delivered.pk))]
    deliver()
    assert names() == ["Ours"]


def test_a_row_without_a_record_is_created(sandbox: Connection, deal: Deal) -> None:
    assert of(deal).queued == 1
    deliver()
    assert names() == ["Sales contract"]
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"


def test_asking_twice_does_it_once(delivered: Deal) -> None:
    of(delivered)
    again = of(delivered)
    assert (again.queued, again.left) == (0, {State.ON_ITS_WAY: 1})
    assert len(made()) == 1


def test_it_goes_in_front_of_a_backfill(delivered: Deal) -> None:
    of(delivered)
    assert Invocation.objects.latest("id").priority == Priority.NORMAL


def test_a_row_that_failed_to_be_created_is_tried_again(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.update(payload={"name": None})
    deliver()
    assert Invocation.objects.get().status == "failed"
    assert of(deal).queued == 1
    deliver()
    assert names() == ["Sales contract"]


def test_a_row_whose_update_failed_is_tried_again(delivered: Deal) -> None:
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    of(delivered)
    deliver()
    assert Invocation.objects.latest("id").status == "failed"
    assert of(delivered).queued == 1


def test_a_row_that_a_workflow_has_created_is_not_created_twice(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.update(status="deferred")
    found = of(deal)
    assert (found.queued, found.left) == (0, {State.HANDED_OVER: 1})


def test_a_row_that_was_erased_from_the_log_is_written_where_a_person_wants_it(
    delivered: Deal,
) -> None:
    xkit_crm.erase(delivered)
    assert of(delivered).queued == 1


def test_what_can_not_be_written_is_told(delivered: Deal) -> None:
    with xkit_crm.muted():
        Deal.objects.update(title="x" * 90)
    found = of(delivered)
    assert (found.queued, found.left) == (0, {State.INVALID: 1})
    assert "payload.name" in found.details[0].detail


def test_what_the_customer_wants_nothing_of_is_told(delivered: Deal) -> None:
    act("deal_updated", action="noop", transformations=[])
    assert of(delivered).left == {State.OPTED_OUT: 1}


def test_a_connection_that_is_not_enabled_is_counted_and_refused_by_name(
    delivered: Deal, sandbox: Connection
) -> None:
    sandbox.status = ConnectionStatus.DISABLED
    sandbox.save()
    assert of(delivered).left == {State.NOT_ENABLED: 1}
    with pytest.raises(ConnectionNotEnabled):
        resync(Deal.objects.all(), "acme")
    assert made() == []


def test_a_record_in_a_crm_that_the_row_went_to_once_is_no_reason(
    delivered: Deal, sandbox: Connection
) -> None:
    ConnectionFactory.create(id="before", status=ConnectionStatus.DISABLED)
    xkit_crm.link(delivered, "before", "Opportunity:1")
    found = of(delivered)
    assert (found.queued, found.left) == (1, {})


def test_other_rows_and_other_connections_are_left_alone(
    delivered: Deal, customer: Customer
) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    other = DealFactory.create(customer=CustomerFactory.create(connection_id="globex"))
    DealFactory.create(customer=customer)
    deliver()
    assert resync(Deal.objects.filter(pk__in=[delivered.pk, other.pk]), "globex").queued == 1
    assert made() == [("deal_updated", "globex", str(other.pk))]


def test_a_row_that_was_deleted_meanwhile_is_nobodys(delivered: Deal) -> None:
    chosen = Deal.objects.filter(pk=delivered.pk)
    delivered.delete()
    deliver()
    assert resync(chosen) == Resync(0, 0, {}, ())


def test_rows_of_a_proxy_and_of_an_inheriting_model_are_rows_of_the_bound_one(
    sandbox: Connection, customer: Customer
) -> None:
    with xkit_crm.muted():
        big = BigDeal.objects.create(customer=customer, title="Big")
    assert resync(DealProxy.objects.all()).queued == 1
    deliver()
    assert resync(BigDeal.objects.all()).queued == 1
    assert made() == [("deal_updated", "acme", str(big.pk))]


def test_the_first_rows_of_a_queryset_are_synced(sandbox: Connection, deals: list[Deal]) -> None:
    assert resync(Deal.objects.order_by("-pk")[:2]).queued == 2
    assert [pk for _, _, pk in made()] == [str(deal.pk) for deal in deals[1:]]


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_another_database_are_synced_and_what_no_event_is_bound_for_is_told(
    sandbox: Connection,
) -> None:
    with xkit_crm.muted():
        row = Elsewhere.objects.create(title="Far away", connection_id="acme")
    assert resync(Elsewhere.objects.all()).queued == 1
    deliver()
    assert names() == ["Far away"]
    assert resync(Elsewhere.objects.filter(pk=row.pk)) == Resync(0, 1, {}, ())


def test_a_model_that_is_bound_to_nothing_is_refused(sandbox: Connection) -> None:
    with pytest.raises(ConfigurationError, match="bound to no"):
        resync(Plain.objects.all())


def test_rows_cost_the_same_queries_however_many_there_are(
    sandbox: Connection, customer: Customer
) -> None:
    def queries(count: int) -> int:
        with xkit_crm.muted():
            Deal.objects.all().delete()
            for _ in range(count):
                DealFactory.create(customer=customer)
        with CaptureQueriesContext(database) as captured:
            assert resync(Deal.objects.all()).queued == count
        return len(captured)

    queries(1)
    assert queries(20) == queries(2)
