"""The admin, by what an operator sees and does."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import models
from xkit_crm.models import Connection
from xkit_crm.providers.sandbox import models as crm
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: All but what is only counted: the overview shows that.
OURS = [
    *(getattr(models, name) for name in models.__all__ if name != "Tally"),
    crm.Org,
    crm.Object,
    crm.Record,
]


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
