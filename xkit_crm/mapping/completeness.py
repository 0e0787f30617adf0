"""What still has to be decided before an action may run.

Asked at the door, in previews, and by the admin. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.conversion import to_remote
from xkit_crm.mapping.transformations import Action, ActionType, Kind, Transformation
from xkit_crm.providers.base import RemoteField, RemoteType, Workflow


def missing(
    action: Action,
    *,
    event_type: str,
    fields: Mapping[str, RemoteField] | None,
    workflow: Workflow | None = None,
) -> list[Problem]:
    """What is missing or no longer fits, with paths such as `transformations.Amount`.

    `fields` is the remote object's description, None where it isn't known; `workflow` the one that
    the action names, None where the CRM has none of that name.
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
            problems += _misfit(transformation, fields.get(transformation.field), kind)
    return problems


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
    transformation: Transformation, field: RemoteField | None, kind: ActionType
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
    choices = [choice.value for choice in field.choices]
    if (
        transformation.kind is Kind.STATIC
        and field.type is RemoteType.PICKLIST
        and choices
        and to_remote(transformation.value, field.type) not in (None, *choices)
    ):
        yield Problem(at, f"{transformation.value!r} is none of {', '.join(choices)}")
