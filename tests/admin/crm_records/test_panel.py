"""The panel on a product's own page."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from tests.admin.crm_records.pages import address, press, search, shown
from tests.delivery.conftest import act
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain
from tests.products.site import DealAdmin
from xkit_crm.models import Connection
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]


def test_a_rows_records_are_shown_below_its_form_whatever_template_it_has(
    delivered: Deal, admin_client: Client
) -> None:
    page = admin_client.get(address("change", delivered)).content.decode()
    assert "The product's own words." in page
    assert page.index('name="title"') < page.index('id="crm-records"')
    panel = shown(admin_client, delivered)
    assert "/acme/Opportunity:00001/" in panel
    assert "Sandbox CRM" in panel
    assert "in the CRM" in panel
    assert "Deal Created" in panel


def test_what_was_written_is_shown_and_escaped(delivered: Deal, admin_client: Client) -> None:
    panel = shown(admin_client, delivered)
    assert "Sales &lt;b&gt;contract&lt;/b&gt;" in panel
    assert "<b>contract" not in panel


def test_what_is_not_of_the_pages_language_stands_apart(
    delivered: Deal, admin_client: Client
) -> None:
    panel = shown(admin_client, delivered)
    for text in ("Opportunity:00001", "acme", "Sandbox CRM", "Name", "Sales &lt;b&gt;"):
        assert f"<bdi>{text}" in panel


@pytest.mark.urls("tests.products.site")
def test_a_site_of_the_products_own_is_enough(
    delivered: Deal, admin_client: Client, theirs: str
) -> None:
    panel = shown(admin_client, delivered)
    assert "Opportunity:00001" in panel
    assert "/admin/" not in panel
    assert theirs in search(admin_client, delivered, "theirs")
    assert "1 event is queued." in press(admin_client, "sync", delivered).content.decode()


def test_the_form_still_saves_and_a_new_row_has_no_panel(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    add = reverse("backoffice:products_deal_add")
    assert "crm-records" not in admin_client.get(add).content.decode()
    form = {"customer": customer.pk, "title": "New", "amount": "1"}
    admin_client.post(add, form)
    deal = Deal.objects.get()
    admin_client.post(address("change", deal), {**form, "title": "Newer"})
    deal.refresh_from_db()
    assert deal.title == "Newer"
    popup = admin_client.get(address("change", deal), {"_popup": "1"}).content.decode()
    assert "crm-records" not in popup


def test_a_form_with_a_mistake_is_shown_again_with_the_panel(
    delivered: Deal, admin_client: Client
) -> None:
    page = admin_client.post(address("change", delivered), {"title": ""}).content.decode()
    assert "errorlist" in page
    assert "Opportunity:00001" in page


def test_a_proxys_page_shows_the_records_of_its_row(delivered: Deal, admin_client: Client) -> None:
    assert "Opportunity:00001" in shown(admin_client, delivered, model="dealproxy")


def test_a_row_that_nothing_is_bound_to_says_so(sandbox: Connection, admin_client: Client) -> None:
    plain = Plain.objects.create(title="x")
    assert "This goes to no CRM." in shown(admin_client, plain, model="plain")


def test_a_failure_is_told_with_the_crms_words(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": None}])
    deal = DealFactory.create(customer=customer)
    deliver()
    panel = shown(admin_client, deal)
    assert "needs attention" in panel
    assert "The CRM refused the Opportunity." in panel
    assert "Opportunity Name is required." in panel


def test_what_waits_and_why_is_told(delivered: Deal, admin_client: Client) -> None:
    delivered.title = "Renamed"
    delivered.save()
    panel = shown(admin_client, delivered)
    assert "1 event waits." in panel
    assert "hx-trigger" in panel.partition('id="crm-records-look"')[2]
    Connection.objects.update(status=ConnectionStatus.ERRORED, status_reason="401 <b>")
    panel = shown(admin_client, delivered)
    assert "It goes on once the connection is enabled." in panel
    assert "errored: must be authorised again" in panel
    assert "hx-trigger" not in panel.partition('id="crm-records-look"')[2]
    assert "Sync now" not in panel


def test_the_panel_costs_the_same_queries_however_much_there_is(
    sandbox: Connection,
    customer: Customer,
    admin_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def queries() -> int:
        admin_client.get(address("change", deal))
        with CaptureQueriesContext(database) as captured:
            assert admin_client.get(address("change", deal)).status_code == 200
        return len(captured)

    deal = DealFactory.create(customer=customer)
    deliver()
    few = queries()
    for number in range(12):
        deal.title = f"Title {number}"
        deal.save()
        deliver()
        name = f"more-{number}"
        xkit_crm.connect(name, provider="sandbox")
        xkit_crm.link(deal, name, f"Opportunity:{number}")
    assert queries() == few
    monkeypatch.setattr(DealAdmin, "crm_row_of", lambda self, obj: None)
    assert few - queries() <= 10
