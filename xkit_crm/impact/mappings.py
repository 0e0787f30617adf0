"""What a change of a schema means for one customer's mapping. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm.impact.effects import Consequence, Severity, Whom
from xkit_crm.mapping.conversion import as_text
from xkit_crm.mapping.transformations import (
    MISSING,
    ActionType,
    Transformation,
    check_action,
    keys_read,
    parse_action,
)
from xkit_crm.mapping.transformations import Kind as Feeds
from xkit_crm.schema.comparing import KeyChange, Kind

#: What reads a payload at all.
READING = (ActionType.CREATE, ActionType.UPDATE, ActionType.SEARCH, ActionType.WORKFLOW)


def on_new_keys(path: str, changes: Collection[KeyChange]) -> Iterator[Consequence]:
    """What new keys mean for whoever lets an event read its payload."""
    for change in changes:
        if change.kind is Kind.ADDED:
            yield _at(path, change, Severity.SAFE, _("customers can map it"))


def on_transformations(path: str, rows: Any, changes: Collection[KeyChange]) -> list[Consequence]:
    """What other changes of an event's schema mean for the (stored) transformations of what a
    customer lets it do; each once. What is none is left out: it is told elsewhere."""
    found: dict[Consequence, None] = {}
    heads = {change.key.partition(".")[0] for change in changes}
    for row in rows if isinstance(rows, list) else ():
        keys = [key for key in keys_read(row) if key.partition(".")[0] in heads]
        concerned = [change for change in changes if any(map(change.concerns, keys))]
        if concerned and not check_action({"action": ActionType.UPDATE, "transformations": [row]}):
            (transformation,) = parse_action(
                {"action": ActionType.UPDATE, "transformations": [row]}
            ).transformations
            for change in concerned:
                for severity, what in _on_reading(transformation, change):
                    found[_at(path, change, severity, what)] = None
    return list(found)


def _on_reading(
    transformation: Transformation, change: KeyChange
) -> Iterator[tuple[Severity, str]]:
    for key in transformation.keys:
        if not change.concerns(key):
            continue
        if change.kind is Kind.REMOVED:
            if key == change.key or key.startswith(f"{change.key}."):
                yield Severity.BREAKS, _("what it feeds is no longer written")
        elif change.kind is Kind.RETYPED:
            yield Severity.REMAP, _("it may no longer fit the field that it feeds")
        elif change.kind is Kind.EMPTIABLE and transformation.kind in _CLEARING:
            yield Severity.REMAP, _("the field that it feeds may be cleared")
        elif change.kind is Kind.CHOICES and _knows_not(transformation, change.values):
            yield Severity.REMAP, _("the list that translates it lacks this")


#: What hands null on to the CRM.
_CLEARING = (Feeds.DIRECT, Feeds.DATE, Feeds.VALUE_MAP)


def _knows_not(transformation: Transformation, values: Collection[Any]) -> bool:
    return (
        transformation.kind is Feeds.VALUE_MAP
        and transformation.fallback is MISSING
        and any(as_text(value) not in transformation.values for value in values)
    )


def on_reads(
    path: str, feeds: Mapping[str, Any], changes: Collection[KeyChange]
) -> Iterator[Consequence]:
    """What changes of an object's fields mean for what a customer lets them be fed by."""
    for change in changes:
        head = change.key.split(".", 1)[0]
        if change.kind is Kind.ADDED:
            yield _at(path, change, Severity.SAFE, _("customers can map it"))
        elif feeds.get(head) and change.kind is Kind.REMOVED:
            yield _at(path, change, Severity.BREAKS, _("it is no longer read back"))
        elif feeds.get(head) and change.kind is Kind.RETYPED:
            yield _at(path, change, Severity.REMAP, _("the field that feeds it may no longer fit"))


def _at(path: str, change: KeyChange, severity: Severity, what: str) -> Consequence:
    return Consequence(severity, f"{path}.{change.key}", Whom.CONNECTION, f"{change.what} — {what}")
