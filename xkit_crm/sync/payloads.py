"""From a row to a payload: attribute paths, and the JSON values an event's schema asks for.

Called by `bindings.py` to compile paths once, and by `capture.py` and `retarget.py` to build a
payload. Knows neither connections nor invocations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from inspect import ismethod
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models

from xkit_crm import schema
from xkit_crm.catalogue import Event
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid, Problem
from xkit_crm.mapping.fitting import described
from xkit_crm.sync import stored

Getter = Callable[[Any], Any]


def names(path: str) -> list[str]:
    """The attribute names of a path, `owner.email` or `owner__email`."""
    return path.replace("__", ".").split(".")


def first_name(path: str) -> str:
    """The attribute of the row itself that a path starts from."""
    return names(path)[0]


def attribute(path: str, model: type[models.Model]) -> Getter:
    """A function that follows the path from a row. A missing relation on the way gives None.

    Methods are called, as templates do, but none that changes data. Behind a column of JSON, or in
    any other mapping, a step is a key; one that is not there gives None. A column of the row itself
    may still hold what it was given, as in `Deal(amount="12.50")`: it is read as it will be when
    the row is loaded again.
    """
    steps, keys = _split(path, model)
    column = _own_column(path, model)
    own_type = stored.own_type(column)
    as_stored = stored.reader(column) if column is not None else None

    def follow(instance: Any) -> Any:
        value = instance
        for step in steps:
            try:
                is_row = isinstance(value, models.Model)
                value = getattr(value, step) if is_row else _behind(value, step)
            except ObjectDoesNotExist:
                return None
            if value is None:
                return None
            if ismethod(value) or isinstance(value, partial):  # get_status_display is a partial
                if getattr(value, "alters_data", False):
                    raise ConfigurationError(
                        f"The path {path!r} of {model._meta.label} changes data.",
                        hint="A payload is made by reading only: name another attribute.",
                    )
                value = value()
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if as_stored is None or type(value) is own_type:
            return value
        return as_stored(value, instance)

    return follow


def _behind(value: Any, step: str) -> Any:
    return value.get(step) if isinstance(value, Mapping) else getattr(value, step)


def _split(path: str, model: type[models.Model]) -> tuple[list[str], list[str]]:
    """The steps of a path up to a column of JSON, and the keys behind it."""
    steps = names(path)
    for count in range(1, len(steps)):
        if isinstance(field_of(".".join(steps[:count]), model), models.JSONField):
            return steps[:count], steps[count:]
    return steps, []


def _own_column(path: str, model: type[models.Model]) -> models.Field | None:
    """The column of the model that the path names; None where it leads further."""
    try:
        field = model._meta.get_field(path)
    except FieldDoesNotExist:
        return None
    return field if isinstance(field, models.Field) else None


def path_problem(path: str, model: type[models.Model]) -> str:
    """What is wrong with a path, as far as the models tell; empty where nothing is.

    Behind a method, a property, a column of JSON or many rows there may be anything.
    """
    steps = names(path)
    reached: Any = model
    for index, step in enumerate(steps):
        if not step:
            return f"{path!r} has an empty step"
        if step.startswith("_"):
            return f"{step} is private"
        try:
            field = reached._meta.get_field(step)
        except FieldDoesNotExist:
            return _attribute_problem(reached, step)
        if field.one_to_many or field.many_to_many:
            return ""
        if field.related_model is None or step != field.name:
            return _value_problem(field, steps[index:])
        reached = field.related_model
    return ""


def _value_problem(field: Any, steps: list[str]) -> str:
    """What is wrong with the steps behind a column, such as `created.year`."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field  # `owner_id` gives the key of what it leads to
    behind = steps[1:]
    kind = stored.value_type(field) if behind and isinstance(field, models.Field) else None
    if kind is None:
        return ""
    if not behind[0]:
        return f"{'.'.join(steps)!r} has an empty step"
    if behind[0].startswith("_"):
        return f"{behind[0]} is private"
    if not hasattr(kind, behind[0]) or callable(getattr(kind, behind[0])):
        return f"{steps[0]} is a column of {kind.__name__}, which has no {behind[0]} to be read"
    return ""


def field_of(path: str, model: type[models.Model]) -> Any:
    """The field that a path ends in, forward or back; None where that can't be told."""
    reached: Any = model
    field: Any = None
    for step in names(path):
        if reached is None or (field is not None and (field.one_to_many or field.many_to_many)):
            return None
        try:
            field = reached._meta.get_field(step)
        except FieldDoesNotExist:
            return None
        reached = field.related_model
    return field


def _attribute_problem(model: type[models.Model], name: str) -> str:
    if not hasattr(model, name):
        near = get_close_matches(name, (field.name for field in model._meta.get_fields()), n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"{model.__name__} has no {name}{meant}"
    if getattr(getattr(model, name), "alters_data", False):
        return f"{name} changes data, and a payload is made by reading only"
    return ""


def build(
    event: Event, getters: Iterable[tuple[str, Getter]], instance: models.Model
) -> tuple[dict[str, Any], list[Problem]]:
    """The payload of this event for this row, in JSON values, and what is wrong with it.

    Takes the keys that the event's schema has; `address.city` is a part of an object. Django
    stores "nothing" in a text column as the empty string, which is no date, address or number:
    where a format asks for one it is null.
    """
    wanted = event.payload_schema
    payload: dict[str, Any] = {}
    for key, get in getters:
        description = described(wanted, key)
        if not description:
            continue
        value = get(instance)
        if value == "" and description.get("format", "text") != "text":
            value = None
        _put(payload, key, value)
    try:
        payload = schema.to_json(payload)
    except PayloadInvalid as error:
        return _held_by_json(payload), list(error.errors)
    return payload, event.validator.validate(payload)


def _held_by_json(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload without the keys that have what JSON can't hold."""
    held = {}
    for key, value in payload.items():
        with suppress(PayloadInvalid):
            held[key] = schema.to_json(value)
    return held


def _put(payload: dict[str, Any], key: str, value: Any) -> None:
    *objects, last = key.split(".")
    for name in objects:
        payload = payload.setdefault(name, {})
    payload[last] = value


def whole_of(key: str, filled: Collection[str]) -> str:
    """The key that fills the object which this key is a part of; empty where none does."""
    names = key.split(".")
    above = (".".join(names[:count]) for count in range(1, len(names)))
    return next((name for name in above if name in filled), "")


def unfilled(
    payload_schema: Mapping[str, Any], filled: Collection[str], before: str = ""
) -> Iterator[str]:
    """The keys that the schema requires and nothing fills, neither as a whole nor by parts."""
    for name, description in payload_schema.items():
        key = f"{before}{name}"
        if key in filled:
            continue
        if any(one.startswith(f"{key}.") for one in filled):
            yield from unfilled(description.get("properties") or {}, filled, f"{key}.")
        elif description.get("required"):
            yield key
