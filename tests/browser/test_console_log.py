"""The log, by what an operator sees and does: find why something failed, mend it, send it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from playwright.sync_api import Page, expect

import xkit_crm
from tests.browser.conftest import follow, log_in
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer
from xkit_crm.models import Connection, EventAction, Invocation
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def broken(sandbox: Connection, customer: Customer) -> EventAction:
    """A mapping that writes too much, and three rows that the CRM refused for it."""
    action = EventAction.objects.get(event__slug="deal_created")
    action.transformations = [{"field": "Name", "kind": "static", "value": "x" * 200}]
    action.save()
    for title in ("Apple", "Banana", "Cherry"):
        DealFactory.create(customer=customer, title=title)
    deliver()
    return action


def mend(operator: Page) -> None:
    """Have the mapping write the name instead, on its page."""
    operator.locator('[name="rjf§0§kind"]').select_option("direct")
    operator.locator('[name="rjf§0§key"]').fill("name")
    operator.locator("[name=_save]").click()
    expect(operator.get_by_text("was changed successfully")).to_be_visible()


def records() -> list[str]:
    """What the rows are linked to by now."""
    from tests.products.models import Deal

    return sorted(link.record_id for deal in Deal.objects.all() for link in xkit_crm.links(deal))


def test_a_failure_is_found_by_its_cause_mended_and_replayed(
    broken: EventAction, operator: Page
) -> None:
    operator.goto("/admin/xkit_crm/")
    operator.locator(".xkit-navigation").get_by_role("link", name="Failures").click()
    cause = operator.get_by_role("article")
    expect(cause.get_by_role("heading")).to_contain_text("3 × ")
    expect(cause.get_by_role("heading")).to_contain_text("data value too large")
    cause.get_by_role("link", name="The newest").click()
    expect(operator.get_by_text("What to do")).to_be_visible()
    expect(operator.get_by_text("Try 1: create Opportunity")).to_be_visible()
    operator.go_back()
    follow(cause.get_by_role("link", name="Its mapping"))
    mend(operator)
    operator.goto(reverse("admin:xkit_crm_failures"))
    cause.get_by_role("link", name="The newest").click()
    operator.get_by_role("link", name="Replay…").click()
    expect(operator.get_by_role("cell", name="Cherry").first).to_be_visible()
    expect(operator.get_by_text("(differs)").first).to_be_visible()
    operator.get_by_role("button", name="Replay").click()
    expect(operator.get_by_text("1 invocation is queued again.")).to_be_visible()
    deliver()
    operator.reload()
    expect(operator.locator("h2 .xkit-status-succeeded")).to_be_visible()
    expect(operator.get_by_text("operator: Replayed with its row of now.")).to_be_visible()
    assert records() == ["Opportunity:00001"]


def test_all_that_match_are_replayed(broken: EventAction, operator: Page) -> None:
    broken.transformations = [{"field": "Name", "kind": "direct", "key": "name"}]
    broken.save()
    operator.goto(reverse("admin:xkit_crm_invocation_changelist"))
    operator.get_by_label("Status").select_option("failed or unknown")
    operator.get_by_label("Connection").fill("acme")
    operator.get_by_role("button", name="Show").click()
    operator.get_by_role("link", name="Replay all that match…").click()
    expect(operator.get_by_text("status: trouble, connection: acme")).to_be_visible()
    expect(operator.locator("dd strong")).to_have_text("3")
    operator.get_by_role("button", name="Replay all that match").click()
    expect(operator.get_by_text("3 invocations are queued again.")).to_be_visible()
    deliver()
    operator.goto(reverse("admin:xkit_crm_failures"))
    expect(operator.get_by_text("Nothing failed, and nothing is unknown.")).to_be_visible()
    assert len(records()) == 3


def test_a_log_is_read_page_by_page_and_searched(sandbox: Connection, operator: Page) -> None:
    InvocationFactory.create_batch(60, connection=sandbox)
    wanted = InvocationFactory.create(connection=sandbox, record_id="Opportunity:09876")
    InvocationFactory.create_batch(60, connection=sandbox)
    operator.goto(reverse("admin:xkit_crm_invocation_changelist"))
    rows = operator.locator("#result_list .action-select")
    expect(rows).to_have_count(50)
    operator.get_by_role("link", name="Older").click()
    operator.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(21)
    operator.get_by_role("link", name="Newer").click()
    expect(rows).to_have_count(50)
    operator.get_by_label("Find").fill("Opportunity:098")
    operator.get_by_label("Find").press("Enter")
    expect(rows).to_have_count(1)
    operator.locator("#result_list th a").click()
    expect(operator.get_by_text(str(wanted.uuid))).to_be_visible()


@pytest.fixture
def looker(page: Page, transactional_db: None) -> Callable[[], Page]:
    """Somebody who may look at the log, and do nothing about it."""

    def enter() -> Page:
        user = User.objects.create_user("looker", password="right", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename="view_invocation"))
        return log_in(page, "looker")

    return enter


def test_who_may_only_look_sees_no_payload_and_no_button(
    broken: EventAction, looker: Callable[[], Page]
) -> None:
    failed: Any = Invocation.objects.filter(status="failed").first()
    page = looker()
    page.goto(reverse("admin:xkit_crm_invocation_change", args=[failed.pk]))
    expect(page.get_by_text("hidden: needs the permission").first).to_be_visible()
    expect(page.get_by_text("Cherry")).to_have_count(0)
    expect(page.get_by_role("link", name="Replay")).to_have_count(0)
    for screen in (reverse("admin:xkit_crm_failures"), "/admin/xkit_crm/invocation/?status=failed"):
        page.goto(screen)
        expect(page.get_by_text("data value too large").first).to_be_visible()
        expect(page.get_by_role("link", name="Replay all")).to_have_count(0)
    answer = page.request.get(reverse("admin:xkit_crm_invocation_replay", args=[failed.pk]))
    assert answer.status == 403
