"""The bindings that the tests save through."""

from __future__ import annotations

from typing import Any

import xkit_crm

from .models import Deal, Elsewhere, Ticket, Twin


@xkit_crm.register(Deal)
class DealSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    on_update = "deal_updated"
    on_delete = "deal_deleted"
    payload = {
        "name": "title",
        "amount": "amount",
        "tags": "tags",
        "views": "views",
        "owner_email": "owner__email",
        "updated_at": "modified_at",
    }

    def get_connections(self, deal: Deal) -> Any:
        return [deal.customer.connection_id]


@xkit_crm.register(Elsewhere)
class ElsewhereSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    payload = {"name": "title"}

    def get_connections(self, row: Elsewhere) -> Any:
        return row.connection_id


@xkit_crm.register(Twin)
class TwinSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    on_update = "deal_updated"
    payload = {"name": "title", "amount": "amount", "owner_email": "email"}

    def get_connections(self, row: Twin) -> Any:
        return [row.connection_id]


@xkit_crm.register(Ticket)
class TicketSync(xkit_crm.ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"
    on_update = "deal_updated"
    payload = {"name": "title"}

    def get_connections(self, row: Ticket) -> Any:
        return row.connection_ids
