"""Which event fits a row when its turn comes."""

from __future__ import annotations

import pytest

import xkit_crm
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer, Deal
from tests.sync.test_capture import rebound
from xkit_crm.delivery.replay import replay
from xkit_crm.models import Connection, CRMObject, EventDefinition, Invocation
from xkit_crm.models.base import new_uuid
from xkit_crm.providers.sandbox.models import Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def ended() -> list[tuple[str, str]]:
    """Event and end state of every invocation, in the order they were made."""
    rows = Invocation.objects.order_by("id")
    return [(row.event.slug, row.status) for row in rows]


def move_to_globex(deal: Deal) -> None:
    """The row is another customer's from now on, and nobody was told of that yet."""
    with xkit_crm.muted():
        deal.customer = CustomerFactory.create(connection_id="globex")
        deal.title = "Globex's secret"
        deal.save()


def test_a_row_that_the_crm_does_not_know_yet_is_created_by_its_next_change(
    sandbox: Connection, deal: Deal
) -> None:
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert ended() == [("deal_created", "succeeded")]
    assert Invocation.objects.get().payload["name"] == "Renamed"
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"


def test_a_row_that_moved_to_another_customer_is_not_written_to_the_one_it_left(
    sandbox: Connection, deal: Deal
) -> None:
    """What waits there would become a create of the row as it is now, with another's data."""
    deal.title = "Renamed"
    deal.save()
    move_to_globex(deal)
    deliver()
    assert ended() == [("deal_updated", "skipped")]
    assert "belongs to another connection" in str(Invocation.objects.get().error)
    assert not Record.objects.exists()


def test_nor_is_it_where_its_failure_is_replayed(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.update(payload={"name": None})
    deliver()
    move_to_globex(deal)
    replay(Invocation.objects.all())
    deliver()
    assert ended() == [("deal_created", "skipped")]
    assert not Record.objects.exists()


def test_the_change_of_a_row_that_is_gone_and_never_arrived_is_nothing_to_do(
    sandbox: Connection, deal: Deal
) -> None:
    deal.title = "Renamed"
    deal.save()
    with xkit_crm.muted():
        deal.delete()
    deliver()
    assert ended() == [("deal_updated", "skipped")]
    assert "deleted since" in str(Invocation.objects.earliest("id").error)


def test_a_row_that_was_never_in_the_crm_needs_no_delete(sandbox: Connection, deal: Deal) -> None:
    deal.delete()
    deliver()
    assert ended() == [("deal_deleted", "skipped")]


def test_a_failed_create_is_made_good_by_the_next_change(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    Invocation.objects.update(payload={"name": None})
    deliver()
    assert ended() == [("deal_created", "failed")]
    deal.title = "Second"
    deal.save()
    deliver()
    assert ended() == [("deal_created", "failed"), ("deal_created", "succeeded")]


def test_a_binding_that_never_creates_leaves_an_unknown_row_alone(
    sandbox: Connection, deal: Deal
) -> None:
    class OnlyUpdates(xkit_crm.ModelSync):
        crm_object = "opportunity"
        on_update = "deal_updated"
        payload = {"name": "title"}

        def get_connections(self, deal: Deal) -> list[str]:
            return [deal.customer.connection_id]

    with rebound(OnlyUpdates):
        deal.title = "Renamed"
        deal.save()
        deliver()
    assert ended() == [("deal_updated", "skipped")]
    assert "on_create" in str(Invocation.objects.get().error)


def test_an_old_change_that_is_replayed_does_not_overwrite_what_came_after(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.exceptions import RejectedByCRM

    deal = DealFactory.create(customer=customer)
    deliver()

    def refusing(*args: object, **named: object) -> None:
        raise RejectedByCRM("Not today.")

    with monkeypatch.context() as today:
        today.setattr(SandboxProvider, "update", refusing)
        deal.title = "Old"
        deal.save()
        deliver()
    deal.title = "New"
    deal.save()
    deliver()
    replay(Invocation.objects.filter(status="failed"))
    deliver()
    assert Record.objects.get().values["Name"] == "New"


def test_what_a_workflow_took_for_another_object_stands_in_nobodys_way(
    sandbox: Connection, deal: Deal
) -> None:
    contact = EventDefinition.objects.create(
        crm_object=CRMObject.objects.get(slug="contact"), slug="made", type="create", label="Made"
    )
    deal.title = "Renamed"
    deal.save()
    waiting = Invocation.objects.get()
    waiting.pk, waiting.uuid = None, new_uuid()
    waiting.event, waiting.status, waiting.record_key = contact, "deferred", "another"
    waiting.save()
    deliver()
    assert ("deal_created", "succeeded") in ended()


@pytest.mark.parametrize("event", ["deal_created", "deal_updated"])
def test_what_is_replayed_of_a_row_that_was_deleted_since_is_nothing_to_do(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    from xkit_crm.exceptions import RejectedByCRM

    def refusing(*args: object, **named: object) -> None:
        raise RejectedByCRM("Not today.")

    deal = DealFactory.create(customer=customer)
    if event == "deal_updated":
        deliver()
        deal.title = "Old"
        deal.save()
    with monkeypatch.context() as today:
        today.setattr(SandboxProvider, "create", refusing)
        today.setattr(SandboxProvider, "update", refusing)
        deliver()
    deal.title = "New"
    deal.save()
    deliver()
    deal.delete()
    deliver()
    replay(Invocation.objects.filter(status="failed"))
    deliver()
    assert (event, "skipped") in ended()
    assert not Record.objects.filter(deleted_at=None).exists()
