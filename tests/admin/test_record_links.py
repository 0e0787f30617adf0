"""The list of record links, and a link's page."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain, Ticket, Twin
from xkit_crm.admin import record_links
from xkit_crm.models import Connection, CRMObject, Invocation, RecordLink
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.signals import record_linked
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
LINKS = "/admin/xkit_crm/recordlink/"


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer)
    deliver()
    return deal


def page_of(link: RecordLink, name: str = "change") -> str:
    return reverse(f"admin:xkit_crm_recordlink_{name}", args=[link.pk])


def listed(client: Client, **asked: str) -> set[str]:
    response = client.get(LINKS, asked)
    assert response.status_code == 200
    return {link.record_id for link in response.context["cl"].result_list}


def test_a_links_page_shows_the_panel_of_its_row(delivered: Deal, admin_client: Client) -> None:
    link = RecordLink.objects.get()
    page = admin_client.get(page_of(link)).content.decode()
    panel = page.partition('id="crm-records"')[2]
    assert "/acme/Opportunity:00001/" in panel
    assert "Sync now" in panel
    named = {"connection": "acme", "crm_object": "opportunity"}
    answer = admin_client.post(page_of(link, "crm_sync"), named, headers=HTMX)
    assert "1 event is queued." in answer.content.decode()


def test_where_no_crm_is_connected_nothing_is_synced_to_the_others(
    sandbox: Connection, admin_client: Client
) -> None:
    Ticket.objects.create(title="x", connection_ids=["acme", "globex"])
    deliver()
    address = page_of(RecordLink.objects.get(), "crm_sync")
    named = {"connection": "globex", "crm_object": "opportunity"}
    answer = admin_client.post(address, named, headers=HTMX)
    assert "has not connected &#x27;globex&#x27; yet" in answer.content.decode()
    assert not Invocation.objects.filter(status="pending", connection="acme").exists()


def test_a_link_that_is_unlinked_on_its_page_leads_to_the_list(
    delivered: Deal, admin_client: Client
) -> None:
    link = RecordLink.objects.get()
    named = {"connection": "acme", "crm_object": "opportunity", "record_id": link.record_id}
    answer = admin_client.post(page_of(link, "crm_unlink"), named, headers=HTMX)
    assert answer.headers["HX-Redirect"] == LINKS
    assert "Unlinked from Opportunity:00001" in admin_client.get(LINKS).content.decode()
    assert not RecordLink.objects.exists()


def test_a_link_whose_row_is_gone_can_still_be_unlinked(
    delivered: Deal, admin_client: Client
) -> None:
    with xkit_crm.muted():
        delivered.delete()
    link = RecordLink.objects.get()
    panel = admin_client.get(page_of(link)).content.decode().partition('id="crm-records"')[2]
    assert "The row was deleted" in panel
    assert "get_connections" not in panel
    assert "Sync now" not in panel
    named = {"connection": "acme", "crm_object": "opportunity", "record_id": link.record_id}
    admin_client.post(page_of(link, "crm_unlink"), named)
    assert not RecordLink.objects.exists()


def adding(deal: Deal, record_id: str) -> dict[str, object]:
    """What the form for a new link is filled in with."""
    return {
        "connection": "acme",
        "crm_object": CRMObject.objects.get(slug="opportunity").pk,
        "content_type": ContentType.objects.get_for_model(Deal).pk,
        "object_pk": deal.pk,
        "record_id": record_id,
    }


def test_a_link_is_added_by_the_layer_that_makes_links(
    sandbox: Connection, deal: Deal, admin_client: Client
) -> None:
    theirs = records.create_record(Org.objects.get(slug="acme"), "Opportunity", {"Name": "x"}).ref
    told: list[bool] = []

    def on_linked(created: bool, **_: object) -> None:
        told.append(created)

    record_linked.connect(on_linked)
    with TestCase.captureOnCommitCallbacks(execute=True):
        admin_client.post(f"{LINKS}add/", adding(deal, f" {theirs} "))
    link = RecordLink.objects.get()
    assert (link.record_id, link.object_pk, told) == (str(theirs), str(deal.pk), [True])
    assert LogEntry.objects.get().object_id == str(link.pk)


@pytest.mark.parametrize(
    ("record_id", "told"),
    [
        ("Opportunity:00099", "doesn't exist in the CRM"),
        ("Contact:00001", "Opportunity"),
        ("Opportunity:00001", "is linked to deal"),
    ],
)
def test_a_link_is_added_to_a_free_record_of_the_customer_s_only(
    record_id: str, told: str, delivered: Deal, admin_client: Client
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=delivered.customer)
    page = admin_client.post(f"{LINKS}add/", adding(deal, record_id))
    (error,) = page.context["adminform"].form.errors["record_id"]
    assert told in error
    assert RecordLink.objects.count() == 1


def test_a_link_is_added_of_a_row_of_a_bound_model_only(
    sandbox: Connection, admin_client: Client
) -> None:
    form = admin_client.get(f"{LINKS}add/").context["adminform"].form
    offered = {one.model_class() for one in form.fields["content_type"].queryset}
    assert Deal in offered
    assert not offered & {Plain, LogEntry, Invocation}


def test_a_link_is_changed_in_its_panel_and_not_by_a_form(
    delivered: Deal, admin_client: Client
) -> None:
    link = RecordLink.objects.get()
    answer = admin_client.post(page_of(link), {"record_id": "Opportunity:00009"})
    assert answer.status_code == 403
    link.refresh_from_db()
    assert link.record_id == "Opportunity:00001"


@pytest.mark.parametrize("text", ["Opportunity:00001", "00001", " acme ", "{pk}"])
def test_a_link_is_found_by_its_record_its_row_or_its_connection(
    delivered: Deal, admin_client: Client, text: str
) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    xkit_crm.link(Plain.objects.create(pk=77), "globex", "Deal:5", crm_object="opportunity")
    assert listed(admin_client, q=text.format(pk=delivered.pk)) == {"Opportunity:00001"}
    assert listed(admin_client, q="pportunity") == set()


def test_links_are_filtered_by_object_model_and_connection(
    delivered: Deal, admin_client: Client
) -> None:
    twin = Twin.objects.create(title="x", connection_id="acme")
    deliver()
    content_type = ContentType.objects.get_for_model(twin)
    assert listed(admin_client, model=str(content_type.pk)) == {"Opportunity:00002"}
    assert len(listed(admin_client, connection__id__exact="acme")) == 2
    contact = CRMObject.objects.get(slug="contact")
    assert listed(admin_client, crm_object__id__exact=str(contact.pk)) == set()


def test_the_list_counts_no_further_than_anybody_leafs(
    delivered: Deal, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_links, "COUNTED", 3)
    for number in range(5):
        plain = Plain.objects.create(title=str(number))
        xkit_crm.link(plain, "acme", f"Deal:{number}", crm_object="opportunity")
    with CaptureQueriesContext(database) as captured:
        response = admin_client.get(LINKS)
    assert response.context["cl"].result_count == 3
    on_links = [q["sql"] for q in captured if RecordLink._meta.db_table in q["sql"]]
    assert on_links
    assert not any("COUNT(" in sql or "DISTINCT" in sql for sql in on_links)
    assert len(captured) <= 15
