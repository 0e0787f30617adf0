"""Signing in at a vendor's in a window of its own, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from example_project.documents.models import Workspace
from tests.browser.link import confirm, decide_the_rest, opened
from tests.providers.vendors import at_work
from xkit_crm.models import Connection
from xkit_crm.testing import deliver
from xkit_crm.testing.fakes.hubspot import HubSpotFake

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def crm(settings: Any) -> Iterator[HubSpotFake]:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "LINK_CRMS": ["hubspot"]}
    with at_work(HubSpotFake(), "hubspot", settings) as fake:
        yield fake


def test_who_signs_in_comes_back_and_what_they_save_arrives(
    page: Page, workspace: Workspace, crm: HubSpotFake
) -> None:
    frame = opened(page, workspace)
    expect(frame.get_by_role("heading", level=1)).to_have_text("Connect HubSpot")
    with page.expect_popup() as opening:
        frame.get_by_role("link", name="Sign in to HubSpot").click()
    vendor = opening.value
    vendor.get_by_role("link", name="Allow").click()
    expect(vendor.get_by_role("heading", level=1)).to_have_text("You are signed in")
    expect(frame.get_by_role("heading", level=1)).to_have_text("What happens in your HubSpot")
    decide_the_rest(frame)
    confirm(frame, page)
    page.fill("#id_title", "Lease")
    page.get_by_role("button", name="Add").click()
    assert deliver() >= 1
    assert Connection.objects.get().provider == "hubspot"
    made = [r for kind in crm.records.values() for r in kind.values()]
    assert any("Lease" in r["properties"].values() for r in made)


def test_who_says_no_finds_the_page_as_they_left_it(
    page: Page, workspace: Workspace, crm: HubSpotFake
) -> None:
    frame = opened(page, workspace)
    with page.expect_popup() as opening:
        frame.get_by_role("link", name="Sign in to HubSpot").click()
    opening.value.get_by_role("link", name="Deny").click()
    expect(opening.value.get_by_role("alert").first).to_contain_text("You did not let us in")
    expect(frame.get_by_role("link", name="Sign in to HubSpot")).to_be_visible()
    assert not Connection.objects.exists()
