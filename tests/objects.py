"""The `objects` document that most tests load."""

from __future__ import annotations

from typing import Any

NAME = {"type": "string", "label": "Opportunity Name", "maxLength": 80}
PAYLOAD: dict[str, Any] = {
    "name": NAME,
    "amount": {"type": "number", "label": "Amount"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "views": {"type": "integer", "label": "Views"},
    "owner_email": {"type": "string", "format": "email", "label": "Owner's Email"},
}
OBJECTS: dict[str, Any] = {
    "opportunity": {
        "label": "Opportunity",
        "fields": {
            "document_name": {"type": "string", "label": "Document Name"},
            "document_tags": {"type": "object", "label": "Document Tags"},
        },
        "events": {
            "deal_created": {"type": "create", "label": "Deal Created", "payloadSchema": PAYLOAD},
            "deal_updated": {
                "type": "update",
                "label": "Deal Updated",
                "payloadSchema": {
                    **PAYLOAD,
                    "updated_at": {"type": "string", "format": "datetime", "label": "Updated at"},
                },
            },
            "deal_deleted": {
                "type": "delete",
                "label": "Deal Deleted",
                "payloadSchema": {"name": NAME},
            },
            "find_deals": {
                "type": "search",
                "label": "Find Deals",
                "payloadSchema": {"name": NAME},
            },
        },
    },
    "contact": {
        "label": "Contact",
        "events": {
            "contact_deleted": {
                "type": "delete",
                "label": "Contact Deleted",
                "payloadSchema": {
                    "deleted_at": {
                        "type": "string",
                        "format": "datetime",
                        "label": "Contact Delete Time",
                    }
                },
            }
        },
    },
}
