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
from xkit_crm.models import EventDefinition

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
    operator.locator(".xkit-card").screenshot(path=folder / "console-event.png")
    assert (folder / "console-event.png").stat().st_size > 5_000
