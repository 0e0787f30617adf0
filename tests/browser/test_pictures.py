"""The pictures of the guides, taken anew: `XKIT_PICTURES=docs/images pytest -m "" <this file>`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

import xkit_crm
from example_project.documents.models import Document, Workspace
from tests.browser.link import connected, decide_the_rest, go_to, on, opened, pick, saved
from tests.browser.test_console_bindings import choose as choose_in_binding
from tests.browser.test_overview import ALL, busy
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm.models import Connection, EventAction, EventDefinition, Invocation
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.testing import deliver

__all__ = ["busy"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_pages_that_the_guide_for_customers_shows(
    page: Page, workspace: Workspace, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("XKIT_PICTURES", tmp_path))

    def take(name: str) -> None:
        page.wait_for_timeout(300)  # for what moves
        page.locator("iframe[title='CRM Link']").screenshot(path=folder / f"link-{name}.png")
        assert (folder / f"link-{name}.png").stat().st_size > 5_000

    Document.objects.create(workspace=workspace, title="Lease of the second floor")
    frame = opened(page, workspace)
    connected(frame)
    take("overview")
    frame.locator(".step-head", has_text="Opportunity").click()
    frame.get_by_role("link", name="Change").first.click()
    expect(frame.locator("#objects")).to_be_visible()
    take("object")
    frame.locator("a.back").click()
    expect(frame.locator("#objects")).to_have_count(0)
    go_to(frame, "Create Opportunity")
    pick(frame, "Document Status", "stage", "Stage")
    take("event")
    saved(frame)
    on(frame, "Continue")
    decide_the_rest(frame)
    frame.get_by_role("link", name="Review and confirm").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Review")
    take("review")
    frame.get_by_role("link", name="Create Opportunity", exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_contain_text("Preview")
    take("preview")


def test_the_page_that_the_guide_to_watching_shows(
    operator: Page, busy: None, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("XKIT_PICTURES", tmp_path))
    operator.goto(f"{ALL}?show=all")
    expect(operator.get_by_role("row", name="globex")).to_be_visible()
    operator.locator("#content").screenshot(path=folder / "overview.png")
    assert (folder / "overview.png").stat().st_size > 20_000


def test_the_panel_of_a_rows_crm_records(
    operator: Page, workspace: Workspace, tmp_path: Path
) -> None:
    picture = Path(os.environ.get("XKIT_PICTURES", tmp_path)) / "record-links.png"
    xkit_crm.connect("initech", provider="sandbox", context=workspace.context)
    Workspace.objects.update(crm_connection_id="initech")
    workspace.refresh_from_db()
    org = Org.objects.get(slug="initech")
    for name in ("Lease of the first floor", "Lease of the parking lot"):
        records.create_record(org, "Opportunity", {"Name": name, "Amount": 1200})
    document = Document.objects.create(workspace=workspace, title="Lease of the second floor")
    deliver()
    document.value = 1800
    document.save()
    deliver()
    operator.set_viewport_size({"width": 1100, "height": 1300})
    operator.goto(f"/admin/documents/document/{document.pk}/change/")
    panel = operator.locator("#crm-records")
    panel.get_by_text("Link to another record").click()
    panel.get_by_role("searchbox").fill("lease")
    expect(panel.locator(".xkit-crm-found li")).to_have_count(3)
    operator.locator("#content").screenshot(path=picture)
    assert picture.stat().st_size > 5_000


def test_the_log_as_the_guide_for_operators_shows_it(
    sandbox: Connection, customer: Customer, operator: Page, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("XKIT_PICTURES", tmp_path))

    def take(name: str, address: str) -> None:
        operator.goto(address)
        operator.wait_for_timeout(300)  # for what moves
        operator.locator("#content").screenshot(path=folder / f"console-{name}.png")
        assert (folder / f"console-{name}.png").stat().st_size > 5_000

    action = EventAction.objects.get(event__slug="deal_created")
    mapped = action.transformations
    action.transformations = [
        {"field": "Name", "kind": "direct", "key": "name"},
        {"field": "Amount", "kind": "static", "value": 10**20},
    ]
    action.save()
    for title in ("Lease of the second floor", "Sale of the boat", "Rent of the hall"):
        DealFactory.create(customer=customer, title=title)
    deliver()
    action.transformations = mapped
    action.save()
    failed = Invocation.objects.latest("pk")
    take("failures", reverse("admin:xkit_crm_failures"))
    take("invocation", reverse("admin:xkit_crm_invocation_change", args=[failed.pk]))
    take("replay", reverse("admin:xkit_crm_invocation_replay", args=[failed.pk]))


def test_the_screen_that_the_guide_to_definitions_shows(
    operator: Page, workspace: Workspace, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("XKIT_PICTURES", tmp_path))
    for name in ("acme", "globex", "initech"):
        xkit_crm.connect(name, provider="sandbox", context=name)
    event = EventDefinition.objects.get(slug="create_opportunity")
    operator.goto(reverse("admin:xkit_crm_eventdefinition_change", args=[event.pk]))
    operator.get_by_role("group", name="status", exact=True).get_by_text("More").click()
    amount = operator.get_by_role("group", name="amount", exact=True)
    amount.get_by_role("button", name="Remove").click()
    expect(operator.get_by_text("what it feeds is no longer written")).to_be_visible()
    operator.locator(".xkit-definition").screenshot(path=folder / "console-event.png")
    assert (folder / "console-event.png").stat().st_size > 5_000


def test_binding_and_trying_as_the_guide_to_the_console_shows_them(
    operator: Page, workspace: Workspace, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("XKIT_PICTURES", tmp_path))
    xkit_crm.connect("initech", provider="sandbox", context=workspace.context)
    Workspace.objects.update(crm_connection_id="initech")

    def take(name: str) -> None:
        operator.locator("#content").screenshot(path=folder / f"console-{name}.png")
        assert (folder / f"console-{name}.png").stat().st_size > 5_000

    operator.goto(reverse("admin:xkit_crm_modelbinding_add"))
    choose_in_binding(operator, "Model *", "Workspace")
    choose_in_binding(operator, "CRM object *", "Contact · contact")
    expect(operator.get_by_role("complementary", name="Preview")).to_contain_text("Initech")
    take("binding")
    query = "?connection=initech&event=opportunity.create_opportunity&from=sample"
    operator.goto(reverse("admin:xkit_crm_invocation_try_fill") + query)
    operator.get_by_role("button", name="Look at what would be sent").click()
    expect(operator.get_by_role("heading", name="would be made")).to_be_visible()
    take("try")
