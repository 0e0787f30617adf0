"""One operator's day: from defining an object to mending what failed, in one sitting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

import xkit_crm
from example_project.documents.models import Workspace
from tests.browser.conftest import follow
from tests.browser.test_console_bindings import choose
from tests.browser.test_console_definitions import add_key, save
from xkit_crm.models import ModelBinding
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def connected(transactional_db: None) -> Iterator[None]:
    """A customer whose CRM is connected, before anything is defined."""
    xkit_crm.connect("acme", provider="sandbox")
    yield
    ModelBinding.objects.all().delete()


def define(operator: Page) -> None:
    operator.goto(reverse("admin:app_list", args=["xkit_crm"]))
    follow(operator.get_by_role("link", name="Add: CRM objects"))
    the_object = operator.locator(".xkit-of-crmobject")
    the_object.get_by_label("Label").first.fill("Account")
    card = operator.locator(".xkit-events .xkit-definition").first
    card.get_by_label("Label").first.fill("Account opened")
    card.locator("[name$=type]").select_option("create")
    add_key(card, "name", label="Account name")
    save(operator)
    expect(operator.get_by_text("was added successfully")).to_be_visible()


def decide(operator: Page) -> None:
    """Have the customer's mapping proposed for the new object."""
    operator.goto(reverse("admin:xkit_crm_connection_changelist"))
    operator.locator("#result_list .action-select").check()
    operator.locator("select[name=action]").select_option("propose")
    operator.get_by_role("button", name="Go").click()


def bind(operator: Page) -> None:
    operator.goto(reverse("admin:xkit_crm_modelbinding_add"))
    choose(operator, "Model *", "Workspace")
    choose(operator, "CRM object *", "Account · account")
    save(operator)
    expect(operator.get_by_text("was added successfully")).to_be_visible()


def add_workspace(operator: Page, name: str) -> None:
    """Save a row in the product's own admin, and let the worker have its turn."""
    operator.goto(reverse("admin:documents_workspace_add"))
    operator.get_by_label("Name:").fill(name)
    operator.get_by_label("Crm connection id:").fill("acme")
    save(operator)
    expect(operator.get_by_text("was added successfully")).to_be_visible()
    deliver()


def write(operator: Page, kind: str, box: str, value: str) -> None:
    """Change what the mapping writes into the first field, on the page of the event action."""
    operator.locator('[name="rjf§0§kind"]').select_option(kind)
    operator.locator(f'[name="rjf§0§{box}"]').fill(value)
    save(operator)
    expect(operator.get_by_text("was changed successfully")).to_be_visible()


def in_the_crm(operator: Page, name: str) -> bool:
    operator.goto(reverse("admin:xkit_sandbox_record_changelist"))
    return operator.locator("#result_list").get_by_text(name).count() > 0


def test_from_nothing_to_a_record_to_a_failure_that_is_mended(
    connected: None, operator: Page
) -> None:
    define(operator)
    decide(operator)
    bind(operator)
    add_workspace(operator, "Initech")
    assert in_the_crm(operator, "Initech")

    operator.goto(reverse("admin:xkit_crm_eventaction_changelist"))
    follow(operator.locator("#result_list tbody th a").first)
    write(operator, "static", "value", "x" * 300)
    add_workspace(operator, "Globex")
    assert not in_the_crm(operator, "Globex")

    operator.goto(reverse("admin:xkit_crm_overview"))
    operator.get_by_role("link", name="Failures", exact=True).first.click()
    cause = operator.get_by_role("article")
    expect(cause.get_by_role("heading")).to_contain_text("data value too large")
    follow(cause.get_by_role("link", name="Its mapping"))
    write(operator, "direct", "key", "name")

    operator.goto(reverse("admin:xkit_crm_failures"))
    cause.get_by_role("link", name="The newest").click()
    operator.get_by_role("link", name="Replay…").click()
    expect(operator.get_by_role("cell", name="Globex").first).to_be_visible()
    operator.get_by_role("button", name="Replay").click()
    deliver()
    operator.reload()
    expect(operator.locator(".xkit-status-succeeded").first).to_be_visible()
    assert in_the_crm(operator, "Globex")
    globex = Workspace.objects.get(name="Globex")
    assert xkit_crm.links(globex).count() == 1
