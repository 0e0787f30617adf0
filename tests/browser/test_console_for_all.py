"""The console for everybody: no barriers, in light and dark, narrow, and right to left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.browser.barriers import barriers
from xkit_crm.admin.base import ReadOnlyAdmin
from xkit_crm.models import Connection, Invocation

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: What is ours on a page; what is around it is the admin's own. Of django-unfold's there is more.
OURS, APPS = "#content", ("xkit_crm", "xkit_sandbox")
if apps.is_installed("unfold"):
    OURS, APPS = "[class*=xkit-]", ("xkit_crm",)


def screens() -> Iterator[str]:
    """The address of every screen: the lists, one row of each, a new one, and the pages."""
    yield reverse("admin:app_list", args=["xkit_crm"])
    yield reverse("admin:xkit_crm_overview")
    yield reverse("admin:xkit_crm_overview_of_one", args=["acme"])
    for model, its_admin in admin.site._registry.items():
        meta = model._meta
        if meta.app_label not in APPS:
            continue
        name = f"admin:{meta.app_label}_{meta.model_name}"
        yield reverse(f"{name}_changelist")
        if (row := model._default_manager.order_by("-pk").first()) is not None:
            yield reverse(f"{name}_change", args=[row.pk])
        if not isinstance(its_admin, ReadOnlyAdmin):
            yield reverse(f"{name}_add")
    yield reverse("admin:xkit_crm_failures")
    yield reverse("admin:xkit_crm_invocation_try")
    failed = Invocation.objects.get(status="failed")
    for page in ("replay", "skip"):
        yield reverse(f"admin:xkit_crm_invocation_{page}", args=[failed.pk])
        yield reverse("admin:xkit_crm_invocation_repair_all", args=[page]) + "?status=trouble"
    yield reverse("admin:xkit_crm_invocation_changelist") + "?status=nope&connection=nobody"


def test_no_screen_has_a_barrier(log: Connection, operator: Page) -> None:
    told = {}
    for screen in screens():
        operator.goto(screen)
        expect(operator.locator(OURS).first).to_be_visible()
        if found := barriers(operator, OURS):
            told[screen] = found
    assert told == {}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_no_screen_is_wider_than_a_phone(log: Connection, operator: Page, language: str) -> None:
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
