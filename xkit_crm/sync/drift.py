"""Does a CRM record hold what we would write, and who made them differ? Plain data in and out.

`backfill.py` asks before it queues an update for a record that it found, `reconcile_deep.py` for
every record.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from xkit_crm.mapping.sameness import same
from xkit_crm.providers.base import RemoteField
from xkit_crm.sync.digests import fingerprint


class ChangedBy(enum.StrEnum):
    """Who made a record's field and ours differ."""

    CRM = "CRM"
    PRODUCT = "product"
    MAPPING = "mapping"
    BOTH = "both"
    UNKNOWN = "not known"


def differing(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> Iterator[str]:
    """The remote fields of `ours` that can be read and hold something else."""
    for name, value in ours.items():
        if name in fields and fields[name].readable and not same(value, theirs.get(name)):
            yield name


def may_change(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> bool:
    """Whether writing `ours` would change the record, as far as anybody can tell."""
    unreadable = any(name not in fields or not fields[name].readable for name in ours)
    return unreadable or any(differing(ours, theirs, fields))


def changed_by(ours: Any, theirs: Any, written: str | None, *, payload_changed: bool) -> ChangedBy:
    """Who moved away from what was written last, of which `written` is the fingerprint.

    `payload_changed`: the row's payload is not the one that was delivered.
    """
    if written is None:
        return ChangedBy.UNKNOWN
    if fingerprint(ours) == written:
        return ChangedBy.CRM
    if fingerprint(theirs) != written:
        return ChangedBy.BOTH
    return ChangedBy.PRODUCT if payload_changed else ChangedBy.MAPPING
