"""How tests go through the panel of a row's CRM records."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from tests.products.models import Deal

HTMX = {"HX-Request": "true"}


def address(name: str, row: Any, *, model: str = "deal") -> str:
    return reverse(f"backoffice:products_{model}_{name}", args=[row.pk])


def shown(client: Client, row: Any, *, model: str = "deal") -> str:
    page = client.get(address("change", row, model=model)).content.decode()
    return page.partition('id="crm-records"')[2].partition("</section>")[0]


def press(client: Client, name: str, row: Any, *, htmx: bool = True, **more: str) -> Any:
    data = {"connection": "acme", "crm_object": "opportunity", **more}
    return client.post(address(f"crm_{name}", row), data, headers=HTMX if htmx else {})


def search(client: Client, row: Any, text: str, **more: str) -> str:
    data = {"connection": "acme", "crm_object": "opportunity", "q": text, **more}
    return client.get(address("crm_search", row), data, headers=HTMX).content.decode()


def log() -> list[tuple[str, str]]:
    entries = LogEntry.objects.order_by("pk")
    return [(entry.object_repr, entry.get_change_message()) for entry in entries]


def do(client: Client, *rows: Deal) -> str:
    chosen = {"action": "sync_with_crms", "_selected_action": [row.pk for row in rows]}
    page = client.post(reverse("backoffice:products_deal_changelist"), chosen, follow=True)
    return page.content.decode()
