"""A row is linked to a record that the customer has."""

from __future__ import annotations

import pytest
from django.test import Client

import xkit_crm
from tests.admin.crm_records.pages import address, log, press, search, shown
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.providers.sandbox.models import Misbehaviour, Org
from xkit_crm.sync import existing
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]


def test_a_search_shows_the_customers_records_escaped(
    delivered: Deal, admin_client: Client, theirs: str
) -> None:
    found = search(admin_client, delivered, "theirs")
    assert "Theirs &lt;script&gt;alert(1)&lt;/script&gt;" in found
    assert "<script>" not in found
    assert "Amount: 7" in found
    assert f"/acme/{theirs}/" in found
    nothing = search(admin_client, delivered, "<i>nothing</i>")
    assert "No Opportunity in the CRM has “&lt;i&gt;nothing&lt;/i&gt;”" in nothing


def test_what_a_record_is_linked_to_already_is_told(
    delivered: Deal, customer: Customer, admin_client: Client
) -> None:
    other = DealFactory.create(customer=customer, title="Sales elsewhere")
    deliver()
    found = search(admin_client, delivered, "sales")
    assert "Linked to this one" in found
    assert f"Linked to deal {other.pk}" in found
    assert "<button" not in found


def test_a_search_without_a_script_is_a_page(
    delivered: Deal, admin_client: Client, theirs: str
) -> None:
    named = {"connection": "acme", "crm_object": "opportunity", "q": "theirs"}
    page = admin_client.get(address("crm_search", delivered), named).content.decode()
    assert "<html" in page
    assert address("change", delivered) in page
    assert theirs in page


def test_a_text_that_is_too_short_asks_for_more(delivered: Deal, admin_client: Client) -> None:
    assert "Type a little more." in search(admin_client, delivered, "t")


def test_a_crm_that_is_down_is_told_and_the_page_is_there(
    delivered: Deal, admin_client: Client
) -> None:
    Misbehaviour.objects.create(org=Org.objects.get(slug="acme"), kind="unavailable")
    assert "it is down for maintenance" in search(admin_client, delivered, "theirs")
    assert "Opportunity:00001" in shown(admin_client, delivered)


def test_a_customer_who_has_connected_nothing_has_nothing_to_be_searched(
    definitions: None, admin_client: Client
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer__connection_id="acme")
    assert "no CRM connected" in shown(admin_client, deal)
    assert "has not connected" in search(admin_client, deal, "theirs")
    answer = press(admin_client, "link", deal, record_id="Opportunity:00001")
    assert "has not connected" in answer.content.decode()


def test_a_record_that_is_chosen_is_linked_and_logged(
    delivered: Deal, admin_client: Client, theirs: str
) -> None:
    answer = press(admin_client, "link", delivered, record_id=theirs).content.decode()
    assert f"Linked to {theirs}." in answer
    assert RecordLink.objects.get().record_id == theirs
    assert log() == [(str(delivered), f"Linked to {theirs} in acme.")]
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    assert Invocation.objects.latest("id").record_id == theirs


@pytest.mark.parametrize(
    ("record_id", "told"),
    [
        ("Opportunity:00099", "exist in the CRM"),
        ("Contact:00001", "is no opportunity in this connection"),
        ("nonsense", "is not a record id"),
        ("", "is not a record id"),
    ],
)
def test_what_can_not_be_linked_is_told_and_what_was_open_stays_open(
    delivered: Deal, admin_client: Client, record_id: str, told: str
) -> None:
    answer = press(admin_client, "link", delivered, record_id=record_id)
    assert told in answer.content.decode()
    assert answer.headers["HX-Retarget"] == "#crm-records-note"
    assert RecordLink.objects.get().record_id == "Opportunity:00001"
    assert log() == []


def test_a_record_of_another_row_is_refused(
    delivered: Deal, customer: Customer, admin_client: Client
) -> None:
    other = DealFactory.create(customer=customer)
    deliver()
    answer = press(admin_client, "link", delivered, record_id="Opportunity:00002")
    assert f"is linked to deal {other.pk} already" in answer.content.decode()
    assert log() == []


def test_searching_has_its_limit(
    delivered: Deal, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "PER_MINUTE", 1)
    search(admin_client, delivered, "theirs")
    assert "too many searches" in search(admin_client, delivered, "theirs")
