"""How tests go through the log in the admin."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from xkit_crm.models import Invocation

LIST = "/admin/xkit_crm/invocation/"


def page(invocation: Invocation, name: str = "change") -> str:
    return reverse(f"admin:xkit_crm_invocation_{name}", args=[invocation.pk])


def shown(client: Client, address: str, **query: Any) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(client: Client, **query: Any) -> list[int]:
    """The ids that the list shows, in order."""
    told = shown(client, LIST, **query)
    links = re.findall(r'href="/admin/xkit_crm/invocation/(\d+)/change/', told)
    return [int(pk) for pk in dict.fromkeys(links)]


def said(client: Client) -> list[str]:
    """What was said of the last thing that was done."""
    context = client.get(LIST).context
    return [str(message) for message in context["messages"]]
