"""The admin, by what an operator sees and does."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm import catalogue, models
from xkit_crm.models import Connection, EventAction, Invocation
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


def test_a_model_is_bound_by_hand_and_its_next_save_arrives(
    sandbox: Connection, operator: Page
) -> None:
    catalogue.forget()
    operator.goto("/admin/xkit_crm/modelbinding/add/")
    operator.select_option("#id_model", label="Products | customer")
    operator.locator(".field-crm_object .select2-selection").click()
    operator.locator(".select2-search__field").fill("oppor")
    operator.locator(".select2-results__option", has_text="Opportunity").click()
    operator.select_option("#id_on_create", label="deal_created (create)")
    operator.on("dialog", lambda dialog: dialog.accept("name"))
    operator.get_by_role("button", name="Add key").click()
    operator.locator('[name="rjf§name"]').fill("name")
    operator.fill("#id_connection_path", "connection_id")
    operator.click("input[name=_save]")
    expect(operator.get_by_text("was added successfully")).to_be_visible()
    try:
        customer = Customer.objects.create(name="Globex", connection_id="acme")
        deliver()
        assert xkit_crm.links(customer).get().record_id == "Opportunity:00001"
        operator.goto("/admin/xkit_sandbox/record/")
        expect(operator.get_by_text("Globex").first).to_be_visible()
    finally:
        models.ModelBinding.objects.all().delete()


def test_a_failure_is_found_mended_and_replayed(
    sandbox: Connection, customer: Customer, operator: Page
) -> None:
    action = EventAction.objects.get(event__slug="deal_created")
    action.transformations = [{"field": "Name", "kind": "static", "value": "x" * 200}]
    action.save()
    deal: Deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    operator.goto("/admin/xkit_crm/invocation/?status__exact=failed")
    operator.locator("#result_list tbody th a").click()
    expect(operator.get_by_text("data value too large").first).to_be_visible()
    operator.goto(address(action))
    operator.locator('[name="rjf§0§kind"]').select_option("direct")
    operator.locator('[name="rjf§0§key"]').fill("name")
    operator.locator('[name="rjf§0§value"]').fill("")
    operator.click("input[name=_save]")
    expect(operator.get_by_text("was changed successfully")).to_be_visible()
    operator.goto(address(Invocation.objects.get()))
    operator.get_by_role("button", name="Replay").click()
    expect(operator.get_by_text("1 invocation is queued again.")).to_be_visible()
    deliver()
    operator.reload()
    expect(operator.locator(".xkit-status-succeeded").first).to_be_visible()
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
