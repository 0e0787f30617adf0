"""Defining CRM objects and events, by what an operator sees and does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from tests.browser.barriers import barriers
from tests.browser.conftest import follow
from tests.objects import PAYLOAD
from xkit_crm.models import Connection, CRMObject, DefinitionVersion, EventDefinition
from xkit_crm.models.definition_version import changed_by

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def address(row: Any, name: str = "change") -> str:
    return reverse(f"admin:xkit_crm_{row._meta.model_name}_{name}", args=[row.pk])


def event(slug: str = "deal_created") -> EventDefinition:
    return EventDefinition.objects.get(slug=slug)


def block(around: Page | Locator, key: str) -> Locator:
    """The block of a key, by what is written over it for those who don't see."""
    return around.get_by_role("group", name=key, exact=True)


def add_key(around: Locator | Page, key: str, **boxes: str) -> Locator:
    """Add a key to the editor, and fill in its boxes."""
    around.get_by_role("button", name="Add a key", exact=True).click()
    around.locator(".xkit-block").last.get_by_label("Key").fill(key)
    made = block(around, key).last
    for label, value in boxes.items():
        if label == "type":
            made.get_by_role("combobox", name="Type").select_option(value)
        else:
            made.get_by_label(label.capitalize(), exact=True).first.fill(value)
    return made


def preview(around: Locator | Page) -> Locator:
    return around.get_by_role("complementary", name="Preview")


def save(page: Page) -> None:
    page.locator("[name=_save]").click()


def test_an_object_and_its_first_event_are_defined_from_nothing(operator: Page) -> None:
    operator.goto("/admin/xkit_crm/crmobject/")
    follow(operator.get_by_role("link", name="Add CRM object").first)
    the_object = operator.locator(".xkit-of-crmobject")
    the_object.get_by_label("Label").first.fill("Support Ticket")
    expect(the_object.get_by_label("Slug")).to_have_value("support_ticket")
    add_key(the_object, "assignee", label="Assigned to")
    expect(preview(the_object)).to_contain_text('"assignee": "Assigned to"')

    card = operator.locator(".xkit-events .xkit-definition").first
    expect(preview(card)).to_contain_text("Still needed: label, slug")
    card.get_by_label("Label").first.fill("Ticket opened")
    expect(card.get_by_label("Slug")).to_have_value("ticket_opened")
    card.locator("[name$=type]").select_option("create")
    add_key(card, "subject")
    worth = add_key(card, "worth", type="number")
    worth.get_by_text("More").click()
    worth.get_by_label("Least number").fill("0")
    worth.get_by_label("Example").fill("12.5")
    address_ = add_key(card, "address", type="object")
    address_.get_by_role("button", name="Add a key below").click()
    address_.locator(".xkit-block").get_by_label("Key").fill("city")
    tags = add_key(card, "tags", type="array")
    tags.get_by_role("button", name="Describe what it holds").click()
    state = add_key(card, "state")
    state.get_by_text("More").click()
    for number, value in enumerate(["new", "closed"]):
        state.get_by_role("button", name="Add a value").click()
        state.get_by_label("Value", exact=True).nth(number).fill(value)
    state.get_by_role("button", name="Move up").click()

    shown = preview(card)
    expect(shown).to_contain_text('"worth": 12.5')
    expect(shown).to_contain_text("objects/support_ticket/events/ticket_opened")
    expect(shown).not_to_contain_text("Still needed")
    shown.get_by_text("In Python").click()
    expect(shown).to_contain_text("'state': 'new'")
    operator.get_by_role("button", name="Add an event").click()
    second = operator.locator(".xkit-events .xkit-definition").nth(1)
    second.get_by_label("Label").first.fill("Ticket closed")
    second.locator("[name$=type]").select_option("delete")
    operator.get_by_role("button", name="Add an event").click()
    operator.get_by_role("button", name="Leave this event out").last.click()
    save(operator)
    expect(operator.get_by_text("was added successfully")).to_be_visible()

    made = CRMObject.objects.get(slug="support_ticket")
    assert made.fields == {"assignee": {"type": "string", "label": "Assigned to"}}
    assert set(made.events.values_list("slug", flat=True)) == {"ticket_opened", "ticket_closed"}
    schema = event("ticket_opened").payload_schema
    assert schema == {
        "subject": {"type": "string"},
        "worth": {"type": "number", "example": 12.5, "minimum": 0},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "state": {"type": "string", "enum": ["new", "closed"]},
    }
    assert list(schema) == ["subject", "worth", "address", "state", "tags"]


def test_what_is_shown_in_blocks_and_left_alone_stays_as_it_was(
    definitions: None, operator: Page
) -> None:
    """Every keyword, in an order of its own, with what says nothing."""
    odd: dict[str, Any] = {
        "b": {"label": "B", "type": "string", "nullable": True, "required": False},
        "a": {
            "maxLength": 9,
            "format": "text",
            "type": "string",
            "enum": [{"value": "x", "label": "X"}, {"value": "y"}, "z"],
            "default": None,
            "example": "x",
            "description": "",
        },
        "n": {"type": "number", "minimum": 0.5, "maximum": 2**60 + 1, "default": 1.0},
        "t": {"type": "boolean", "default": True, "required": True, "nullable": False},
        "o": {
            "type": "object",
            "properties": {"i": {"type": "array", "items": {"type": "object"}}},
        },
        "e": {"type": "object", "properties": {}, "default": {"k": 1}},
    }
    row = event()
    row.payload_schema = odd
    row.save()
    versions = DefinitionVersion.objects.count()
    operator.goto(address(row))
    block(operator, "b").get_by_label("Label").first.fill("Other")
    block(operator, "b").get_by_label("Label").first.fill("B")
    expect(preview(operator)).to_contain_text("Sample payload")
    save(operator)
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    row.refresh_from_db()
    assert json.dumps(row.payload_schema) == json.dumps(odd)
    assert DefinitionVersion.objects.count() == versions


def test_a_schema_is_edited_block_by_block_or_as_json(definitions: None, operator: Page) -> None:
    operator.goto(address(event("find_deals")))
    block(operator, "name").get_by_label("Label").first.fill("Name of the Deal")
    operator.get_by_role("button", name="Edit as JSON").click()
    box = operator.locator("[name=payload_schema]")
    typed = json.loads(box.input_value())
    assert typed == {"name": {**PAYLOAD["name"], "label": "Name of the Deal"}}
    box.fill(json.dumps({**typed, "stage": {"type": "string", "maxLength": 20}}))
    operator.get_by_role("button", name="Edit in blocks").click()
    expect(block(operator, "stage").get_by_text("≤ 20")).to_be_visible()
    block(operator, "name").get_by_role("button", name="Remove").click()
    save(operator)
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    assert event("find_deals").payload_schema == {"stage": {"type": "string", "maxLength": 20}}


@pytest.mark.parametrize("wrong", ['{"name": ', '["name"]', '"name"'])
def test_json_that_can_not_be_read_is_said_to_be_so_and_mended_on_the_way_to_the_blocks(
    definitions: None, operator: Page, wrong: str
) -> None:
    operator.goto(address(event("find_deals")))
    operator.get_by_role("button", name="Edit as JSON").click()
    box = operator.locator("[name=payload_schema]")
    back = operator.get_by_role("button", name="Edit in blocks")
    box.fill(wrong)
    back.click()
    expect(operator.get_by_role("alert")).to_contain_text("can’t be shown in blocks")
    expect(box).to_have_value(wrong)
    save(operator)  # which shows it again, with what is wrong
    expect(operator.locator(".errorlist").first).to_be_visible()
    expect(box).to_have_value(wrong)
    box.fill('{"stage": {"type": "string"}}')
    back.click()
    expect(block(operator, "stage")).to_be_visible()
    expect(back).not_to_be_visible()
    save(operator)
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    assert event("find_deals").payload_schema == {"stage": {"type": "string"}}


def test_a_mistake_is_told_while_it_is_typed_and_marked_where_it_is(
    definitions: None, operator: Page
) -> None:
    operator.goto(address(event("find_deals")))
    name = block(operator, "name")
    name.get_by_text("More").click()
    longest = name.get_by_label("Longest text")
    longest.fill("-1")
    expect(preview(operator)).to_contain_text("payloadSchema.name.maxLength: must be a positive")
    expect(longest).to_have_attribute("aria-invalid", "true")
    save(operator)
    expect(operator.locator(".errorlist").first).to_contain_text("payloadSchema.name.maxLength")
    again = block(operator, "name")
    expect(again.get_by_label("Longest text")).to_have_value("-1")
    add_key(operator, "name")
    expect(preview(operator)).to_contain_text("payloadSchema.name: is there twice")
    save(operator)
    expect(block(operator, "name")).to_have_count(2)
    assert event("find_deals").payload_schema == {"name": PAYLOAD["name"]}


def test_who_is_concerned_is_told_before_it_is_saved(sandbox: Connection, operator: Page) -> None:
    operator.goto(address(event().crm_object))
    card = operator.locator("#event-deal_created")
    card.locator("summary").first.click()
    block(card, "name").get_by_role("button", name="Remove").click()
    told = "is gone — what it feeds is no longer written"
    expect(preview(card)).to_contain_text(told)
    save(operator)
    expect(operator.get_by_text("Nothing is saved yet")).to_be_visible()
    expect(operator.get_by_text(told)).to_be_visible()
    expect(operator.get_by_text("1 connection: acme").first).to_be_visible()
    operator.get_by_role("button", name="Back to editing").click()
    card.locator("summary").first.click()
    expect(block(card, "amount")).to_be_visible()
    expect(block(card, "name")).to_have_count(0)
    save(operator)
    operator.get_by_role("button", name="Save all the same").click()
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    assert "name" not in event().payload_schema


def test_the_second_of_two_people_is_told_and_loses_nothing(
    definitions: None, operator: Page
) -> None:
    operator.goto(address(event("find_deals")))
    operator.get_by_label("Label").first.fill("Mine")
    theirs = event("find_deals")
    theirs.label = "Theirs"
    with changed_by("bob"):
        theirs.save()
    save(operator)
    expect(operator.get_by_text("bob changed this while you were editing")).to_be_visible()
    expect(operator.get_by_text('"Find Deals" -> "Theirs"')).to_be_visible()
    expect(operator.get_by_label("Label").first).to_have_value("Mine")
    assert event("find_deals").label == "Theirs"
    save(operator)
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    assert event("find_deals").label == "Mine"


def test_a_document_is_exported_changed_and_imported_with_its_difference(
    sandbox: Connection, operator: Page, tmp_path: Path
) -> None:
    operator.goto("/admin/xkit_crm/crmobject/")
    with operator.expect_download() as downloading:
        operator.get_by_role("link", name="Export").click()
    document = json.loads(Path(downloading.value.path()).read_text())
    document["opportunity"]["events"]["deal_created"]["label"] = "<b>Made</b>"
    del document["opportunity"]["events"]["deal_created"]["payloadSchema"]["amount"]
    changed = tmp_path / "objects.json"
    changed.write_text(json.dumps(document))
    operator.get_by_role("link", name="Import").click()
    operator.get_by_label("File").set_input_files(changed)
    operator.get_by_role("button", name="Look at the changes").click()
    expect(operator.get_by_text('"<b>Made</b>"')).to_be_visible()
    expect(operator.locator(".xkit-gone code")).to_have_text(
        "opportunity.deal_created.payload_schema.amount"
    )
    expect(operator.get_by_text("what it feeds is no longer written")).to_be_visible()
    assert event().label == "Deal Created"
    operator.get_by_role("button", name="Import it").click()
    expect(operator.get_by_text("2 changes are imported.")).to_be_visible()
    assert event().label == "<b>Made</b>"


def test_a_version_is_found_in_the_history_and_restored(definitions: None, operator: Page) -> None:
    row = event("find_deals")
    row.label = "Look"
    row.save()
    operator.goto(address(row))
    operator.get_by_role("link", name="History").last.click()
    expect(operator.get_by_text('"Look"')).to_be_visible()
    operator.get_by_role("button", name="Restore opportunity.find_deals: 1").click()
    expect(operator.get_by_text("Nothing is changed yet")).to_be_visible()
    operator.get_by_role("button", name="Restore it").click()
    expect(operator.get_by_text("is restored")).to_be_visible()
    assert event("find_deals").label == "Find Deals"
    last = DefinitionVersion.objects.of(row)[0]
    assert last.author == User.objects.get().username


# -- for everybody --------------------------------------------------------------------------------


def screens(page: Page) -> Any:
    """Go through every screen, and say when one is there."""
    page.goto("/admin/xkit_crm/crmobject/add/")
    expect(preview(page).first).to_contain_text("Still needed")
    yield "add"
    row = event()
    page.goto(address(row.crm_object))
    card = page.locator("#event-deal_created")
    card.locator("summary").first.click()
    for more in ("name", "amount"):
        block(card, more).get_by_text("More").click()
    made = add_key(card, "below", type="object")
    made.get_by_role("button", name="Add a key below").click()
    expect(preview(card)).to_contain_text("Still needed: the name of a key")
    yield "editing"
    block(card, "New key").get_by_role("button", name="Remove").click()
    block(card, "name").get_by_label("Longest text").fill("-1")
    expect(preview(card)).to_contain_text("Not right yet")
    yield "a mistake"
    block(card, "name").get_by_label("Longest text").fill("5")
    expect(preview(card)).to_contain_text("breaks")
    yield "what it does"
    save(page)
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    yield "the review"
    page.goto(address(row, "history"))
    yield "the history"
    page.goto(address(row, "delete"))
    expect(page.get_by_text("This can't be deleted")).to_be_visible()
    yield "what can't be deleted"
    page.goto("/admin/xkit_crm/crmobject/import/")
    page.get_by_label("Or paste it").fill("{")
    page.get_by_role("button", name="Look at the changes").click()
    yield "importing"


def test_no_screen_is_in_anybodys_way(sandbox: Connection, operator: Page) -> None:
    """WCAG 2.2 AA, as far as axe-core can tell; and nothing is wider than the screen."""
    for screen in screens(operator):
        for width in (390, 1280):
            operator.set_viewport_size({"width": width, "height": 900})
            wider = operator.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, (screen, width)
        assert barriers(operator, "#content") == [], screen
