"""The admin, by what an operator sees and does."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import models
from xkit_crm.models import Connection, EventDefinition
from xkit_crm.providers.sandbox import models as crm
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OURS = [*(getattr(models, name) for name in models.__all__), crm.Org, crm.Object, crm.Record]


def address(row: object) -> str:
    meta = row._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])  # type: ignore[attr-defined]


def test_every_page_opens_without_a_complaint_of_the_browser(
    sandbox: Connection, customer: Customer, operator: Page
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    models.APIKey.objects.issue("backend")
    for model in OURS:
        meta = model._meta
        operator.goto(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"))
        expect(operator.locator("#content h1")).to_be_visible()
        if (row := model.objects.first()) is not None:
            operator.goto(address(row))
            expect(operator.locator("#content h1")).to_be_visible()
        if operator.request.get(add := reverse(f"admin:{meta.app_label}_{meta.model_name}_add")).ok:
            operator.goto(add)
            expect(operator.locator("input[name=_save]")).to_be_visible()
    assert set(OURS) <= set(admin.site._registry)


def test_a_payload_schema_is_edited_block_by_block(definitions: None, operator: Page) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    before = event.payload_schema
    operator.goto(address(event))
    label = operator.locator('[name="rjf§name§label"]')
    expect(label).to_have_value("Opportunity Name")
    label.fill("Name of the Deal")
    operator.on("dialog", lambda dialog: dialog.accept("stage"))
    operator.get_by_role("button", name="Add key").last.click()
    operator.locator('[name="rjf§stage§label"]').fill("Stage")
    operator.locator('[name="rjf§stage§maxLength"]').fill("20")
    operator.click("input[name=_save]")
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    event.refresh_from_db()
    assert event.payload_schema == {
        **before,
        "name": {**before["name"], "label": "Name of the Deal"},
        "stage": {"type": "string", "label": "Stage", "maxLength": 20},
    }
    assert list(event.payload_schema) == [*before, "stage"]


def test_a_schema_with_a_mistake_is_shown_again_with_its_path(
    definitions: None, operator: Page
) -> None:
    event = EventDefinition.objects.get(slug="deal_deleted")
    before = event.payload_schema
    operator.goto(address(event))
    operator.locator('[name="rjf§name§maxLength"]').fill("-1")
    operator.click("input[name=_save]")
    expect(operator.get_by_text("schema.name.maxLength")).to_be_visible()
    expect(operator.locator('[name="rjf§name§maxLength"]')).to_have_value("-1")
    event.refresh_from_db()
    assert event.payload_schema == before
