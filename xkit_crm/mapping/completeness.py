"""What still has to be decided before an action may run.

Asked at the door, in previews, and by the admin. Knows no model and no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext_noop as _

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.fitting import is_unfilled, misfit, unfilled, untranslated
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.mapping.transformations import (
    KEYED,
    Action,
    ActionType,
    Kind,
    Transformation,
    keys_of,
)
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
        return list(_workflow(action, workflow, payload_schema or {}))
    if not action.remote_object:
        return [Problem("remote_object", Phrase(_("no remote object is chosen")))]
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


def doubtful(
    action: Action, payload_schema: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> list[Problem]:
    """Where some values of the payload become what their fields don't take.

    They hold nothing up either: most events may have other values.
    """
    if action.action not in (ActionType.CREATE, ActionType.UPDATE, ActionType.WORKFLOW):
        return []
    return [
        Problem(f"transformations.{transformation.field}", error)
        for transformation in action.transformations
        if (field := fields.get(transformation.field))
        and (error := untranslated(transformation, field, payload_schema))
    ]


def is_undecided(problem: Problem, action: Action) -> bool:
    """Whether something that is missing was never decided, rather than that it no longer fits:
    nothing is written to the field at all, or what feeds it is yet to be chosen."""
    head, _dot, field = problem.path.partition(".")
    written = {t.field for t in action.transformations if _is_chosen(t)}
    return head == "transformations" and field not in written


def _is_chosen(transformation: Transformation) -> bool:
    if transformation.kind in KEYED and not transformation.key:
        return False
    return transformation.kind is not Kind.EMPTY and not is_unfilled(transformation)


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


def answers(kind: str, event_type: str) -> bool:
    """Whether an event of this type may do that: any may run a workflow, or nothing."""
    if kind in (ActionType.WORKFLOW, ActionType.NOOP):
        return True
    return kind == event_type or (kind == ActionType.UPDATE and event_type == "delete")


def _wrong_action(kind: ActionType, event_type: str) -> Iterator[Problem]:
    if not answers(kind, event_type):
        text = _("%(action)s is no answer to %(event)s events")
        yield Problem("action", Phrase(text, action=kind, event=event_type))


def _workflow(
    action: Action, workflow: Workflow | None, payload_schema: Mapping[str, Any]
) -> Iterator[Problem]:
    if not action.workflow:
        yield Problem("workflow", Phrase(_("no workflow is chosen")))
    elif workflow is None:
        text = _("the CRM has no workflow '%(workflow)s' any more")
        yield Problem("workflow", Phrase(text, workflow=action.workflow))
    else:
        known = {field.name: field for field in workflow.inputs}
        yield from _required(action, workflow.inputs)
        for transformation in action.transformations:
            if transformation.kind is not Kind.EMPTY:
                field = known.get(transformation.field)
                yield from _misfit(transformation, field, ActionType.WORKFLOW, payload_schema)


def _required(action: Action, fields: Iterable[RemoteField]) -> Iterator[Problem]:
    fed = {t.field for t in action.transformations if t.kind is not Kind.EMPTY}
    for field in fields:
        if field.required and field.name not in fed:
            text = Phrase(_("%(field)s is required by the CRM"), field=field.label)
            yield Problem(f"transformations.{field.name}", text)


def _misfit(
    transformation: Transformation,
    field: RemoteField | None,
    kind: ActionType,
    payload_schema: Mapping[str, Any],
) -> Iterator[Problem]:
    at = f"transformations.{transformation.field}"
    if error := unusable(field, kind):
        yield Problem(at, error)
    elif field is None:
        return
    elif error := unfilled(transformation, field):
        yield Problem(at, error)
    elif kind is ActionType.SEARCH and field.type is not RemoteType.PICKLIST:
        return  # a condition may be a part of what the field holds
    elif error := misfit(transformation, field, payload_schema):
        yield Problem(at, error)


def unusable(field: RemoteField | None, kind: ActionType) -> str:
    """Why an action of this kind can't use the field at all; empty where it can."""
    if field is None:
        if kind is ActionType.WORKFLOW:
            return Phrase(_("the workflow has no such input"))
        return Phrase(_("the CRM has no such field any more"))
    if kind is ActionType.CREATE and not field.createable:
        return Phrase(_("%(field)s can't be used to create"), field=field.label)
    if kind is ActionType.UPDATE and not field.updateable:
        return Phrase(_("%(field)s can't be used to update"), field=field.label)
    if kind is ActionType.SEARCH and not field.searchable:
        return Phrase(_("%(field)s can't be used to search"), field=field.label)
    return ""
