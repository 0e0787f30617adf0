"""Bindings that operators make: what a `ModelBinding` row means, and what is wrong with one.

`bindings.py` puts what the rows mean into force; the model and the admin ask for the problems
before a row is saved, and of rows that broke since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import models

from xkit_crm.exceptions import ConfigurationError, Problem
from xkit_crm.mapping.fitting import described
from xkit_crm.sync import bindings, conditions, fitting
from xkit_crm.sync.binding import Binding, compiled
from xkit_crm.sync.bindings import MOMENTS
from xkit_crm.sync.payloads import attribute, path_problem, unfilled, whole_of

if TYPE_CHECKING:
    from xkit_crm.models import EventDefinition, ModelBinding


def from_row(model: type[models.Model], row: ModelBinding) -> Binding:
    """What the row means for its model.

    Raises `ConfigurationError` where a path or the condition is wrong, since saving a row of the
    product would fail on it, or tell what was not to be told.
    """
    wrong = list(_unreadable(row, model))
    if wrong:
        raise ConfigurationError(
            f"{row} can't be read.", hint="Correct it in the admin.", errors=wrong
        )
    return _made(model, row, row.payload, row.condition, row.connection_path)


def as_far_as_it_leads(model: type[models.Model], row: ModelBinding) -> Binding:
    """What a row that is being filled in means so far: without the paths and rules that are wrong,
    which `problems_of` tells."""
    payload = row.payload if isinstance(row.payload, dict) else {}
    condition = row.condition if isinstance(row.condition, list) else []
    leads_nowhere = path_problem(row.connection_path, model)
    return _made(
        model,
        row,
        {
            key: path
            for key, path in payload.items()
            if not (_wrong_path(path, model) or whole_of(key, payload))
        },
        [rule for rule in condition if not any(conditions.problems([rule], model))],
        "" if leads_nowhere else row.connection_path,
    )


def _made(
    model: type[models.Model],
    row: ModelBinding,
    payload: Mapping[str, str],
    condition: Sequence[object],
    connection_path: str,
) -> Binding:
    events = {moment: getattr(row, moment) for moment in MOMENTS}
    return compiled(
        model,
        crm_object=row.crm_object.slug,
        events={moment: event.slug if event else "" for moment, event in events.items()},
        getters={key: attribute(path, model) for key, path in payload.items()},
        paths=payload,
        get_connections=attribute(connection_path, model) if connection_path else _nowhere,
        origin=f"admin: {row}",
        condition=condition,
        also_read=[connection_path] if connection_path else [],
    )


def _nowhere(instance: models.Model) -> list[str]:
    return []


def problems_of(row: ModelBinding) -> Iterator[Problem]:
    """What would fail when a row is saved: `payload.owner`, `on_create`, `condition[0].path`."""
    model = row.model.model_class()
    if model is None:
        yield Problem("model", "its app is not installed any more")
        return
    if getattr(model._meta.pk, "column", None) is None:
        yield Problem("model", "has a composite primary key, by which no record can be linked")
    events = events_of(row)
    if not events:
        yield Problem("on_create", "choose at least one event, or the binding never fires")
    yield from _clashes(row, model)
    yield from _event_problems(row, events)
    yield from _unknown_keys(row, events)
    yield from _misfits(row, model, events)
    yield from _unreadable(row, model)


def silences_of(row: ModelBinding) -> Iterator[Problem]:
    """Why a binding without problems fires less than it says: what was switched off."""
    if not row.crm_object.active:
        yield Problem("crm_object", f"{row.crm_object.slug} is not active, so nothing is fired")
    for moment, event in events_of(row).items():
        if not event.active:
            yield Problem(moment, f"{event.slug} is not active, so it fires nothing")


def events_of(row: ModelBinding) -> dict[str, EventDefinition]:
    """The row's events by their moments, where there is one."""
    return {m: getattr(row, m) for m in MOMENTS if getattr(row, f"{m}_id")}


def _clashes(row: ModelBinding, model: type[models.Model]) -> Iterator[Problem]:
    """Bindings by which a row would be told of twice: of the same model, or one that it is too."""
    for other in bindings.others(row.crm_object.slug, model):
        if other.model is model:
            yield Problem("crm_object", f"the model is bound to it by {other.origin} already")
        else:
            label = other.model._meta.label
            yield Problem(
                "crm_object", f"rows of it are {label} too, which {other.origin} binds to it"
            )


def _event_problems(row: ModelBinding, events: Mapping[str, EventDefinition]) -> Iterator[Problem]:
    filled = row.payload if isinstance(row.payload, dict) else ()
    for moment, event in events.items():
        if event.crm_object_id != row.crm_object_id:
            yield Problem(moment, f"{event.slug} belongs to another CRM object")
        elif event.type != MOMENTS[moment]:
            yield Problem(moment, f"{event.slug} is for {event.type}, not for {MOMENTS[moment]}")
        for key in sorted(unfilled(event.payload_schema, filled)):
            yield Problem(f"payload.{key}", f"is required by {event.slug}")


def _unknown_keys(row: ModelBinding, events: Mapping[str, EventDefinition]) -> Iterator[Problem]:
    for key in row.payload if events and isinstance(row.payload, dict) else ():
        if not any(described(event.payload_schema, key) for event in events.values()):
            yield Problem(f"payload.{key}", "is in the schema of none of these events")


def _misfits(
    row: ModelBinding, model: type[models.Model], events: Mapping[str, EventDefinition]
) -> Iterator[Problem]:
    """What only gives values that the event refuses: the product's own saves would fail of it."""
    paths = row.payload if isinstance(row.payload, dict) else {}
    for key, path in paths.items():
        for event in events.values():
            description = described(event.payload_schema, key)
            if not description or _wrong_path(path, model):
                continue
            if fitting.fit(path, model, description) is fitting.Fit.NEVER:
                wanted = description["type"]
                yield Problem(
                    f"payload.{key}", f"{path} never gives what {event.slug} takes: {wanted}"
                )
                break


def _unreadable(row: ModelBinding, model: type[models.Model]) -> Iterator[Problem]:
    """What can't be read of the model's rows."""
    if not isinstance(row.payload, dict):
        yield Problem("payload", "must be an object of payload keys and attribute paths")
    else:
        for key, path in row.payload.items():
            if problem := _wrong_path(path, model):
                yield Problem(f"payload.{key}", problem)
            if whole := whole_of(key, row.payload):
                told = f"is a part of {whole}, which is filled as a whole"
                yield Problem(f"payload.{key}", told)
    if row.connection_path and (problem := path_problem(row.connection_path, model)):
        yield Problem("connection_path", problem)
    yield from conditions.problems(row.condition, model)


def _wrong_path(path: object, model: type[models.Model]) -> str:
    return path_problem(path, model) if isinstance(path, str) else "is no attribute path"
