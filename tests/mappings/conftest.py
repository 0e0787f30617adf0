"""Documents, and a CRM that falls silent."""

from __future__ import annotations

import copy
from typing import Any

from xkit_crm import mappings
from xkit_crm.providers.sandbox.models import Misbehaviour, Org

NAME = {"field": "Name", "kind": "direct", "key": "name"}


def decide(document: mappings.Document, event: str, **changes: Any) -> mappings.Document:
    """The document, with another decision for an event of opportunities."""
    changed = copy.deepcopy(document)
    changed["opportunity"]["events"].setdefault(event, {}).update(changes)
    return changed


def silence() -> Misbehaviour:
    """Make the CRM answer nothing any more."""
    return Misbehaviour.objects.create(org=Org.objects.get(slug="acme"), kind="unavailable")
