"""Sync now, and unlink."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import resolve, reverse

import xkit_crm
from tests.admin.crm_records.conftest import Staff
from tests.admin.crm_records.pages import address, log, press, shown
from tests.products.models import Deal
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.permissions import OPERATE

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]


def test_sync_now_queues_the_row_as_it_is_and_is_logged(
    delivered: Deal, admin_client: Client
) -> None:
    answer = press(admin_client, "sync", delivered).content.decode()
    assert "1 event is queued." in answer
    assert Invocation.objects.latest("id").event.slug == "deal_updated"
    assert log() == [(str(delivered), "Sync with acme now: queued.")]
    again = press(admin_client, "sync", delivered).content.decode()
    assert "Nothing is queued. On its way already." in again
    assert Invocation.objects.filter(status="pending").count() == 1
    assert len(log()) == 1


def test_without_a_script_a_button_leads_back_to_the_page(
    delivered: Deal, admin_client: Client
) -> None:
    answer = press(admin_client, "sync", delivered, htmx=False)
    assert answer.headers["Location"] == address("change", delivered)
    page = admin_client.get(answer.headers["Location"]).content.decode()
    assert "1 event is queued." in page


@pytest.mark.parametrize(
    ("next_page", "leads_to"),
    [("/deals/7/?page=2", "/deals/7/?page=2"), ("https://evil.example/", None), ("//evil", None)],
)
def test_a_button_on_a_page_of_the_product_leads_back_there_and_to_no_other_site(
    delivered: Deal, admin_client: Client, next_page: str, leads_to: str | None
) -> None:
    answer = press(admin_client, "sync", delivered, htmx=False, next=next_page)
    assert answer.headers["Location"] == (leads_to or address("change", delivered))


def test_what_is_wrong_with_a_value_is_told_to_who_may_see_it(
    delivered: Deal, client: Client, staff: Staff
) -> None:
    staff(OPERATE)
    with xkit_crm.muted():
        Deal.objects.update(title="x" * 90)
    answer = press(client, "sync", delivered).content.decode()
    assert "Can&#x27;t be written." in answer
    assert "payload.name" not in answer


def test_no_transaction_is_open_while_a_crm_is_asked(db: None) -> None:
    for name in ("records", "sync", "unlink", "search", "link"):
        view = resolve(reverse(f"backoffice:products_deal_crm_{name}", args=[1])).func
        assert "default" in view._non_atomic_requests  # type: ignore[attr-defined]


def test_why_nothing_can_be_synced_is_told(delivered: Deal, admin_client: Client) -> None:
    with xkit_crm.muted():
        Deal.objects.update(title="x" * 90)
    answer = press(admin_client, "sync", delivered).content.decode()
    assert "Can&#x27;t be written." in answer
    assert "payload.name" in answer
    Connection.objects.update(status=ConnectionStatus.DISABLED)
    answer = press(admin_client, "sync", delivered).content.decode()
    assert "The customer switched it off" in answer


# -- unlink ----------------------------------------------------------------------------------------


def test_unlinking_asks_and_is_logged(delivered: Deal, admin_client: Client) -> None:
    assert "Opportunity:00001 stays in the CRM as it is" in shown(admin_client, delivered)
    answer = press(admin_client, "unlink", delivered, record_id="Opportunity:00001")
    assert "Unlinked from Opportunity:00001" in answer.content.decode()
    assert not RecordLink.objects.exists()
    assert log() == [(str(delivered), "Unlinked from Opportunity:00001 in acme.")]


def test_a_link_that_was_changed_meanwhile_stays(
    delivered: Deal, admin_client: Client, theirs: str
) -> None:
    xkit_crm.link(delivered, "acme", theirs)
    answer = press(admin_client, "unlink", delivered, record_id="Opportunity:00001")
    assert "somebody has changed the link" in answer.content.decode()
    assert RecordLink.objects.get().record_id == theirs
    assert log() == []
