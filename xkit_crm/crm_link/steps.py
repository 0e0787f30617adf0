"""The overview: every CRM object and event, and how far the customer is with each.

Decides nothing: what is missing is asked of `mappings.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm import catalogue, mappings, schema
from xkit_crm.crm_link.wording import action_name, labelled, problem_text, said
from xkit_crm.delivery.decisions import Decision
from xkit_crm.exceptions import Problem
from xkit_crm.mapping import completeness
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Step:
    """One CRM object or event on the overview."""

    slug: str
    label: str
    #: done, todo (the customer has to decide), broken (it no longer fits their CRM), off.
    state: str
    description: str = ""
    summary: str = ""
    problems: tuple[str, ...] = ()
    events: tuple[Step, ...] = ()
    #: The slug of an event's CRM object.
    crm_object: str = ""


def overview(
    provider: Provider, document: Mapping[str, Any], slugs: Iterable[str] | None
) -> list[Step]:
    """Every CRM object with its events, and how far the customer is. Raises `CRMError`."""
    return [
        object_step(provider, document, catalogue.objects()[slug])
        for slug in mappings.definitions(slugs)
    ]


def object_step(
    provider: Provider, document: Mapping[str, Any], crm_object: catalogue.Object
) -> Step:
    """How far the customer is with one of them. Raises `CRMError`."""
    chosen = document.get(crm_object.slug, {}).get("remote_object")
    own = mappings.own_state(provider, document, crm_object)
    remote = {found.name: found for found in descriptions.objects(provider)}.get(chosen or "")
    # Where the CRM has no such object (any more) there is nothing to say of its events.
    events = tuple(
        _event_step(provider, document, event)
        for event in (crm_object.events.values() if remote else ())
    )
    states = [_state(own), *(event.state for event in events)]
    worst = next((state for state in ("broken", "todo") if state in states), "done")
    return Step(
        crm_object.slug,
        crm_object.label,
        "off" if chosen == "" else worst,
        summary=remote.label if remote else "",
        problems=tuple(_object_problem(p, crm_object) for p in (*own.missing, *own.undecided)),
        events=events,
    )


def left(steps: Iterable[Step]) -> list[Step]:
    """What has to be decided or mended before the mapping can be confirmed."""
    return [
        found
        for step in steps
        for found in (step, *step.events)
        if found.problems and found.state in ("todo", "broken")
    ]


def _object_problem(problem: Problem, crm_object: catalogue.Object) -> str:
    key = problem.path.removeprefix("fields.")
    if key == problem.path:
        return _("Choose which of your objects it is, or that you don't use it.")
    label = schema.label_for(key, crm_object.fields.get(key))
    if problem.error == completeness.NOT_MAPPED:
        return _("%(name)s: choose a field, or don't read it") % {"name": label}
    return labelled(label, said(problem.error))


def _event_step(provider: Provider, document: Mapping[str, Any], event: catalogue.Event) -> Step:
    state = mappings.event_state(provider, document, event)
    found = mappings.decision(document, event)
    action = found.action.action if found else None
    definition = event.definition
    return Step(
        event.slug,
        definition.label,
        "off" if action == ActionType.NOOP else _state(_by_action(state, found)),
        description=definition.description,
        summary=action_name(action) if action else "",
        problems=tuple(problem_text(p, event) for p in (*state.missing, *state.undecided)),
        crm_object=event.crm_object,
    )


def _by_action(state: mappings.State, found: Decision | None) -> mappings.State:
    """The state, with what is missing since it was never decided among the undecided."""
    if found is None:
        return state
    never = tuple(p for p in state.missing if completeness.is_undecided(p, found.action))
    broken = tuple(p for p in state.missing if p not in never)
    return mappings.State(broken, (*never, *state.undecided))


def _state(state: mappings.State) -> str:
    if state.missing:
        return "broken"
    return "todo" if state.undecided else "done"
