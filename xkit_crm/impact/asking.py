"""Asking the database who is concerned: connections by their mappings, and what waits.

A few queries, whatever changes and however many connections there are. Nothing is asked of the log
but what waits, and of that only so many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from xkit_crm import schema
from xkit_crm.impact.bindings import on_binding
from xkit_crm.impact.effects import Consequence, Effect, Severity, Tally, Whom
from xkit_crm.impact.mappings import READING, on_new_keys, on_reads, on_transformations
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import EventAction, EventDefinition, Invocation, ObjectMapping
from xkit_crm.models.definition_version import Kind as Row
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.schema.comparing import KeyChange, Kind, compare
from xkit_crm.states import Edit
from xkit_crm.sync.bindings import firing

#: How many that wait are looked through, and how many of their payloads are tried.
LOOKED_AT = 5_000
TRIED = 500

#: What may make a payload invalid that was valid.
_REFUSING = (Kind.REMOVED, Kind.RETYPED, Kind.REQUIRED, Kind.NARROWED)


def of(edits: Sequence[Edit]) -> list[Effect]:
    """What these edits do, and to whom; the worst first."""
    tally = Tally()
    _on_events([edit for edit in edits if edit.state.kind is Row.EVENT], tally)
    _on_objects([edit for edit in edits if edit.state.kind is Row.OBJECT], tally)
    _on_names(edits, tally)
    return list(tally.effects())


def _on_names(edits: Sequence[Edit], tally: Tally) -> None:
    """Callers name objects and events; nobody names a binding."""
    what = _("is renamed — whoever calls it has to use the new name")
    for edit in edits:
        before, after = edit.before, edit.after
        if edit.state.kind is Row.BINDING or before is None or before.pk is None or after is None:
            continue
        if before.path != after.path:
            tally.add(Consequence(Severity.SAFE, before.path, Whom.CALLER, what))


# -- events ---------------------------------------------------------------------------------------

#: By an event's id: its path, its new schema, and what changes in it.
_Changed = dict[int, tuple[str, Mapping[str, Any], list[KeyChange]]]


def _on_events(edits: Sequence[Edit], tally: Tally) -> None:
    changed: _Changed = {}
    off: dict[int, str] = {}
    for edit in edits:
        if edit.before is None or edit.before.pk is None:
            continue  # nobody can have decided anything of it
        old, new = edit.schemas("payload_schema")
        if edit.is_switched_off:
            off[edit.before.pk] = edit.before.path
        elif changes := compare(old, new):
            changed[edit.before.pk] = (edit.state.path, new, changes)
    if changed:
        _on_bindings(changed, tally)
        _on_actions(changed, tally)
        _on_waiting(changed, tally)
    if off:
        _on_switched_off(off, tally)


def _on_bindings(changed: _Changed, tally: Tally) -> None:
    for path, new, changes in changed.values():
        for binding in firing(*path.split(".", 1)):
            for consequence in on_binding(path, binding, changes, new):
                tally.add(consequence, binding.origin)


def _actions(event_ids: Iterable[int]) -> QuerySet[EventAction]:
    """What customers let these events do; those that opted out of their object let them do
    nothing but run workflows."""
    opted_out = ~Q(action=ActionType.WORKFLOW) & Q(mapping__remote_object="")
    return (
        EventAction.objects.filter(event_id__in=list(event_ids))
        .exclude(action=ActionType.NOOP)
        .exclude(opted_out)
        .order_by("mapping__connection_id")
    )


def _on_actions(changed: _Changed, tally: Tally) -> None:
    new: dict[int, list[Consequence]] = {}
    other: dict[int, tuple[str, list[KeyChange]]] = {}
    for event_id, (path, _schema, changes) in changed.items():
        if added := list(on_new_keys(path, changes)):
            new[event_id] = added
        if rest := [change for change in changes if change.kind is not Kind.ADDED]:
            other[event_id] = (path, rest)
    if new:
        reading = _actions(new).filter(action__in=READING)
        for event_id, connection_id in reading.values_list(
            "event_id", "mapping__connection_id"
        ).iterator():
            for consequence in new[event_id]:
                tally.add(consequence, connection_id)
    if other:
        _on_reading(other, tally)


def _on_reading(changed: Mapping[int, tuple[str, list[KeyChange]]], tally: Tally) -> None:
    """Who reads what changes. Customers whose mappings are alike are looked at once."""
    known: dict[tuple[int, str], list[Consequence]] = {}
    text = Cast("transformations", TextField())
    reading = _actions(changed).filter(action__in=READING).annotate(text=text)
    for event_id, connection_id, rows in reading.values_list(
        "event_id", "mapping__connection_id", "text"
    ).iterator():
        found = known.get((event_id, rows))
        if found is None:
            path, changes = changed[event_id]
            found = known[event_id, rows] = on_transformations(path, json.loads(rows), changes)
        for consequence in found:
            tally.add(consequence, connection_id)


def _on_waiting(changed: _Changed, tally: Tally) -> None:
    """What was captured before is sent as it was captured, whether or not it still fits."""
    validators = {
        event_id: schema.compile(new)
        for event_id, (_path, new, changes) in changed.items()
        if any(change.kind in _REFUSING for change in changes)
    }
    if not validators:
        return
    waiting = Invocation.objects.filter(status=InvocationStatus.PENDING).order_by()
    looked_at = list(waiting.values_list("pk", "event_id")[:LOOKED_AT])
    concerned = [pk for pk, event_id in looked_at if event_id in validators]
    payloads = Invocation.objects.filter(pk__in=concerned[:TRIED]).order_by()
    what = _("they wait with a payload that no longer fits, and are sent as they are")
    if len(looked_at) == LOOKED_AT or len(concerned) > TRIED:
        what = _("%(what)s (only the first that wait were looked at)") % {"what": what}
    for event_id, payload in payloads.values_list("event_id", "payload"):
        if validators[event_id].validate(payload):
            tally.add(Consequence(Severity.REMAP, changed[event_id][0], Whom.WAITING, what))


def _on_switched_off(off: Mapping[int, str], tally: Tally) -> None:
    for path in off.values():
        for binding in firing(*path.split(".", 1)):
            what = _("is switched off — it is no longer fired")
            consequence = Consequence(Severity.BREAKS, path, Whom.BINDING, what)
            tally.add(consequence, binding.origin)
    what = _("is switched off — it no longer reaches the CRM")
    acting = _actions(off).values_list("event_id", "mapping__connection_id")
    for event_id, connection_id in acting.iterator():
        consequence = Consequence(Severity.BREAKS, off[event_id], Whom.CONNECTION, what)
        tally.add(consequence, connection_id)


# -- objects --------------------------------------------------------------------------------------


def _on_objects(edits: Sequence[Edit], tally: Tally) -> None:
    changed: dict[int, tuple[str, list[KeyChange]]] = {}
    off: list[int] = []
    for edit in edits:
        if edit.before is None or edit.before.pk is None:
            continue
        if edit.is_switched_off:
            off.append(edit.before.pk)
        elif changes := compare(*edit.schemas("fields")):
            changed[edit.before.pk] = (f"{edit.state.path}.fields", changes)
    if changed:
        mapped = ObjectMapping.objects.filter(crm_object_id__in=changed).exclude(remote_object="")
        for object_id, connection_id, feeds in (
            mapped.order_by("connection_id")
            .values_list("crm_object_id", "connection_id", "fields")
            .iterator()
        ):
            for consequence in on_reads(changed[object_id][0], feeds, changed[object_id][1]):
                tally.add(consequence, connection_id)
    if off:
        events = EventDefinition.objects.filter(crm_object_id__in=off, active=True)
        silent = {event.pk: event.path for event in events.select_related("crm_object")}
        _on_switched_off(silent, tally)
