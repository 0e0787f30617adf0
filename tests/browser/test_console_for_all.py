"""The console for everybody: no barriers, in light and dark, narrow, and right to left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import mappings
from xkit_crm.admin.base import ReadOnlyAdmin
from xkit_crm.models import APIKey, Connection, EventAction, Invocation
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: What is ours on a page; what is around it is the admin's own.
OURS = "#content"


@pytest.fixture
def log(sandbox: Connection, customer: Customer) -> None:
    """Every kind of row: delivered, failed, linked, bound, drafted."""
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    APIKey.objects.issue("backend")
    EventAction.objects.filter(event__slug="deal_created").update(
        transformations=[{"field": "Name", "kind": "static", "value": None}]
    )
    DealFactory.create(customer=customer)
    deliver()
    mappings.draft(sandbox)


def screens() -> Iterator[str]:
    """The address of every screen: the lists, one row of each, a new one, and the pages."""
    yield reverse("admin:app_list", args=["xkit_crm"])
    yield reverse("admin:xkit_crm_overview")
    yield reverse("admin:xkit_crm_overview_of_one", args=["acme"])
    for model, its_admin in admin.site._registry.items():
        meta = model._meta
        if meta.app_label not in ("xkit_crm", "xkit_sandbox"):
            continue
        name = f"admin:{meta.app_label}_{meta.model_name}"
        yield reverse(f"{name}_changelist")
        if (row := model._default_manager.order_by("-pk").first()) is not None:
            yield reverse(f"{name}_change", args=[row.pk])
        if not isinstance(its_admin, ReadOnlyAdmin):
            yield reverse(f"{name}_add")
    yield reverse("admin:xkit_crm_failures")
    failed = Invocation.objects.get(status="failed")
    for page in ("replay", "skip"):
        yield reverse(f"admin:xkit_crm_invocation_{page}", args=[failed.pk])
        yield reverse("admin:xkit_crm_invocation_repair_all", args=[page]) + "?status=trouble"
    yield reverse("admin:xkit_crm_invocation_changelist") + "?status=nope&connection=nobody"


def complaints(page: Page) -> list[tuple[str, list[str]]]:
    options = {"runOnly": WCAG}
    found = Axe().run(page, context=OURS, options=options).response["violations"]
    return [(rule["id"], [node["html"][:160] for node in rule["nodes"]][:3]) for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_has_a_barrier(log: None, operator: Page, scheme: str) -> None:
    operator.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    told = {}
    for screen in screens():
        operator.goto(screen)
        expect(operator.locator(OURS)).to_be_visible()
        if found := complaints(operator):
            told[screen] = found
    assert told == {}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_no_screen_is_wider_than_a_phone(log: None, operator: Page, language: str) -> None:
    operator.set_viewport_size({"width": 390, "height": 844})
    operator.set_extra_http_headers({"Accept-Language": language})
    wide = {}
    for screen in screens():
        operator.goto(screen)
        direction = operator.evaluate("getComputedStyle(document.body).direction")
        assert direction == ("rtl" if language == "ar" else "ltr")
        if (over := operator.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            wide[screen] = over
    assert wide == {}
