"""How tests bind `Offer`."""

from __future__ import annotations

from typing import Any

import xkit_crm
from tests.products.models import Offer


def bind_offers(**attributes: Any) -> None:
    """Bind it anew, with its total and these attributes of the binding."""
    body = {
        "crm_object": "opportunity",
        "on_create": "deal_created",
        "on_update": "deal_updated",
        "on_delete": "deal_deleted",
        "payload": {"name": "title", "amount": "total"},
        "get_connections": lambda self, offer: offer.connection_id,
        **attributes,
    }
    xkit_crm.register(Offer)(type("OfferSync", (xkit_crm.ModelSync,), body))
