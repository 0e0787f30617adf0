"""The overview as a person sees it: in nobody's way, on a phone, and where to go from it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from example_project.documents.models import Workspace
from tests.browser.barriers import barriers
from tests.factories import ConnectionFactory, TallyFactory
from xkit_crm.models import Lane

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ALL = "/admin/xkit_crm/connection/overview/"


@pytest.fixture
def busy(workspace: Workspace) -> None:
    """A day of two customers, one of whose CRMs doesn't answer."""
    now = timezone.now().replace(second=0, microsecond=0)
    for name in ("acme", "globex"):
        connection = ConnectionFactory.create(id=name, context=f"workspace of {name}")
        Lane.objects.create(connection=connection, quota=1000, quota_left=730)
        for hour in range(24):
            at = now - timedelta(hours=hour)
            for bucket, share in ((6 + hour % 2, 9), (8, 4 + hour % 5), (10 + hour % 3, 1)):
                count = share * (3 + abs(12 - hour))
                TallyFactory.create(connection_id=name, at=at, count=count, bucket=bucket)
            TallyFactory.create(
                connection_id=name, at=at, status="superseded", outcome="", code="", count=5
            )
    TallyFactory.create(connection_id="acme", at=now, status="failed", count=4)
    rejected = {"status": "pending", "outcome": "failed", "code": "rate_limited"}
    TallyFactory.create(connection_id="globex", at=now, count=3, **rejected)
    later = now + timedelta(minutes=5)
    Lane.objects.filter(pk="acme").update(paused_until=later, failures=7, call_seconds=0.42)


def test_it_is_in_nobodys_way(operator: Page, busy: None) -> None:
    """With the tables open; and it fits on a phone."""
    for width in (1280, 390):
        operator.set_viewport_size({"width": width, "height": 844})
        for url in (ALL, f"{ALL}?show=all&range=7d", f"{ALL}../acme/overview/"):
            operator.goto(url)
            for summary in operator.get_by_text("As a table").all():
                summary.click()
            assert barriers(operator, "#main") == [], (url, width)
            assert operator.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_an_operator_finds_who_is_in_trouble_and_why(operator: Page, busy: None) -> None:
    operator.goto("/admin/xkit_crm/")
    operator.get_by_role("navigation", name="CRM sync").get_by_text("Overview").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Overview")
    row = operator.get_by_role("row", name="acme")
    expect(row).to_contain_text("the CRM doesn't answer")
    expect(row.get_by_role("cell").nth(3)).to_have_text("4")
    expect(operator.get_by_role("row", name="globex")).to_have_count(0)
    row.get_by_role("link").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text("Overview of acme")
    expect(operator.get_by_role("row", name="The last call took")).to_contain_text("420 ms")
    operator.get_by_role("link", name="1h").click()
    expect(operator.get_by_role("link", name="1h")).to_have_attribute("aria-current", "true")
    operator.get_by_text("As a table").first.click()
    expect(operator.get_by_role("cell", name="4", exact=True).first).to_be_visible()
    operator.get_by_role("link", name="crm_unavailable").click()
    expect(operator).to_have_url(re.compile("/invocation/.*error=crm_unavailable.*=acme"))


def test_it_needs_no_script_and_no_style_of_its_own(operator: Page, busy: None) -> None:
    operator.goto(ALL)
    page = operator.locator(".xkit-page")
    assert page.locator("script, style, [style], [onclick]").count() == 0
    expect(page.locator("svg rect").first).to_be_attached()
