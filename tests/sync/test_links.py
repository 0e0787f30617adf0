"""Linking rows to CRM records by hand, and reading the links."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import names
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Plain
from xkit_crm import signals
from xkit_crm.delivery.replay import replay
from xkit_crm.exceptions import (
    ConfigurationError,
    UnknownConnection,
    UnknownObject,
    UnknownRecord,
)
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Misbehaviour, Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync import digests, links
from xkit_crm.sync.findings import State
from xkit_crm.sync.reconcile import reconcile
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def record(name: str = "Theirs") -> str:
    """A record that the customer has already."""
    made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": name})
    assert made.record is not None
    return made.record.id


def test_a_linked_row_is_updated_and_not_created(sandbox: Connection, deal: Deal) -> None:
    theirs = record()
    link = xkit_crm.link(deal, "acme", theirs)
    assert link.record_id == theirs
    deal.title = "Ours now"
    deal.save()
    deliver()
    last = Invocation.objects.latest("id")
    assert (last.event.slug, last.record_id, last.status) == ("deal_updated", theirs, "succeeded")


def test_a_row_linked_before_its_create_was_delivered_is_updated(
    sandbox: Connection, customer: Customer
) -> None:
    theirs = record()
    deal = DealFactory.create(customer=customer, title="Ours")
    xkit_crm.link(deal, sandbox, theirs)
    deliver()
    last = Invocation.objects.latest("id")
    assert (last.event.slug, last.record_id) == ("deal_updated", theirs)
    assert last.payload["name"] == "Ours"


def test_linking_again_names_another_record(sandbox: Connection, deal: Deal) -> None:
    first, second = record("One"), record("Two")
    xkit_crm.link(deal, "acme", first)
    xkit_crm.link(deal, "acme", second)
    assert [link.record_id for link in xkit_crm.links(deal)] == [second]


def test_a_row_has_a_link_in_each_connection(sandbox: Connection, deal: Deal) -> None:
    ConnectionFactory.create(id="second")
    xkit_crm.link(deal, "acme", "Opportunity:1")
    xkit_crm.link(deal, "second", "Deal:1")
    assert {link.connection_id: link.record_id for link in xkit_crm.links(deal)} == {
        "acme": "Opportunity:1",
        "second": "Deal:1",
    }


def test_a_proxy_and_an_inheriting_row_have_the_links_of_their_row(
    sandbox: Connection, customer: Customer
) -> None:
    with xkit_crm.muted():
        big = BigDeal.objects.create(customer=customer, title="Big")
    xkit_crm.link(big, "acme", "Opportunity:1")
    for same in (Deal.objects.get(pk=big.pk), DealProxy.objects.get(pk=big.pk), big):
        assert xkit_crm.links(same).get().record_id == "Opportunity:1"


def test_links_are_read_with_their_connection_in_one_query(
    sandbox: Connection, deal: Deal, django_assert_num_queries
) -> None:
    xkit_crm.link(deal, "acme", "Opportunity:1")
    list(xkit_crm.links(deal))
    with django_assert_num_queries(1):
        assert [str(link.connection) for link in xkit_crm.links(deal)] == ["acme"]


@pytest.mark.django_db(transaction=True)
def test_a_link_is_told_to_the_product(sandbox: Connection, deal: Deal) -> None:
    told: list[tuple[str, bool]] = []

    def on_linked(link: RecordLink, created: bool, **_: object) -> None:
        told.append((link.record_id, created))

    signals.record_linked.connect(on_linked)
    xkit_crm.link(deal, "acme", "Opportunity:1")
    xkit_crm.link(deal, "acme", "Opportunity:2")
    assert told == [("Opportunity:1", True), ("Opportunity:2", False)]


def test_what_can_not_be_linked_is_refused(sandbox: Connection, deal: Deal) -> None:
    with pytest.raises(UnknownConnection, match="nobody"):
        xkit_crm.link(deal, "nobody", "Opportunity:1")
    with pytest.raises(UnknownRecord, match="09876"):
        xkit_crm.link(deal, "acme", "09876")
    with pytest.raises(UnknownObject, match="oportunity"):
        xkit_crm.link(deal, "acme", "Opportunity:1", crm_object="oportunity")
    with pytest.raises(ConfigurationError, match="not saved"):
        xkit_crm.link(Deal(), "acme", "Opportunity:1")
    assert not RecordLink.objects.exists()


def test_a_row_of_a_model_that_is_not_bound_needs_its_crm_object(sandbox: Connection) -> None:
    plain = Plain.objects.create(title="x")
    with pytest.raises(ConfigurationError, match="bound to no"):
        xkit_crm.link(plain, "acme", "Opportunity:1")
    xkit_crm.link(plain, "acme", "Opportunity:1", crm_object="opportunity")
    assert xkit_crm.links(plain).get().crm_object.slug == "opportunity"


def test_an_event_fired_by_hand_for_an_inheriting_row_is_about_its_bound_row(
    sandbox: Connection, customer: Customer
) -> None:
    with xkit_crm.muted():
        big = BigDeal.objects.create(customer=customer, title="Big")
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Big"}, instance=big)
    big.title = "Bigger"
    big.save()
    deliver()
    assert Invocation.objects.latest("id").event.slug == "deal_updated"


def test_an_event_fired_by_hand_links_its_record_to_a_row(sandbox: Connection, deal: Deal) -> None:
    made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, instance=deal)
    assert made.record is not None
    assert xkit_crm.links(deal).get().record_id == made.record.id


# -- linking to another record, and unlinking -----------------------------------------------------


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    """A row that the CRM has in full."""
    deal: Deal = DealFactory.create(customer=customer, title="Ours")
    deliver()
    deal.views += 1
    deal.save()
    deliver()
    return deal


@contextmanager
def outage() -> Iterator[None]:
    """The CRM is down for one try of what is saved in the block; the next one is due then."""
    org = Org.objects.get(slug="acme")
    down = Misbehaviour.objects.create(org=org, kind="unavailable")
    with override_settings(XKIT_CRM={**settings.XKIT_CRM, "RETRY_BASE": 600}):
        yield
        deliver()
    down.delete()
    assert Invocation.objects.filter(status="pending").update(due_at=timezone.now()) == 1


def test_what_was_written_to_one_record_says_nothing_of_another(delivered: Deal) -> None:
    assert reconcile([Deal])[0].counts == {State.IN_STEP: 1}
    link = xkit_crm.link(delivered, "acme", record())
    assert (link.delivered, link.written) == ({}, {})
    assert reconcile([Deal])[0].counts == {State.DIFFERS: 1}


def test_linking_to_the_same_record_forgets_nothing(delivered: Deal) -> None:
    before = xkit_crm.links(delivered).get()
    xkit_crm.link(delivered, "acme", before.record_id)
    after = xkit_crm.links(delivered).get()
    assert (after.delivered, after.written) == (before.delivered, before.written)


def test_what_was_erased_of_a_row_stays_erased_when_it_is_linked_to_another(
    delivered: Deal,
) -> None:
    xkit_crm.erase(delivered)
    xkit_crm.link(delivered, "acme", record())
    assert xkit_crm.links(delivered).get().delivered == digests.FORGOTTEN


def test_a_change_that_waits_goes_to_the_record_that_the_row_is_linked_to_by_then(
    delivered: Deal,
) -> None:
    theirs = record("Theirs")
    with outage():
        delivered.title = "Renamed"
        delivered.save()
    assert Invocation.objects.latest("id").record_id == "Opportunity:00001"
    xkit_crm.link(delivered, "acme", theirs)
    deliver()
    assert names() == ["Ours", "Renamed"]


def test_a_failed_change_is_replayed_on_the_record_that_the_row_is_linked_to_by_then(
    delivered: Deal,
) -> None:
    org = Org.objects.get(slug="acme")
    records.delete_record(org, RecordRef.parse("Opportunity:00001"))
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    failed = Invocation.objects.latest("id")
    assert (failed.status, failed.error_code) == ("failed", "unknown_record")
    xkit_crm.link(delivered, "acme", record("Theirs"))
    replay([failed])
    deliver()
    assert names() == ["Renamed"]


def test_what_an_event_fired_by_hand_names_is_not_changed_by_a_link(delivered: Deal) -> None:
    theirs = record("Theirs")
    named: dict[str, Any] = {"record": theirs, "instance": delivered, "wait": False}
    with outage():
        xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "By hand"}, **named)
    deliver()
    assert names() == ["Ours", "By hand"]


def test_an_unlinked_row_is_created_again_by_its_next_change(delivered: Deal) -> None:
    links.unlink(xkit_crm.links(delivered).get())
    assert not xkit_crm.links(delivered).exists()
    assert names() == ["Ours"]
    delivered.title = "Ours again"
    delivered.save()
    deliver()
    assert names() == ["Ours", "Ours again"]
    assert xkit_crm.links(delivered).get().record_id == "Opportunity:00002"


def test_the_delete_of_an_unlinked_row_leaves_the_record_alone(delivered: Deal) -> None:
    with outage():
        delivered.delete()
    links.unlink(RecordLink.objects.get())
    deliver()
    assert (names(), Invocation.objects.latest("id").status) == (["Ours"], "skipped")


def test_a_link_that_was_changed_meanwhile_is_not_taken_away(delivered: Deal) -> None:
    seen = xkit_crm.links(delivered).get()
    xkit_crm.link(delivered, "acme", record())
    assert not links.unlink(seen)
    assert xkit_crm.links(delivered).exists()
    assert not links.unlink(seen)


def test_what_was_written_to_the_old_record_is_not_taken_for_the_new_ones(
    delivered: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = record("Theirs")
    update = SandboxProvider.update

    def meanwhile(self: SandboxProvider, *args: object) -> None:
        update(self, *args)  # type: ignore[arg-type]
        xkit_crm.link(delivered, "acme", theirs)

    monkeypatch.setattr(SandboxProvider, "update", meanwhile)
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    link = xkit_crm.links(delivered).get()
    assert (link.record_id, link.delivered, link.written) == (theirs, {}, {})
    assert Invocation.objects.latest("id").status == "succeeded"
