"""The Django admin: one file per area. It shows and edits rows, and calls the layer below."""

from xkit_crm.admin import (
    bindings,
    connections,
    definition_history,
    definitions,
    invocations,
    keys,
    mappings,
    notifications,
)

__all__ = [
    "bindings",
    "connections",
    "definition_history",
    "definitions",
    "invocations",
    "keys",
    "mappings",
    "notifications",
]
