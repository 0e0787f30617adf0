"""From a row to a payload: attribute paths, and the JSON values an event's schema asks for.

Called by `bindings.py` to compile paths once, and by `capture.py` and `retarget.py` to build a
payload. Knows neither connections nor invocations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import ismethod
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models

from xkit_crm import schema
from xkit_crm.catalogue import Event
from xkit_crm.exceptions import Problem

Getter = Callable[[Any], Any]


def names(path: str) -> list[str]:
    """The attribute names of a path, `owner.email` or `owner__email`."""
    return path.replace("__", ".").split(".")


def first_name(path: str) -> str:
    """The attribute of the row itself that a path starts from."""
    return names(path)[0]


def attribute(path: str, model: type[models.Model]) -> Getter:
    """A function that follows the path from a row. A missing relation on the way gives None.

    A column of the row itself may still hold the text it was given, as in `Deal(amount="12.50")`:
    then its field reads it, as it will when the row is loaded again.
    """
    steps = names(path)
    try:
        column = model._meta.get_field(path)
    except FieldDoesNotExist:
        column = None

    def follow(instance: Any) -> Any:
        value = instance
        for step in steps:
            try:
                value = getattr(value, step)
            except ObjectDoesNotExist:
                return None
            if value is None:
                return None
            if ismethod(value):
                value = value()
        if type(value) is str and isinstance(column, models.Field):
            return column.to_python(value)
        return value

    return follow


def build(
    event: Event, getters: Iterable[tuple[str, Getter]], instance: models.Model
) -> tuple[dict[str, Any], list[Problem]]:
    """The payload of this event for this row, in JSON values, and what is wrong with it.

    Takes the keys that the event's schema has. Django stores "nothing" in a text column as the
    empty string, which is no date, address or number: where a format asks for one it is null.
    """
    wanted = event.payload_schema
    payload: dict[str, Any] = {}
    for key, get in getters:
        description = wanted.get(key)
        if description is None:
            continue
        value = get(instance)
        if value == "" and description.get("format", "text") != "text":
            value = None
        payload[key] = value
    payload = schema.to_json(payload)
    return payload, event.validator.validate(payload)
