"""The pages of bindings: the form filled in, and what is read of its answers."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from tests.admin.reading import text
from tests.products.models import Customer
from xkit_crm.models import CRMObject, EventDefinition, ModelBinding

#: For tests that put bindings into force. Some bound models of the tests live in another database.
IN_FORCE = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.usefixtures("forgotten_rows"),
]

LIST = "/admin/xkit_crm/modelbinding/"
ADD = f"{LIST}add/"


def type_of(model: Any) -> int:
    return ContentType.objects.get_for_model(model).pk


def event(slug: str) -> EventDefinition:
    return EventDefinition.objects.get(slug=slug)


def form(**changes: Any) -> dict[str, Any]:
    """The form, filled in so that customers become opportunities."""
    return {
        "model": type_of(Customer),
        "crm_object": CRMObject.objects.get(slug="opportunity").pk,
        "on_create": event("deal_created").pk,
        "on_update": event("deal_updated").pk,
        "on_delete": "",
        "payload:name": "name",
        "connection_path": "connection_id",
        "active": "on",
        **changes,
    }


def rule(
    index: int, path: str, operator: str = "is", value: Any = "", typed: str = ""
) -> dict[str, Any]:
    begin = f"condition:{index}"
    return {
        f"{begin}:path": path,
        f"{begin}:path:typed": typed,
        f"{begin}:operator": operator,
        f"{begin}:value": value,
    }


def made(**changes: Any) -> ModelBinding:
    values: dict[str, Any] = {
        "model_id": type_of(Customer),
        "crm_object": CRMObject.objects.get(slug="opportunity"),
        "on_create": event("deal_created"),
        "payload": {"name": "name"},
        "connection_path": "connection_id",
    }
    return ModelBinding.objects.create(**values | changes)


def page(row: ModelBinding) -> str:
    return f"{LIST}{row.pk}/change/"


def options(html: str, name: str) -> list[str]:
    """The values that a picker offers."""
    found = re.search(rf'<select[^>]*name="{re.escape(name)}".*?</select>', html, re.DOTALL)
    assert found is not None, name
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', found[0])]


def chosen(html: str, name: str) -> str:
    found = re.search(rf'<select[^>]*name="{re.escape(name)}".*?</select>', html, re.DOTALL)
    assert found is not None, name
    selected = re.search(r'<option value="([^"]*)"[^>]*selected', found[0])
    return unescape(selected[1]) if selected else ""


def parts(client: Client, **sent: Any) -> str:
    """The form's parts as they are renewed after a choice."""
    answer = client.post(reverse("admin:xkit_crm_modelbinding_parts"), sent)
    assert answer.status_code == 200
    return answer.content.decode()


def preview(client: Client, row: ModelBinding | None = None, **sent: Any) -> str:
    address = reverse("admin:xkit_crm_modelbinding_preview")
    return text(client.post(address + (f"?id={row.pk}" if row else ""), sent))
