"""Which models and fields of Odoo can be mapped, and what type a field has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xkit_crm.providers.base import RemoteType

#: Files, lists of lines, and what a database's own properties are made of are left out.
_TYPES = {
    "char": RemoteType.STRING,
    "text": RemoteType.TEXT,
    "html": RemoteType.TEXT,
    "integer": RemoteType.INTEGER,
    "float": RemoteType.NUMBER,
    "monetary": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "selection": RemoteType.PICKLIST,
    "many2one": RemoteType.REFERENCE,
    "reference": RemoteType.REFERENCE,
    "many2many": RemoteType.MULTIPICKLIST,
}
#: Texts that say what they are by their name alone.
_NAMES = {
    "email": RemoteType.EMAIL,
    "email_from": RemoteType.EMAIL,
    "website": RemoteType.URL,
    "phone": RemoteType.PHONE,
    "mobile": RemoteType.PHONE,
}
#: What a list of records has to be of to be picked from: tags.
_TAGS = re.compile(r".*[._](tags?|category)")
#: Models of Odoo itself.
_TECHNICAL = re.compile(
    r"(ir|base|bus|web|report|digest|iap|fetchmail|discuss|mail|sms|snailmail|res\.config|res\.users)"
    r"([._].*)?|base_.*|web_.*|.*\.(report|wizard)|_unknown"
)
_NOT_TECHNICAL = frozenset({"mail.activity", "res.users"})


def is_offered(model: str) -> bool:
    """Whether it holds what a customer works with, rather than what Odoo is made of."""
    return model in _NOT_TECHNICAL or not _TECHNICAL.fullmatch(model)


def is_described(found: Mapping[str, Any]) -> bool:
    """Whether a field, as Odoo describes it, is one that can be mapped."""
    if found["type"] == "many2many":
        return bool(_TAGS.fullmatch(str(found.get("relation"))))
    if found["type"] == "reference":
        return len(found.get("selection") or ()) > 1
    return found["type"] in _TYPES


def type_of(name: str, found: Mapping[str, Any]) -> RemoteType:
    """The type of a field that is described."""
    kind = _TYPES[found["type"]]
    return _NAMES.get(name, kind) if found["type"] == "char" else kind
