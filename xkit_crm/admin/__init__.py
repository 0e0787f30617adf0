"""The Django admin: one file per area. It shows and edits rows, and calls the layer below.

`CRMRecordsMixin` is for a product's own admin classes.
"""

from django.contrib import admin

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

# The admin's first page leads to the console's screens, not only to its tables. A product that has
# a template of its own for it keeps that.
if admin.site.index_template is None:
    admin.site.index_template = "admin/xkit_crm/index.html"
