"""What still has to be decided before an action may run.

Asked at the door, in previews, and by the admin. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.fitting import misfit
from xkit_crm.mapping.transformations import Action, ActionType, Kind, Transformation, keys_of
from xkit_crm.providers.base import RemoteField, RemoteType, Workflow

#: What is said of what nobody has decided.
NOT_MAPPED = "is not mapped to a field yet"


def missing(
    action: Action,
    *,
    event_type: str,
    fields: Mapping[str, RemoteField] | None,
    workflow: Workflow | None = None,
    payload_schema: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """What is missing or no longer fits, with paths such as `transformations.Amount`.

    `fields` is the remote object's description, None where it isn't known; `workflow` the one that
    the action names, None where the CRM has none of that name. With the event's `payload_schema`
    it is also told where a payload key is of a type that its field never takes.
    """
    kind = action.action
    if kind is ActionType.NOOP:
        return []
    if kind is ActionType.WORKFLOW:
        return list(_workflow(action, workflow))
    if not action.remote_object:
        return [Problem("remote_object", "no remote object is chosen")]
    problems = list(_wrong_action(kind, event_type))
    if fields is None or kind is ActionType.DELETE:
        return problems
    if kind is ActionType.CREATE:
        problems += _required(action, fields.values())
    for transformation in action.transformations:
        if transformation.kind is not Kind.EMPTY:
            field = fields.get(transformation.field)
            problems += _misfit(transformation, field, kind, payload_schema or {})
    return problems


def undecided(
    action: Action, payload_schema: Mapping[str, Any], ignored: Collection[str]
) -> list[Problem]:
    """Payload keys of which the customer has not said where they go, nor that they stay away.

    They hold nothing up: what nobody has decided is not sent.
    """
    if action.action not in (ActionType.CREATE, ActionType.UPDATE, ActionType.SEARCH):
        return []
    used = set(keys_of(action)) | set(ignored)
    return [
        Problem(f"payload.{key}", NOT_MAPPED)
        for key in payload_keys(payload_schema)
        if not _is_covered(key, used)
    ]


def is_undecided(problem: Problem, action: Action) -> bool:
    """Whether something that is missing was never decided, rather than that it no longer fits:
    nothing is written to the field at all."""
    head, _dot, field = problem.path.partition(".")
    written = {t.field for t in action.transformations if t.kind is not Kind.EMPTY}
    return head == "transformations" and field not in written


def unread(fields: Mapping[str, Any], feeds: Mapping[str, Any]) -> list[Problem]:
    """Fields that the product reads, of which the customer has not said what feeds them."""
    return [Problem(f"fields.{key}", NOT_MAPPED) for key in fields if key not in feeds]


def _is_covered(key: str, used: Collection[str]) -> bool:
    """Whether the key itself is decided, or the object that it is a part of, or a part of it,
    where only the customer knows its parts."""
    steps = key.split(".")
    whole = any(".".join(steps[: n + 1]) in used for n in range(len(steps)))
    return whole or any(one.startswith(f"{key}.") for one in used)


def payload_keys(payload_schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Every key that can be mapped: those of a nested object by themselves, `address.city`."""
    for key, description in payload_schema.items():
        if below := description.get("properties"):
            yield from payload_keys(below, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _wrong_action(kind: ActionType, event_type: str) -> Iterator[Problem]:
    fitting = {
        "create": {ActionType.CREATE},
        "update": {ActionType.UPDATE},
        "delete": {ActionType.UPDATE, ActionType.DELETE},
        "search": {ActionType.SEARCH},
    }
    if kind not in fitting.get(event_type, set()):
        yield Problem("action", f"{kind} is no answer to {event_type} events")


def _workflow(action: Action, workflow: Workflow | None) -> Iterator[Problem]:
    if not action.workflow:
        yield Problem("workflow", "no workflow is chosen")
    elif workflow is None:
        yield Problem("workflow", f"the CRM has no workflow {action.workflow!r} any more")
    else:
        known = {field.name for field in workflow.inputs}
        yield from _required(action, workflow.inputs)
        for transformation in action.transformations:
            if transformation.kind is not Kind.EMPTY and transformation.field not in known:
                yield Problem(
                    f"transformations.{transformation.field}", "the workflow has no such input"
                )


def _required(action: Action, fields: Iterable[RemoteField]) -> Iterator[Problem]:
    fed = {t.field for t in action.transformations if t.kind is not Kind.EMPTY}
    for field in fields:
        if field.required and field.name not in fed:
            yield Problem(f"transformations.{field.name}", f"{field.label} is required by the CRM")


def _misfit(
    transformation: Transformation,
    field: RemoteField | None,
    kind: ActionType,
    payload_schema: Mapping[str, Any],
) -> Iterator[Problem]:
    at = f"transformations.{transformation.field}"
    if field is None:
        yield Problem(at, "the CRM has no such field any more")
        return
    allowed = {
        ActionType.CREATE: field.createable,
        ActionType.UPDATE: field.updateable,
        ActionType.SEARCH: field.searchable,
    }
    if not allowed.get(kind, True):
        yield Problem(at, f"{field.label} can't be used to {kind}")
    elif kind is ActionType.SEARCH and field.type is not RemoteType.PICKLIST:
        return  # a condition may be a part of what the field holds
    elif error := misfit(transformation, field, payload_schema):
        yield Problem(at, error)
