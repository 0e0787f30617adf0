"""Xkit-flavored JSON as plain data: the public names, and nothing else.

    {"updated_at": {"type": "string", "format": "datetime", "label": "Last update"}}

Models, definitions, sync, the API and the admin call this; it knows no model and no HTTP.
"""

from __future__ import annotations

from xkit_crm.schema.checking import check
from xkit_crm.schema.compiling import compile, validate  # noqa: A004 - reads well qualified
from xkit_crm.schema.documents import canonical, check_objects
from xkit_crm.schema.language import label_for, normalise
from xkit_crm.schema.samples import sample
from xkit_crm.schema.translation import json_schema
from xkit_crm.schema.validator import Validator
from xkit_crm.schema.values import storable, to_json

__all__ = [
    "Validator",
    "canonical",
    "check",
    "check_objects",
    "compile",
    "json_schema",
    "label_for",
    "normalise",
    "sample",
    "storable",
    "to_json",
    "validate",
]
