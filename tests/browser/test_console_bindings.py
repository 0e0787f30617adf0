"""Binding a model and trying an event, by what an operator sees and does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

import xkit_crm
from example_project.documents.models import Document, Workspace
from tests.browser.barriers import barriers
from tests.browser.conftest import follow
from xkit_crm.models import Connection, EventDefinition, ModelBinding
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/admin/xkit_crm/modelbinding/"
ADD = f"{LIST}add/"


@pytest.fixture
def customer(workspace: Workspace) -> Iterator[Workspace]:
    """A customer of the example product whose CRM is connected and mapped."""
    xkit_crm.connect("acme", provider="sandbox", context=workspace.context)
    workspace.crm_connection_id = "acme"
    workspace.save()
    yield workspace
    ModelBinding.objects.all().delete()


def panel(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Preview")


def choose(page: Page, label: str, option: str) -> None:
    """Choose something, and wait until the form was renewed with it."""
    with renewed(page):
        page.get_by_label(label, exact=True).select_option(label=option)


@contextmanager
def renewed(page: Page) -> Iterator[None]:
    """Wait until what is done has had the form renewed, and the new one listens."""
    page.locator("#binding-parts").evaluate("parts => { parts.dataset.old = 'yes' }")
    yield
    new = "#binding-parts:not([data-old], .htmx-added, .htmx-settling)"
    expect(page.locator(new)).to_be_visible()


def begin(page: Page) -> None:
    """Bind workspaces to contacts, as far as choosing goes."""
    page.goto(ADD)
    choose(page, "Model *", "Workspace")
    choose(page, "CRM object *", "Contact · contact")
    expect(page.get_by_label("Full Name text")).to_have_value("name")


def test_a_model_is_bound_by_picking_and_a_row_saved_in_the_products_admin_arrives(
    customer: Workspace, operator: Page
) -> None:
    operator.goto(LIST)
    follow(operator.get_by_role("link", name="Add model binding").first)
    choose(operator, "Model *", "Workspace")
    expect(operator.get_by_label("Connection id *")).to_have_value("crm_connection_id")
    choose(operator, "CRM object *", "Contact · contact")
    # Its only event of each type is chosen, and the field that is called like the key.
    expect(operator.get_by_label("On create", exact=True)).to_contain_text("Create Contact")
    expect(operator.get_by_label("Full Name text")).to_have_value("name")
    expect(panel(operator)).to_contain_text('"name": "Initech"')
    expect(panel(operator)).to_contain_text("has no record there yet")

    with renewed(operator):
        operator.get_by_role("button", name="Add a rule").click()
    choose(operator, "Field", "Name · name")
    choose(operator, "Comparison", "is not")
    operator.get_by_label("Value", exact=True).fill("Initech")
    operator.get_by_label("Value", exact=True).press("Tab")
    expect(panel(operator)).to_contain_text("left out by the condition")
    operator.get_by_role("button", name="Save", exact=True).click()
    expect(operator.get_by_text("was added successfully")).to_be_visible()
    expect(operator.get_by_role("row", name="Workspace → Contact")).to_contain_text("active")
    expect(operator.get_by_text("example_project/documents/crm.py")).to_have_count(2)

    operator.goto(reverse("admin:documents_workspace_add"))
    operator.get_by_label("Name:").fill("Globex")
    operator.get_by_label("Crm connection id:").fill("acme")
    operator.get_by_role("button", name="Save", exact=True).click()
    expect(operator.get_by_text("was added successfully")).to_be_visible()
    deliver()
    operator.goto(reverse("admin:xkit_sandbox_record_changelist"))
    expect(operator.locator("#result_list").get_by_text("Globex").first).to_be_visible()


def test_a_path_is_typed_where_none_is_offered_and_checked_meanwhile(
    customer: Workspace, operator: Page
) -> None:
    begin(operator)
    path = operator.get_by_label("Full Name: the path")
    expect(path).to_be_hidden()
    operator.get_by_label("Full Name text").select_option(label="Another path…")
    path.fill("documents.cuont")
    path.press("Tab")
    path.fill("nme")
    path.press("Tab")
    expect(panel(operator)).to_contain_text("Workspace has no nme; did you mean name?")
    operator.get_by_role("button", name="Save", exact=True).click()
    field = operator.locator(".xkit-path", has=operator.get_by_label("Full Name text"))
    expect(field.locator(".xkit-error")).to_contain_text("did you mean name?")
    expect(operator.get_by_label("Full Name: the path")).to_have_value("nme")


def test_the_keyboard_stays_where_it_is_when_the_form_is_renewed(
    customer: Workspace, operator: Page
) -> None:
    operator.goto(ADD)
    operator.get_by_label("Model *").focus()
    with renewed(operator):
        operator.keyboard.type("Work")
    expect(operator.get_by_label("Model *")).to_be_focused()
    choose(operator, "CRM object *", "Contact · contact")
    operator.get_by_label("Row").fill("nobody")
    expect(panel(operator)).to_contain_text("There is no such row.")
    operator.get_by_label("Row").fill("Init")
    operator.keyboard.press("Enter")
    expect(panel(operator)).to_contain_text("Initech")
    assert operator.url.endswith(ADD)  # Enter looks for a row, and saves nothing


def test_an_event_is_tried_from_its_page_to_its_answer(customer: Workspace, operator: Page) -> None:
    with xkit_crm.muted():
        Document.objects.create(workspace=customer, title="Lease", value="12.50")
    event = EventDefinition.objects.get(slug="create_opportunity")
    event.payload_schema |= {
        "tags": {"type": "array", "label": "Tags", "items": {"type": "string", "label": "Tag"}}
    }
    event.save()
    operator.goto(reverse("admin:xkit_crm_eventdefinition_change", args=[event.pk]))
    operator.get_by_role("main").get_by_role("link", name="Try an event").last.click()
    operator.get_by_label("Connection").fill("acme")
    operator.get_by_role("button", name="Go on").click()

    operator.get_by_role("button", name="Add to Tags").click()
    operator.get_by_label("Tag", exact=True).fill("urgent")
    operator.get_by_role("link", name="Lease").click()
    expect(operator.get_by_label("Opportunity Name", exact=True)).to_have_value("Lease")
    operator.get_by_label("Opportunity Name", exact=True).fill("x" * 300)
    operator.get_by_role("button", name="Look at what would be sent").click()
    expect(operator.get_by_text("characters too long")).to_be_visible()
    operator.get_by_label("Opportunity Name", exact=True).fill("Lease, by hand")
    operator.get_by_role("button", name="Look at what would be sent").click()

    expect(operator.get_by_role("heading", name="A new Opportunity would be made")).to_be_visible()
    expect(operator.get_by_role("row", name="Opportunity Name")).to_contain_text("Lease, by hand")
    operator.get_by_role("button", name="Send it").click()
    expect(operator.get_by_text("The CRM has it.")).to_be_visible()
    operator.reload()
    operator.get_by_role("link", name="Opportunity:00001").click()
    expect(operator.get_by_text("Lease, by hand").first).to_be_visible()
    assert Document.objects.get().title == "Lease"
    assert xkit_crm.links(Document.objects.get()).get().record_id == "Opportunity:00001"


def test_an_answer_comes_by_itself(customer: Workspace, operator: Page) -> None:
    Connection.objects.update(shadow=True)
    query = "?connection=acme&event=opportunity.create_opportunity&from=sample"
    operator.goto(reverse("admin:xkit_crm_invocation_try_fill") + query)
    expect(operator.get_by_text("is in shadow mode")).to_be_visible()
    operator.get_by_role("button", name="Look at what would be sent").click()
    operator.get_by_role("button", name="Rehearse it").click()
    expect(operator.get_by_text("nothing is sent.")).to_be_visible()


# -- for everybody --------------------------------------------------------------------------------


def screens(page: Page, customer: Workspace) -> Iterator[str]:
    """Each screen of these, one after another."""
    with xkit_crm.muted():
        Document.objects.create(workspace=customer, title="Lease", value="12.50")
    page.goto(LIST)
    yield "list"
    begin(page)
    with renewed(page):
        page.get_by_role("button", name="Add a rule").click()
    choose(page, "Field", "Name · name")
    page.get_by_label("Phone text").select_option(label="Another path…")
    expect(panel(page)).to_contain_text("Initech")
    yield "add"
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".xkit-error").first).to_be_visible()
    expect(panel(page)).to_contain_text("Initech")
    yield "mistaken"
    coded = "?model=documents.Document&crm_object=opportunity"
    page.goto(reverse("admin:xkit_crm_modelbinding_code") + coded)
    expect(panel(page)).to_contain_text("Lease")
    yield "code"
    page.goto(reverse("admin:xkit_crm_invocation_try") + "?connection=acme&event=nothing")
    yield "choose"
    query = "?connection=acme&event=contact.create_contact&from=sample"
    page.goto(reverse("admin:xkit_crm_invocation_try_fill") + query)
    yield "fill"
    page.get_by_role("button").filter(has_text="sent").click()
    expect(page.locator(".xkit-page table")).to_be_visible()
    yield "look"
    page.locator(".xkit-primary").click()
    expect(page.locator("#answer")).to_be_visible()
    yield "answer"


def test_no_screen_has_a_barrier(customer: Workspace, operator: Page) -> None:
    told = {
        name: found
        for name in screens(operator, customer)
        if (found := barriers(operator, "#content"))
    }
    assert told == {}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_no_screen_is_wider_than_a_phone(
    customer: Workspace, operator: Page, language: str
) -> None:
    operator.set_viewport_size({"width": 390, "height": 844})
    wide = {}
    for name in screens(operator, customer):
        if language == "ar":
            operator.evaluate("document.documentElement.dir = 'rtl'")
        if (over := operator.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            wide[name] = over
    assert wide == {}
