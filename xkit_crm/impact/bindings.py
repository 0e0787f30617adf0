"""What a change of an event means for one binding. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm.impact.effects import Consequence, Severity, Whom
from xkit_crm.mapping.fitting import described
from xkit_crm.schema.comparing import KeyChange, Kind
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.fitting import Fit, fit
from xkit_crm.sync.payloads import unfilled, whole_of


def on_binding(
    path: str, binding: Binding, changes: Collection[KeyChange], schema: Mapping[str, Any]
) -> Iterator[Consequence]:
    """What changes of the schema of an event mean for a binding that fires it; `schema` is the new
    one."""
    filled = {key for key, _ in binding.payload}
    for change in changes:
        for severity, what in _on_filling(binding, change, schema, filled):
            yield Consequence(
                severity, f"{path}.{change.key}", Whom.BINDING, f"{change.what} — {what}"
            )


def _on_filling(
    binding: Binding,
    change: KeyChange,
    schema: Mapping[str, Any],
    filled: Collection[str],
) -> Iterator[tuple[Severity, str]]:
    is_below = bool(whole_of(change.key, filled))
    is_filled = is_below or any(f"{key}.".startswith(f"{change.key}.") for key in filled)
    if change.kind is Kind.REQUIRED and not is_filled:
        if change.key in unfilled(schema, filled):
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
    fits = fit(path, binding.model, described(schema, key)) if path else Fit.UNKNOWN
    if fits is Fit.NEVER:
        yield Severity.BREAKS, _("what fills it is something else, so rows are refused")
    elif fits is Fit.PERHAPS:
        yield Severity.BREAKS, _("rows whose values don't fit are refused")
    elif fits is Fit.UNKNOWN:
        yield Severity.REMAP, _("code fills it: look whether that still fits")
