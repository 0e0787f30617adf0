"""The console for everybody: no barriers, in light and dark, narrow, and right to left."""

from __future__ import annotations

import pytest
from django.apps import apps
from playwright.sync_api import Page, expect

from tests.admin.screens import screens
from tests.browser.barriers import barriers
from xkit_crm.models import Connection

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: What is ours on a page; what is around it is the admin's own. Of django-unfold's there is more.
OURS = "[class*=xkit-]" if apps.is_installed("unfold") else "#content"


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
