"""What a change of an event means for one binding. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm.impact.effects import Consequence, Severity, Whom
from xkit_crm.schema.comparing import KeyChange, Kind
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.fitting import Fit, fit


def on_binding(
    path: str, binding: Binding, changes: Collection[KeyChange], schema: Mapping[str, Any]
) -> Iterator[Consequence]:
    """What changes of the schema of an event mean for a binding that fires it; `schema` is the new
    one."""
    filled = {key for key, _ in binding.payload}
    for change in changes:
        key, _dot, below = change.key.partition(".")
        for severity, what in _on_filling(binding, change, schema, key in filled, bool(below)):
            yield Consequence(
                severity, f"{path}.{change.key}", Whom.BINDING, f"{change.what} — {what}"
            )


def _on_filling(
    binding: Binding,
    change: KeyChange,
    schema: Mapping[str, Any],
    is_filled: bool,
    is_below: bool,
) -> Iterator[tuple[Severity, str]]:
    if change.kind is Kind.REQUIRED and not is_filled:
        if not is_below:
            yield Severity.BREAKS, _("nothing fills it, so rows are refused")
    elif not is_filled:
        return
    elif change.kind is Kind.REMOVED and not is_below:
        yield Severity.BREAKS, _("what fills it is no longer sent")
    elif is_below and change.kind in (Kind.REMOVED, Kind.REQUIRED, Kind.RETYPED, Kind.NARROWED):
        yield Severity.REMAP, _("it is a part of what is filled: look whether that still fits")
    elif change.kind in (Kind.RETYPED, Kind.NARROWED):
        yield from _on_values(binding, change.key, schema)


def _on_values(
    binding: Binding, key: str, schema: Mapping[str, Any]
) -> Iterator[tuple[Severity, str]]:
    path = binding.paths.get(key)
    fits = fit(path, binding.model, schema[key]) if path else Fit.UNKNOWN
    if fits is Fit.NEVER:
        yield Severity.BREAKS, _("what fills it is something else, so rows are refused")
    elif fits is Fit.PERHAPS:
        yield Severity.BREAKS, _("rows whose values don't fit are refused")
    elif fits is Fit.UNKNOWN:
        yield Severity.REMAP, _("code fills it: look whether that still fits")
