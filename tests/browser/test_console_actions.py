"""What an event does in a customer's CRM, by what an operator sees and does."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.delivery.conftest import act
from xkit_crm.models import Connection, EventAction
from xkit_crm.providers.sandbox.models import Flow, Org

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MAPPED = [{"field": "Name", "kind": "direct", "key": "name", "mode": "always"}]


@pytest.fixture
def action(sandbox: Connection) -> EventAction:
    """What creates a deal, in a CRM that has a flow for it too."""
    org = Org.objects.get(slug=sandbox.pk)
    Flow.objects.create(org=org, name="new_deal", label="New deal", inputs=[{"name": "title"}])
    act("deal_created", transformations=MAPPED)
    return EventAction.objects.get(event__slug="deal_created")


@pytest.fixture
def editor(action: EventAction, operator: Page) -> Page:
    operator.goto(reverse("admin:xkit_crm_eventaction_change", args=[action.pk]))
    return operator


def boxes(page: Page) -> list[str]:
    """The boxes of the one transformation that can be seen."""
    labels = page.locator(".field-transformations .rjf-form-row:visible > div > div > label")
    return labels.all_inner_texts()


def test_only_what_the_chosen_kind_has_a_use_for_is_shown(editor: Page) -> None:
    kind = editor.get_by_label("Kind")
    expect(kind).to_be_visible()
    assert boxes(editor) == ["Remote field or workflow input", "Kind", "Payload key", "Write"]
    kind.select_option("template")
    expect(editor.get_by_label("Template, such as")).to_be_visible()
    assert "Payload key" not in boxes(editor)
    kind.select_option("value_map")
    expect(editor.get_by_text("Value map")).to_be_visible()


def test_only_what_the_chosen_action_has_a_use_for_is_shown(
    editor: Page, action: EventAction
) -> None:
    chosen, workflow = editor.locator("#id_action"), editor.locator("#id_workflow")
    expect(workflow).not_to_be_visible()
    chosen.select_option("workflow")
    expect(workflow).to_be_visible()
    expect(editor.get_by_label("Write")).not_to_be_visible()
    chosen.select_option("noop")
    expect(workflow).not_to_be_visible()
    expect(editor.locator(".field-transformations")).not_to_be_visible()
    chosen.select_option("create")
    editor.locator("[name=_save]").click()
    expect(editor.get_by_text("was changed successfully")).to_be_visible()
    action.refresh_from_db()
    assert action.transformations == MAPPED  # what was out of sight is as it was


def offered(page: Page, box: str) -> dict[str, str]:
    """What a box offers: values and their labels."""
    name = page.locator(box).get_attribute("list")
    options = page.locator(f"#{name} option").all()
    return {one.get_attribute("value") or "": one.text_content() or "" for one in options}


def test_what_is_known_of_the_crm_is_offered(editor: Page) -> None:
    fields = offered(editor, '[name="rjf§0§field"]')
    assert fields["StageName"] == "Stage (picklist)"
    assert "title" in fields  # of the flow
    assert "amount" in offered(editor, '[name="rjf§0§key"]')
    assert offered(editor, "#id_workflow") == {"new_deal": "New deal"}
