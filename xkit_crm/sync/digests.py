"""Digests: short names of values, to tell later whether one is still what it was.

`delivery/outcomes.py` keeps them on record links; reconciling and echo recognition compare with
them. Kept instead of the values, so that a link holds no personal data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from xkit_crm.mapping.sameness import normal

#: What a link's `delivered` holds after its row was erased from the log: nobody knows any more what
#: was delivered, and nothing is to be sent again for that.
FORGOTTEN = {"": "erased"}


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def digest(value: Any) -> str:
    """16 hex digits that equal values have in common; `value` is JSON."""
    text = _encode(value)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def digests(values: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each value, by its key."""
    return {key: digest(value) for key, value in values.items()}


def fingerprint(value: Any) -> str:
    """The digest of a remote field's value, however it is spelled: what we wrote and what the CRM
    makes of it have it in common. `RecordLink.written` holds these."""
    spelled = normal(value)
    if not isinstance(spelled, str):
        return digest(spelled)
    return hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def fingerprints(values: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprint of each value, by its remote field."""
    return {field: fingerprint(value) for field, value in values.items()}
