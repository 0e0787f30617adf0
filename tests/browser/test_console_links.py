"""A row's CRM records in the product's admin, by what an operator sees and does."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from playwright.sync_api import Locator, Page, Route, expect

import xkit_crm
from example_project.documents.models import Document, Workspace
from tests.browser.barriers import barriers
from xkit_crm.models import Invocation
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: What the page may load where a site is strict.
STRICT = "default-src 'self'; img-src 'self' data:; object-src 'none'"


@pytest.fixture
def document(workspace: Workspace) -> Document:
    """A document that its customer's CRM has, beside records that were there before."""
    cache.clear()
    xkit_crm.connect("initech", provider="sandbox", context=workspace.context)
    org = Org.objects.get(slug="initech")
    for name in ("Lease of the first floor", "Lease <b>from before</b>"):
        records.create_record(org, "Opportunity", {"Name": name, "Amount": 1200})
    Workspace.objects.update(crm_connection_id="initech")
    workspace.refresh_from_db()
    made = Document.objects.create(workspace=workspace, title="Lease of the second floor")
    deliver()
    return made


def opened(page: Page, document: Document) -> Locator:
    """The panel below the document's form."""
    page.goto(f"/admin/documents/document/{document.pk}/change/")
    return page.locator("#crm-records")


def held(number: int) -> dict[str, object]:
    return Record.objects.get(object__name="Opportunity", number=number).values


def test_a_document_is_changed_synced_unlinked_and_linked_to_what_the_customer_had(
    operator: Page, document: Document
) -> None:
    page, panel = operator, opened(operator, document)
    record = panel.get_by_role("link", name="Opportunity:00003")
    expect(record).to_have_attribute("target", "_blank")
    expect(panel.locator(".xkit-crm-values")).to_contain_text("Lease of the second floor")

    # The customer changes the record; the product writes it as it has it.
    record_row = Record.objects.get(object__name="Opportunity", number=3)
    records.update_record(record_row.object.org, record_row.ref, {"Name": "Theirs"})
    page.fill("#id_title", "Not saved yet")
    panel.get_by_role("button", name="Sync now").click()
    expect(panel.locator("#crm-records-note", has_text="1 event is queued.")).to_be_focused()
    expect(panel.get_by_text("waiting to be sent")).to_be_visible()
    expect(page.locator("#id_title")).to_have_value("Not saved yet")
    deliver()
    expect(panel.get_by_text("in the CRM", exact=True)).to_be_visible()  # it looks by itself
    assert held(3)["Name"] == "Lease of the second floor"

    page.fill("#id_title", "Lease, second floor")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(panel.get_by_text("1 event waits.")).to_be_visible()
    deliver()
    expect(panel.locator(".xkit-crm-values")).to_contain_text("Lease, second floor")

    panel.get_by_text("Unlink", exact=True).click()
    expect(panel.get_by_text("Opportunity:00003 stays in the CRM")).to_be_visible()
    panel.get_by_role("button", name="Unlink Opportunity:00003").click()
    expect(panel.get_by_text("not in the CRM yet")).to_be_visible()

    panel.get_by_text("Link to an existing record").click()
    panel.get_by_role("searchbox").fill("from before")
    found = panel.locator(".xkit-crm-found li")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("Lease <b>from before</b>")
    expect(found).to_contain_text("Amount: 1200")
    found.get_by_role("button", name="Link to Opportunity:00002").click()
    expect(panel.get_by_text("Linked to Opportunity:00002.")).to_be_visible()
    panel.get_by_role("button", name="Sync now").click()
    expect(panel.get_by_text("1 event is queued.")).to_be_visible()
    deliver()
    assert held(2)["Name"] == "Lease, second floor"

    page.goto(f"/admin/documents/document/{document.pk}/history/")
    for told in ("Sync with initech now", "Unlinked from Opportunity:00003", "Linked to"):
        expect(page.get_by_text(told).first).to_be_visible()


def test_it_can_be_done_with_the_keyboard_alone(operator: Page, document: Document) -> None:
    page, panel = operator, opened(operator, document)
    panel.get_by_role("button", name="Sync now").focus()
    page.keyboard.press("Tab")
    expect(panel.locator("summary", has_text="Unlink")).to_be_focused()
    page.keyboard.press("Tab")
    expect(panel.locator("summary", has_text="Link to another record")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("first")
    expect(panel.locator(".xkit-crm-found li")).to_have_count(1)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(panel.get_by_role("button", name="Link to Opportunity:00001")).to_be_focused()
    page.keyboard.press("Enter")
    expect(
        panel.locator("#crm-records-note", has_text="Linked to Opportunity:00001.")
    ).to_be_focused()


def test_the_crm_is_asked_when_typing_pauses_and_not_for_every_letter(
    operator: Page, document: Document
) -> None:
    page, panel = operator, opened(operator, document)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    panel.get_by_text("Link to another record").click()
    panel.get_by_role("searchbox").press_sequentially("lease of the first", delay=30)
    expect(panel.locator(".xkit-crm-found li")).to_have_count(1)
    assert len([url for url in asked if "/crm-records/search/" in url]) <= 2


def test_a_crm_that_does_not_answer_leaves_the_page_usable(
    operator: Page, document: Document
) -> None:
    panel = opened(operator, document)
    org = Org.objects.get(slug="initech")
    down = Misbehaviour.objects.create(org=org, kind="unavailable")
    panel.get_by_text("Link to another record").click()
    panel.get_by_role("searchbox").fill("first")
    expect(panel.get_by_role("alert").filter(has_text="it is down")).to_be_visible()
    down.delete()
    panel.get_by_role("button", name="Search").click()
    expect(panel.locator(".xkit-crm-found li")).to_have_count(1)


@pytest.mark.complains
def test_a_button_that_is_not_allowed_any_more_says_so(operator: Page, document: Document) -> None:
    panel = opened(operator, document)
    User.objects.update(is_superuser=False)
    names = ["view_document", "view_recordlink"]
    User.objects.get().user_permissions.set(Permission.objects.filter(codename__in=names))
    panel.get_by_role("button", name="Sync now").click()
    expect(panel.locator("#crm-records-note", has_text="That didn’t work")).to_be_focused()
    assert not Invocation.objects.filter(status="pending").exists()


def test_who_was_logged_out_meanwhile_is_asked_to_log_in(
    operator: Page, document: Document
) -> None:
    panel = opened(operator, document)
    operator.context.clear_cookies(name="sessionid")
    panel.get_by_role("button", name="Sync now").click()
    expect(operator.locator("#id_username")).to_be_visible()
    expect(operator.locator("#crm-records")).to_have_count(0)


def test_it_works_where_nothing_inline_is_allowed(operator: Page, document: Document) -> None:
    page = operator

    def strict(route: Route) -> None:
        response = route.fetch()
        policy = {"content-security-policy": STRICT}
        route.fulfill(response=response, headers={**response.headers, **policy})

    page.route("**/change/", strict)
    panel = opened(page, document)
    panel.get_by_text("Link to another record").click()
    panel.get_by_role("searchbox").fill("first")
    expect(panel.locator(".xkit-crm-found li")).to_have_count(1)
    panel.get_by_role("button", name="Sync now").click()
    expect(panel.get_by_text("1 event is queued.")).to_be_visible()


def test_the_panel_is_in_nobodys_way(operator: Page, document: Document) -> None:
    page = operator
    document.title = "Renamed"
    document.save()
    panel = opened(page, document)
    panel.get_by_text("Unlink", exact=True).click()
    panel.get_by_text("Link to another record").click()
    panel.get_by_role("searchbox").fill("lease")
    expect(panel.locator(".xkit-crm-found li")).to_have_count(3)
    assert barriers(page, "#crm-records") == []
    for language in ("en", "ar"):
        page.set_extra_http_headers({"Accept-Language": language})
        page.set_viewport_size({"width": 390, "height": 844})
        panel = opened(page, document)
        panel.get_by_text("Link to another record").click()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert barriers(page, "#crm-records") == []


def test_a_customers_page_of_the_product_shows_its_records(
    operator: Page, document: Document
) -> None:
    page = operator
    page.goto(f"/workspaces/{document.workspace.pk}/")
    row = page.locator("tr", has_text="Lease of the second floor")
    expect(row.get_by_role("link", name="Opportunity:00003")).to_be_visible()
    row.get_by_role("button", name="Sync now").click()
    page.wait_for_url(f"**/workspaces/{document.workspace.pk}/")
    expect(row.get_by_text("waiting to be sent")).to_be_visible()
    assert barriers(page, ".xkit-record-list") == []
