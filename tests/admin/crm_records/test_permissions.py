"""Who may see and do what in the panel."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

import xkit_crm
from tests.admin.crm_records.conftest import Staff
from tests.admin.crm_records.pages import HTMX, address, press, search, shown
from tests.delivery.conftest import act
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]


def test_who_may_not_look_at_record_links_sees_no_panel(
    delivered: Deal, client: Client, staff: Staff
) -> None:
    staff(looks_at=("deal",))
    page = client.get(address("change", delivered))
    assert page.status_code == 200
    assert "crm-records" not in page.content.decode()
    assert client.get(address("crm_records", delivered), headers=HTMX).status_code == 403


def test_who_may_only_look_has_no_buttons_and_sees_no_values(
    delivered: Deal, client: Client, staff: Staff, theirs: str
) -> None:
    staff()
    panel = shown(client, delivered)
    assert "Opportunity:00001" in panel
    for button in ("Sync now", "Unlink", "Link to"):
        assert button not in panel
    assert "Sales &lt;b&gt;" not in panel
    assert "permission to see payloads" in panel
    for name in ("sync", "unlink", "link"):
        assert press(client, name, delivered, record_id=theirs).status_code == 403
    named = {"connection": "acme", "crm_object": "opportunity", "q": "Theirs"}
    assert client.get(address("crm_search", delivered), named).status_code == 403
    assert RecordLink.objects.get().record_id == "Opportunity:00001"
    assert not Invocation.objects.filter(status="pending").exists()


def test_what_the_products_code_says_of_a_row_is_for_who_may_see_payloads(
    delivered: Deal, client: Client, staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deal, "customer", property(lambda self: {}[self.title]))
    here = address("crm_records", delivered)
    user = staff()
    panel = client.get(here, headers=HTMX).content.decode()
    assert "The product can’t tell where this row goes." in panel
    assert "Sales &lt;b&gt;" not in panel
    user.user_permissions.add(Permission.objects.get(codename=SEE_PAYLOADS.rpartition(".")[2]))
    panel = client.get(here, headers=HTMX).content.decode()
    assert "get_connections fails: KeyError: &#x27;Sales &lt;b&gt;" in panel


def test_an_operator_who_may_not_see_payloads_finds_ids_and_no_values(
    delivered: Deal, client: Client, staff: Staff, theirs: str
) -> None:
    staff(OPERATE)
    panel = shown(client, delivered)
    assert "Sync now" in panel
    assert "Sales &lt;b&gt;" not in panel
    found = search(client, delivered, "theirs")
    assert theirs in found
    assert "script" not in found
    assert "Only ids" in found


def test_an_error_without_the_permission_to_see_payloads_is_its_code(
    sandbox: Connection, customer: Customer, client: Client, staff: Staff
) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": None}])
    deal = DealFactory.create(customer=customer)
    deliver()
    user = staff()
    panel = shown(client, deal)
    assert "rejected_by_crm" in panel
    assert "The CRM refused" not in panel
    user.user_permissions.add(Permission.objects.get(codename=SEE_PAYLOADS.rpartition(".")[2]))
    assert "The CRM refused" in shown(client, deal)


def test_a_row_that_one_may_not_see_in_its_admin_is_not_there(
    delivered: Deal, client: Client, staff: Staff, theirs: str
) -> None:
    staff(OPERATE, SEE_PAYLOADS)
    Deal.objects.update(note="secret")
    assert client.get(address("crm_records", delivered), headers=HTMX).status_code == 404
    for name in ("sync", "unlink", "link"):
        assert press(client, name, delivered, record_id=theirs).status_code == 404


def test_who_may_not_see_the_model_sees_nothing_of_its_records(
    delivered: Deal, client: Client, staff: Staff
) -> None:
    staff(OPERATE, SEE_PAYLOADS, looks_at=("recordlink",))
    assert client.get(address("crm_records", delivered), headers=HTMX).status_code == 403
    assert press(client, "sync", delivered).status_code == 403


def test_nobody_is_led_to_the_login(delivered: Deal, client: Client) -> None:
    assert press(client, "sync", delivered).status_code == 302
    assert not Invocation.objects.filter(status="pending").exists()


def test_what_changes_something_is_posted_with_a_token(delivered: Deal, client: Client) -> None:
    User.objects.create_superuser("operator", password="x")
    strict = Client(enforce_csrf_checks=True)
    strict.login(username="operator", password="x")
    for name in ("sync", "unlink", "link"):
        assert strict.get(address(f"crm_{name}", delivered)).status_code == 405
        assert press(strict, name, delivered).status_code == 403


def test_a_connection_that_the_row_has_nothing_to_do_with_is_not_there(
    delivered: Deal, admin_client: Client
) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    for name in ("sync", "unlink", "link"):
        assert press(admin_client, name, delivered, connection="globex").status_code == 404
        assert press(admin_client, name, delivered, crm_object="contact").status_code == 404
        assert press(admin_client, name, delivered, connection="").status_code == 404
    named = {"connection": "globex", "crm_object": "opportunity", "q": "x"}
    assert admin_client.get(address("crm_search", delivered), named).status_code == 404
