"""Linking rows to CRM records by hand, and reading the links."""

from __future__ import annotations

import pytest

import xkit_crm
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Plain
from xkit_crm import signals
from xkit_crm.exceptions import (
    ConfigurationError,
    UnknownConnection,
    UnknownObject,
    UnknownRecord,
)
from xkit_crm.models import Connection, Invocation, RecordLink
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
