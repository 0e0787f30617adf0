"""Everything that can be decided in CRM Link, and what the CRM has of it afterwards."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from example_project.documents.models import Document, Workspace
from tests.browser.link import (
    choose,
    confirm,
    decide_the_rest,
    go_to,
    on,
    opened,
    pick,
    row,
    saved,
    simple,
)
from xkit_crm.models import MappingDraft
from xkit_crm.providers.sandbox.models import Flow, FlowStep, Org, Record
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_every_transformation_reaches_the_crm(page: Page, workspace: Workspace) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    row(frame, "Amount").get_by_label("as").select_option("default")
    row(frame, "Amount").get_by_label("Where it is empty").fill("99")
    row(frame, "Amount").get_by_label("Where it is empty").blur()
    saved(frame)
    pick(frame, "Document Status", "stage", "Stage")
    choose(frame, "Document Status", "as", "value_map")
    line = row(frame, "Document Status").locator("tr", has=frame.locator("[value=draft]"))
    line.get_by_label("Value in your CRM").select_option("Proposal")
    saved(frame)
    choose(frame, "Document Status", "Any other value", "fixed")
    choose(frame, "Document Status", "Value in your CRM", "Closed Won")
    row(frame, "Signer's Email").get_by_label("don’t send it").check()
    saved(frame)
    pick(frame, "Fill another field", "description", "Description")
    choose(frame, "Description", "gets", "template")
    row(frame, "Description").get_by_label("Text", exact=True).fill("Contract ")
    row(frame, "Description").get_by_role("button", name="Opportunity Name").click()
    saved(frame)
    pick(frame, "Fill another field", "tags", "Tags")
    for tag in ("New", "Upsell"):
        row(frame, "Tags").get_by_label(tag, exact=True).check()
        saved(frame)
    pick(frame, "Fill another field", "probability", "Probability")
    row(frame, "Probability").get_by_label("Always this value").fill("40")
    row(frame, "Probability").get_by_label("Always this value").blur()
    saved(frame)
    pick(frame, "Fill another field", "close date", "Close Date")
    choose(frame, "Close Date", "gets", "empty")
    on(frame, "Continue")
    decide_the_rest(frame)
    confirm(frame, page)
    workspace.crm_connection_id = f"workspace-{workspace.pk}"
    workspace.save()
    Document.objects.create(workspace=workspace, title="Lease", status="draft")
    Document.objects.create(workspace=workspace, title="Sale", status="signed", value=7)
    deliver()
    first, second = (r.values for r in Record.objects.order_by("number"))
    assert (first["Amount"], second["Amount"]) == (99, 7)
    assert (first["StageName"], second["StageName"]) == ("Proposal", "Closed Won")
    assert first["Description"] == "Contract Lease"
    assert first["Tags"] == ["New", "Upsell"]
    assert first["Probability"] == 40
    assert first.get("CloseDate") is None


def test_a_mistake_in_a_text_is_told_beside_it_and_the_rest_is_kept(
    page: Page, workspace: Workspace
) -> None:
    simple(workspace)
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    pick(frame, "Fill another field", "description", "Description")
    choose(frame, "Description", "gets", "template")
    line = row(frame, "Description")
    expect(line.locator(".problem")).to_have_text("the text is empty")
    typed = line.get_by_label("Text", exact=True)
    typed.fill("{nme}")
    typed.blur()
    saved(frame)
    expect(line.locator(".problem")).to_have_text("the event has no payload key nme")
    expect(typed).to_have_accessible_description("the event has no payload key nme")
    row(frame, "Signer's Email").get_by_label("don’t send it").check()
    saved(frame)
    expect(typed).to_have_value("{nme}")
    on(frame, "Continue")
    go_to(frame, "Create Opportunity")
    expect(row(frame, "Signer's Email").get_by_label("don’t send it")).to_be_checked()
    expect(typed).to_have_value("{nme}")
    typed.fill("{name}")
    typed.blur()
    saved(frame)
    expect(line.locator(".problem")).to_have_count(0)


def test_every_action_and_write_mode_reaches_the_crm(page: Page, workspace: Workspace) -> None:
    connection = simple(workspace)
    org = Org.objects.get(slug=connection.pk)
    flow = Flow.objects.create(
        org=org, name="intake", label="Take in a person", inputs=[{"name": "who", "required": True}]
    )
    FlowStep.objects.create(
        flow=flow, position=1, action="create", object_name="Lead",
        values={"LastName": "{who}", "Company": "?"},
    )  # fmt: skip
    frame = opened(page, workspace)
    go_to(frame, "Create Contact")
    frame.get_by_label("Run a workflow of yours").check()
    saved(frame)
    choose(frame, "who", "gets", "direct")
    choose(frame, "who", "Which value", "name")
    on(frame, "Continue")
    go_to(frame, "Document Deleted")
    frame.get_by_label("Update the record").check()
    saved(frame)
    pick(frame, "Fill another field", "stage", "Stage")
    choose(frame, "Stage", "Always this value", "Closed Lost")
    on(frame, "Continue")
    go_to(frame, "Document Updated")
    choose(frame, "Document Name", "Written", "when_empty")
    pick(frame, "Document Last Update Time", "close", "Close Date")
    choose(frame, "Amount", "Written", "protect")
    on(frame, "Continue")
    decide_the_rest(frame)
    confirm(frame, page)
    workspace.crm_connection_id = connection.pk
    workspace.save()
    workspace.contacts.create(full_name="Ada Lovelace")
    document = Document.objects.create(workspace=workspace, title="Lease", value=5)
    deliver()
    assert Record.objects.get(object__name="Lead").values["LastName"] == "Ada Lovelace"
    document.title, document.value = "Renamed", 6
    document.save()
    deliver()
    record = Record.objects.get(object__name="Opportunity")
    assert (record.values["Name"], record.values["Amount"]) == ("Lease", 6)
    assert record.values["CloseDate"] == document.modified_at.date().isoformat()
    document.delete()
    deliver()
    record.refresh_from_db()
    assert record.values["StageName"] == "Closed Lost"


def test_an_entry_of_ones_own_is_kept_once_it_has_a_name_and_a_field(
    page: Page, workspace: Workspace
) -> None:
    connection = simple(workspace)
    frame = opened(page, workspace)
    frame.locator(".step-head", has_text="Opportunity").click()
    name = frame.get_by_label("Name of a new entry")
    name.fill("Stage of it")
    name.press("Tab")
    expect(name).to_have_value("Stage of it")
    field = row(frame, "Document Tags").get_by_role("combobox").last
    field.fill("stage")
    frame.get_by_role("option", name="Stage").first.click()
    saved(frame)
    expect(frame.get_by_label("Name of the entry")).to_have_value("Stage of it")
    document = MappingDraft.objects.get(connection=connection).document
    assert document["opportunity"]["fields"]["document_tags"] == {"Stage of it": "StageName"}


def test_looking_at_the_other_actions_loses_nothing(page: Page, workspace: Workspace) -> None:
    connection = simple(workspace)
    Flow.objects.create(
        org=Org.objects.get(slug=connection.pk), name="intake", inputs=[{"name": "who"}]
    )
    frame = opened(page, workspace)
    go_to(frame, "Create Opportunity")
    row(frame, "Signer's Email").get_by_label("don’t send it").check()
    saved(frame)
    choose(frame, "Amount", "as", "default")
    frame.get_by_label("Create a record").focus()
    for _ in range(3):  # a workflow, nothing, and round to the first again
        page.keyboard.press("ArrowDown")
        saved(frame)
    expect(frame.get_by_label("Create a record")).to_be_checked()
    expect(row(frame, "Signer's Email").get_by_label("don’t send it")).to_be_checked()
    expect(row(frame, "Amount").get_by_label("as")).to_have_value("default")
