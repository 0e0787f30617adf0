"""What a person does in CRM Link, and what they wait for: steps that its browser tests share."""

from __future__ import annotations

from playwright.sync_api import FrameLocator, Locator, Page, expect

import xkit_crm
from example_project.documents.models import Workspace
from xkit_crm.models import Connection


def opened(page: Page, workspace: Workspace) -> FrameLocator:
    """Open CRM Link by the button on the customer's page."""
    page.goto(f"/workspaces/{workspace.pk}/")
    page.get_by_role("button", name="CRM").click()
    return page.frame_locator("iframe[title='CRM Link']")


def connected(frame: FrameLocator) -> None:
    """Connect the sandbox, and wait for the overview."""
    expect(frame.get_by_role("heading", level=1)).to_have_text("Connect Sandbox CRM")
    frame.get_by_role("button", name="Connect").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("What happens in your Sandbox CRM")
    expect(frame.locator(".steps")).to_be_visible()


def row(frame: FrameLocator, label: str) -> Locator:
    """The row of a payload key or field on an event's page."""
    return frame.locator("fieldset.row", has=frame.locator("legend", has_text=label)).first


def choose(frame: FrameLocator, label: str, what: str, value: str | list[str]) -> None:
    """Choose something in a row's list, and wait until it is kept."""
    row(frame, label).get_by_label(what).last.select_option(value)
    saved(frame)


def pick(frame: FrameLocator, label: str, typed: str, chosen: str) -> None:
    """Choose a field in a row's picker by typing."""
    field = row(frame, label).get_by_role("combobox").first
    field.click()
    field.fill(typed)
    frame.get_by_role("option", name=chosen).first.click()
    saved(frame)


def saved(frame: FrameLocator) -> None:
    """Wait until what was chosen is kept."""
    expect(frame.locator("form[aria-busy]")).to_have_count(0)


def on(frame: FrameLocator, name: str) -> None:
    """Follow a link to the overview."""
    frame.get_by_role("link", name=name, exact=True).click()
    expect(frame.locator(".steps")).to_be_visible()


def go_to(frame: FrameLocator, event: str) -> None:
    frame.get_by_role("link", name=event, exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_have_text(event)


def decide_the_rest(frame: FrameLocator) -> None:
    """Don't send or read whatever is still undecided."""
    expect(frame.locator(".steps")).to_be_visible()
    while frame.locator(".state.todo").count():
        step = frame.locator("a:has(.state.todo), li:has(> .state.todo) > a").last
        step.click()
        expect(frame.locator(".steps")).to_have_count(0)
        todo = frame.locator(".row:has(.problem)")
        while count := todo.count():
            todo.first.locator("input[type=checkbox]").click()
            expect(todo).to_have_count(count - 1)
            saved(frame)
        saved(frame)
        frame.get_by_role("link").filter(has_text="Overview").or_(
            frame.get_by_role("link", name="Continue")
        ).first.click()
        expect(frame.locator(".steps")).to_be_visible()


def confirm(frame: FrameLocator, page: Page) -> None:
    frame.get_by_role("link", name="Review and confirm").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Review")
    frame.get_by_role("button", name="Confirm").click()
    expect(page.locator("dialog")).to_have_count(0)


def simple(workspace: Workspace) -> Connection:
    """A connection that is mapped and in use already."""
    return xkit_crm.connect(
        f"workspace-{workspace.pk}", provider="sandbox", context=workspace.context
    )
