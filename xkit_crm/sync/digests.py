"""Digests: short names of values, to tell later whether one is still what it was.

`delivery/linking.py` keeps them on record links; reconciling and echo recognition compare with
them. Kept instead of the values, so that a link holds no personal data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from xkit_crm.mapping.sameness import normal

#: What a link's `delivered` holds after its row was erased from the log: nobody knows any more what
#: was delivered, and nothing is to be sent again for that.
FORGOTTEN = {"": "erased"}


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def digest(value: Any) -> str:
    """16 hex digits that equal values have in common; `value` is JSON. A whole number is the same
    with a point and without: databases give 1e16 back as an integer."""
    text = _encode(_without_points(value))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _without_points(value: Any) -> Any:
    if isinstance(value, float):
        # By its digits, as databases read it, not by the bits: of 1e23 they differ.
        return int(Decimal(float.__repr__(value))) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _without_points(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_points(entry) for entry in value]
    return value


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
