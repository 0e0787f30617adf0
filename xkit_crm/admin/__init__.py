"""The Django admin: one file per area. It shows and edits rows, and calls the layer below.

`CRMRecordsMixin` is for a product's own admin classes.
"""

from xkit_crm.admin import (
    bindings,
    connections,
    definition_history,
    definitions,
    invocations,
    keys,
    mappings,
    notifications,
    record_links,
)
from xkit_crm.admin.crm_records import CRMRecordsMixin

__all__ = [
    "CRMRecordsMixin",
    "bindings",
    "connections",
    "definition_history",
    "definitions",
    "invocations",
    "keys",
    "mappings",
    "notifications",
    "record_links",
]
