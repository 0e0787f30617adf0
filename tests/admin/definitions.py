"""What the tests of definitions share: rows, their pages, and saving them."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

from django.test import Client
from django.urls import reverse

import xkit_crm
from tests.admin.forms import sent_by
from tests.objects import PAYLOAD
from xkit_crm.models import (
    CRMObject,
    EventDefinition,
)

ADD = "/admin/xkit_crm/crmobject/add/"
NO_NAME = json.dumps({key: value for key, value in PAYLOAD.items() if key != "name"})
PREVIEW = "/admin/xkit_crm/eventdefinition/preview/"
MARKUP = "<script>alert(1)</script><b>bold</b>"


def opportunity() -> CRMObject:
    return CRMObject.objects.get(slug="opportunity")


def event(slug: str = "deal_created") -> EventDefinition:
    return EventDefinition.objects.get(slug=slug)


def page_of(row: Any, name: str = "change") -> str:
    return reverse(f"admin:xkit_crm_{row._meta.model_name}_{name}", args=[row.pk])


def shown(response: Any) -> str:
    return unescape(response.content.decode())


def free() -> CRMObject:
    """An object with an event that nobody uses."""
    xkit_crm.define({"ticket": {"events": {"ticket_closed": {"type": "delete"}}}})
    return CRMObject.objects.get(slug="ticket")


def save(client: Client, row: Any, **changes: str | None) -> Any:
    """Change some boxes of a page and save it."""
    return client.post(page_of(row), sent_by(client.get(page_of(row)), **changes))


def typed(**changes: str) -> dict[str, str]:
    return {
        "label": "Deal Created",
        "slug": "deal_created",
        "type": "create",
        "active": "on",
        "payload_schema": json.dumps(PAYLOAD),
        **changes,
    }
