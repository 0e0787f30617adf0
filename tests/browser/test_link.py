"""CRM Link in a real browser, by what a person sees: connect, decide, confirm, come back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from example_project.documents.models import Workspace
from tests.browser.link import (
    choose,
    confirm,
    connected,
    decide_the_rest,
    go_to,
    on,
    opened,
    pick,
    row,
    saved,
    simple,
)
from xkit_crm.models import EventAction, MappingVersion
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_visitor_connects_maps_otherwise_and_sees_the_record_as_mapped(
    page: Page, workspace: Workspace
) -> None:
    frame = opened(page, workspace)
    connected(frame)
    go_to(frame, "Create Opportunity")
    pick(frame, "Document Status", "stage", "Stage")
    row(frame, "Document Status").get_by_label("as").select_option("value_map")
    for ours, theirs in (
        ("draft", "Prospecting"),
        ("sent", "Negotiation"),
        ("signed", "Closed Won"),
    ):
        line = row(frame, "Document Status").locator("tr", has=frame.locator(f"[value={ours}]"))
        line.get_by_role("combobox").select_option(theirs)
        saved(frame)
    row(frame, "Signer's Email").get_by_label("don’t send it").check()
    expect(frame.locator("#event-state")).to_contain_text("Everything is decided here.")
    pick(frame, "Fill another field", "descr", "Description")
    row(frame, "Description").get_by_label("Always this value").fill("Made by Signet")
    on(frame, "Continue")
    decide_the_rest(frame)
    confirm(frame, page)
    expect(page.get_by_role("heading", name="Your CRM")).to_contain_text("enabled")
    page.fill("#id_title", "Lease")
    page.select_option("#id_status", "sent")
    page.get_by_role("button", name="Add").click()
    deliver()
    page.reload()
    expect(page.get_by_role("row", name="Lease")).to_contain_text("Opportunity:")
    values = Record.objects.get(object__name="Opportunity").values
    assert (values["Name"], values["StageName"]) == ("Lease", "Negotiation")
    assert values["Description"] == "Made by Signet"
    assert MappingVersion.objects.get().number == 1


def test_half_done_work_is_there_when_one_comes_back(page: Page, workspace: Workspace) -> None:
    frame = opened(page, workspace)
    connected(frame)
    go_to(frame, "Create Opportunity")
    row(frame, "Signer's Email").get_by_label("don’t send it").check()
    saved(frame)
    frame.get_by_role("button", name="Close").click()
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    expect(row(frame, "Signer's Email").get_by_label("don’t send it")).to_be_checked()


def test_by_keyboard_alone(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    field = row(frame, "Signer's Email").get_by_role("combobox").first
    field.focus()
    page.keyboard.type("descr")
    expect(row(frame, "Signer's Email").get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "row-3-field-o1")
    page.keyboard.press("Enter")
    saved(frame)
    expect(field).to_have_value("Description")
    page.keyboard.type("am")
    page.keyboard.press("Escape")  # closes the list, and nothing else
    expect(field).to_have_value("Description")


def test_a_crm_that_fails_is_said_to_and_can_be_tried_again(
    page: Page, workspace: Workspace
) -> None:
    connection = simple(workspace)
    org = Org.objects.get(slug=connection.pk)
    down = Misbehaviour.objects.create(org=org, kind="unavailable")
    frame = opened(page, workspace)
    expect(frame.get_by_role("heading", level=1)).to_have_text("Your CRM gives no answer")
    down.delete()
    frame.get_by_role("link", name="Try again").click()
    expect(frame.locator(".steps")).to_be_visible()


def test_a_connection_that_broke_is_connected_again(page: Page, workspace: Workspace) -> None:
    connection = simple(workspace)
    org = Org.objects.get(slug=connection.pk)
    org.token = "new"
    org.save()
    frame = opened(page, workspace)
    expect(frame.get_by_role("heading", level=1)).to_have_text("Connect Sandbox CRM")
    connection.refresh_from_db()
    assert connection.status == "errored"
    frame.get_by_label("Token").fill("new")
    frame.get_by_role("button", name="Connect").click()
    expect(frame.locator(".steps")).to_be_visible()
    connection.refresh_from_db()
    assert connection.status == "enabled"


def test_back_goes_to_the_step_before(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    page.evaluate("history.back()")
    expect(frame.locator(".steps")).to_be_visible()


def test_what_another_tab_changed_is_looked_at_again(
    page: Page, workspace: Workspace, chromium: Browser
) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    decide_the_rest(frame)
    frame.get_by_role("link", name="Review and confirm").click()
    other = page.context.new_page()
    second = opened(other, workspace)
    go_to(second, "Document Deleted")
    second.get_by_label("Do nothing").check()
    saved(second)
    frame.get_by_role("button", name="Confirm").click()
    expect(frame.get_by_role("alert")).to_contain_text("Look at it again")
    frame.get_by_role("button", name="Confirm").click()
    expect(page.locator("dialog")).to_have_count(0)
    assert EventAction.objects.get(event__slug="document_deleted").action == "noop"


def test_what_another_tab_changed_is_not_overwritten(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Document Updated")
    second = opened(page.context.new_page(), workspace)
    go_to(second, "Document Updated")
    choose(frame, "Amount", "Written", "protect")
    choose(second, "Document Name", "Written", "when_empty")
    expect(second.get_by_role("alert")).to_contain_text("changed meanwhile")
    expect(row(second, "Amount").get_by_label("Written")).to_have_value("protect")
    expect(row(second, "Document Name").get_by_label("Written")).to_have_value("always")
    choose(second, "Document Name", "Written", "when_empty")
    expect(second.get_by_role("alert")).to_have_count(0)


def test_one_change_after_another_is_no_other_tab(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Document Updated")
    written = ("when_empty", "protect", "always", "protect", "when_empty")
    for mode in written:  # without waiting for each to be kept
        row(frame, "Amount").get_by_label("Written").select_option(mode)
        row(frame, "Document Name").get_by_label("Written").select_option(mode)
    saved(frame)
    expect(frame.get_by_role("alert")).to_have_count(0)
    page.reload()
    frame = opened(page, workspace)
    go_to(frame, "Document Updated")
    for label in ("Amount", "Document Name"):
        expect(row(frame, label).get_by_label("Written")).to_have_value("when_empty")


def test_an_option_that_was_pressed_is_taken_though_typing_renews_the_list(
    page: Page, workspace: Workspace
) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    picker = row(frame, "Document Status").locator(".picker")
    field = picker.get_by_role("combobox")
    held: list[Route] = []
    page.route("**/*q=stage*", lambda route: held.append(route))
    field.click()
    picker.get_by_role("option", name="Stage").first.hover()
    with page.expect_request("**/*q=stage*"):
        field.fill("stage")
    page.mouse.down()
    with page.expect_response("**/*q=stage*"):
        held.pop().continue_()
    page.wait_for_timeout(50)
    page.mouse.up()
    expect(row(frame, "Document Status").get_by_label("as")).to_be_visible()


def test_a_renewed_form_listens_as_soon_as_it_is_there(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    frame.locator("body").evaluate("""() => document.addEventListener(
        "htmx:afterSwap",
        () => setTimeout(() => {
            const field = document.querySelector("[role=combobox]");
            field.focus();
            field.click();
        }),
        { once: true },
    )""")
    row(frame, "Document Status").get_by_label("don’t send it").check()
    expect(frame.locator("[role=listbox] [role=option]").first).to_be_visible()
