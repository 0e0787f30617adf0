"""A row's CRM records on its own page in the admin, and the action on many rows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain
from tests.products.site import DealAdmin
from xkit_crm.admin import CRMRecordsMixin
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Misbehaviour, Org
from xkit_crm.sync import existing
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]

Staff = Callable[..., User]
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_search_before(db: None) -> None:
    cache.clear()


@pytest.fixture
def staff(client: Client) -> Staff:
    """Logs somebody in who may look at deals and at record links, and what is named besides."""

    def made(*permissions: str, looks_at: tuple[str, ...] = ("deal", "recordlink")) -> User:
        user = User.objects.create_user("somebody", is_staff=True)
        names = [f"view_{model}" for model in looks_at]
        names += [permission.rpartition(".")[2] for permission in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return user

    return made


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Sales <b>contract</b>")
    deliver()
    return deal


@pytest.fixture
def theirs(sandbox: Connection) -> str:
    """A record that the customer had before us."""
    org = Org.objects.get(slug="acme")
    values = {"Name": "Theirs <script>alert(1)</script>", "Amount": 7}
    return str(records.create_record(org, "Opportunity", values).ref)


def address(name: str, row: Any, *, model: str = "deal") -> str:
    return reverse(f"backoffice:products_{model}_{name}", args=[row.pk])


def shown(client: Client, row: Any, *, model: str = "deal") -> str:
    page = client.get(address("change", row, model=model)).content.decode()
    return page.partition('id="crm-records"')[2].partition("</section>")[0]


def press(client: Client, name: str, row: Any, *, htmx: bool = True, **more: str) -> Any:
    data = {"connection": "acme", "crm_object": "opportunity", **more}
    return client.post(address(f"crm_{name}", row), data, headers=HTMX if htmx else {})


def search(client: Client, row: Any, text: str, **more: str) -> str:
    data = {"connection": "acme", "crm_object": "opportunity", "q": text, **more}
    return client.get(address("crm_search", row), data, headers=HTMX).content.decode()


def log() -> list[tuple[str, str]]:
    entries = LogEntry.objects.order_by("pk")
    return [(entry.object_repr, entry.get_change_message()) for entry in entries]


# -- the panel on a product's page -----------------------------------------------------------------


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


# -- who may do what -------------------------------------------------------------------------------


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


# -- sync now --------------------------------------------------------------------------------------


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


# -- link to an existing record --------------------------------------------------------------------


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


# -- the action ------------------------------------------------------------------------------------


def do(client: Client, *rows: Deal) -> str:
    chosen = {"action": "sync_with_crms", "_selected_action": [row.pk for row in rows]}
    page = client.post(reverse("backoffice:products_deal_changelist"), chosen, follow=True)
    return page.content.decode()


def test_the_selected_rows_are_synced_counted_and_logged(
    delivered: Deal, customer: Customer, admin_client: Client
) -> None:
    second = DealFactory.create(customer=customer)
    with xkit_crm.muted():
        third = DealFactory.create(customer=customer)
    page = do(admin_client, delivered, second, third)
    assert "2 events are queued. On its way already." in page
    assert log() == [("3 deals", "Sync with CRMs now: 3 selected, 2 queued.")]
    deliver()
    assert RecordLink.objects.count() == 3


def test_thousands_of_rows_are_synced_with_few_queries(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        Deal.objects.bulk_create(
            Deal(customer=customer, title=f"Deal {number}") for number in range(1200)
        )
    chosen = {"action": "sync_with_crms", "select_across": "1", "_selected_action": ["1"]}
    with CaptureQueriesContext(database) as queries:
        admin_client.post(reverse("backoffice:products_deal_changelist"), chosen)
    assert Invocation.objects.count() == 1200
    assert len(queries) < 120


def test_the_action_is_there_for_operators_beside_the_admins_own(
    delivered: Deal, client: Client, staff: Staff
) -> None:
    user = staff()
    changelist = reverse("backoffice:products_deal_changelist")
    page = client.get(changelist).content.decode()
    assert 'value="nothing"' in page
    assert "sync_with_crms" not in page
    do(client, delivered)
    assert not Invocation.objects.filter(status="pending").exists()
    user.user_permissions.add(Permission.objects.get(codename="operate"))
    page = client.get(changelist).content.decode()
    assert "Sync with CRMs now" in page
    assert 'value="nothing"' in page


def test_an_admin_that_wants_no_actions_has_none(delivered: Deal, admin_client: Client) -> None:
    page = admin_client.get(reverse("backoffice:products_dealproxy_changelist"))
    assert b"sync_with_crms" not in page.content


def test_an_action_on_rows_that_nothing_is_bound_to_says_so(
    sandbox: Connection, admin_client: Client
) -> None:
    plain = Plain.objects.create(title="x")
    chosen = {"action": "sync_with_crms", "_selected_action": [plain.pk]}
    page = admin_client.post(reverse("backoffice:products_plain_changelist"), chosen, follow=True)
    assert "is bound to no CRM object" in page.content.decode()


def test_a_mixin_in_the_wrong_place_is_refused_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match="in front of ModelAdmin"):
        type("Wrong", (admin.ModelAdmin, CRMRecordsMixin), {})


ORDERED = """
from tests.settings import *

FIRST = "example_project.documents"
INSTALLED_APPS = [FIRST, *(name for name in INSTALLED_APPS if name != FIRST)]
"""
LOADED = """
import django
django.setup()
from django.contrib import admin
from example_project.documents.models import Document
from xkit_crm.models import Invocation, RecordLink
for model in (Document, Invocation, RecordLink):
    assert model in admin.site._registry, model
from django.core.management import call_command
call_command("check")
"""


def test_a_products_admin_may_be_loaded_before_ours(tmp_path: Path) -> None:
    (tmp_path / "ordered.py").write_text(ORDERED)
    root = Path(__file__).parent.parent.parent
    paths = os.pathsep.join([str(tmp_path), str(root)])
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "ordered", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], env=env, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
