"""The pages on which an event is tried, and what is read of their answers."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from django.urls import reverse

KEY = "0190163d-8694-739b-aea5-966c26f8ad91"
CREATE = {"connection": "acme", "event": "opportunity.deal_created"}
UPDATE = {"connection": "acme", "event": "opportunity.deal_updated"}
DELETE = {"connection": "acme", "event": "opportunity.deal_deleted"}


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:xkit_crm_invocation_{name}", args=args)


def value(html: str, name: str) -> str:
    """What a box holds."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', html)
    assert found is not None, name
    return unescape(found[1])


def sending(payload: dict[str, Any], key: str = KEY, **chosen: str) -> dict[str, str]:
    return {**(chosen or CREATE), "payload": json.dumps(payload), "key": key}
