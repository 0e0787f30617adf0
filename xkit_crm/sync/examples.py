"""Examples: recent rows of the product that fire an event in a connection, and what they'd send.

CRM Link previews a drafted mapping with them, the admin tries an event with them. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib.contenttypes.models import ContentType
from django.db import models

from xkit_crm import catalogue
from xkit_crm.exceptions import Problem
from xkit_crm.models import Connection, RecordLink
from xkit_crm.sync import bindings, walking
from xkit_crm.sync.bindings import Binding

#: Recent rows that are offered, and that are looked through for some of a connection.
RECENT: Final = 5
LOOKED_AT: Final = 50


@dataclass(frozen=True, slots=True)
class Example:
    """One row, and the event that it would fire."""

    row: models.Model
    payload: dict[str, Any]
    problems: tuple[Problem, ...]
    #: The record that it is in the connection's CRM; empty where it is none yet.
    record_id: str


def recent(event: catalogue.Event, connection: Connection) -> list[tuple[str, str]]:
    """The newest rows that fire this event in this connection: the key of each, and its name."""
    found: list[tuple[str, str]] = []
    for binding in bindings.firing(event.crm_object, event.slug):
        newest = list(binding.model._default_manager.order_by("-pk")[:LOOKED_AT])
        walking.Relations(binding).fetch(newest, binding.connection_ids)
        for row in newest:
            if _goes_to(connection, binding, row):
                key = f"{binding.model._meta.label_lower}:{row.pk}"
                found.append((key, walking.name_of(row)))
    return found[:RECENT]


def example(key: str, event: catalogue.Event, connection: Connection) -> Example | None:
    """The row of this key (`recent` gives it) with its payload; None where the connection has none
    of it."""
    label, _colon, pk = key.partition(":")
    firing = bindings.firing(event.crm_object, event.slug)
    binding = next((one for one in firing if one.model._meta.label_lower == label), None)
    if binding is None:
        return None
    row = walking.row_with(binding.model._default_manager.all(), pk)
    if row is None or not _goes_to(connection, binding, row):
        return None
    payload, problems = walking.payload_of(binding, event, row)
    link = RecordLink.objects.filter(
        connection=connection,
        object_pk=str(row.pk),
        crm_object__slug=event.crm_object,
        content_type=ContentType.objects.get_for_model(binding.model),
    ).first()
    return Example(row, payload, tuple(problems), link.record_id if link else "")


def _goes_to(connection: Connection, binding: Binding, row: models.Model) -> bool:
    ids = walking.connection_ids_of(binding, row)
    return not isinstance(ids, Problem) and connection.pk in ids
