"""The console's stylesheets: each is linked once, and none says something else of another's."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from tests.admin.log import page, shown
from xkit_crm.models import Connection, CRMObject, Invocation, RecordLink
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def pages_of(row: Any) -> list[str]:
    name = f"admin:xkit_crm_{row._meta.model_name}"
    return [reverse(f"{name}_{one}", args=[row.pk]) for one in ("change", "history", "delete")]


def test_each_page_links_each_stylesheet_once(
    failed: Invocation, sandbox: Connection, admin_client: Client
) -> None:
    Invocation.objects.update(status="pending")
    deliver()
    for address in (
        reverse("admin:app_list", args=["xkit_crm"]),
        reverse("admin:xkit_crm_overview"),
        reverse("admin:xkit_crm_invocation_changelist"),
        page(failed),
        *pages_of(RecordLink.objects.get()),
        *pages_of(CRMObject.objects.get(slug="contact")),
        *pages_of(failed.event),
        *pages_of(sandbox),
    ):
        told = shown(admin_client, address)
        linked = Counter(re.findall(r'<link[^>]+href="([^"]*xkit_crm/[\w/]+\.css)"', told))
        assert {"/static/xkit_crm/records.css", "/static/xkit_crm/admin.css"} <= set(linked)
        assert set(linked.values()) == {1}, (address, linked)
        body = told.partition("<body")[2]
        assert "xkit_crm/admin.css" not in body, address


SHEETS = ("records", "admin", "forms", "definitions", "overview")


def defined(sheet: str) -> set[str]:
    """The classes that a stylesheet says something of by themselves, wherever they stand."""
    path = finders.find(f"xkit_crm/{sheet}.css")
    assert isinstance(path, str)
    text = re.sub(r"/\*.*?\*/", "", Path(path).read_text("utf-8"), flags=re.DOTALL)
    found: set[str] = set()
    for selectors in re.findall(r"([^{};]+)\{", text):
        found |= {
            one for one in map(str.strip, selectors.split(",")) if re.fullmatch(r"\.[\w-]+", one)
        }
    return found


def test_no_stylesheet_defines_a_class_of_another() -> None:
    sheets = Counter(name for sheet in SHEETS for name in defined(sheet))
    assert {name for name, count in sheets.items() if count > 1} <= {".dark"}
