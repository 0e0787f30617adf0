"""What is to be tried, as addresses and forms name it: found, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from xkit_crm import catalogue, invoking
from xkit_crm.exceptions import NotFound, Problem, UnknownRecord, XkitError
from xkit_crm.models import Connection, EventDefinition, RecordLink
from xkit_crm.permissions import SEE_PAYLOADS, may
from xkit_crm.providers.base import RecordRef


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be tried, as it was given: found, or why not."""

    connection_id: str = ""
    event_key: str = ""
    record_id: str = ""
    row: str = ""
    connection: Connection | None = None
    event: catalogue.Event | None = None
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> str:
        """The same in an address."""
        return urlencode(self.hidden)

    @property
    def hidden(self) -> dict[str, str]:
        """The same in a form."""
        return {
            "connection": self.connection_id,
            "event": self.event_key,
            "record": self.record_id,
            "row": self.row,
        }


def chosen(data: Mapping[str, Any]) -> Choice:
    """What the address or form names; a record link names all but the event."""
    connection_id, event_key = str(data.get("connection", "")), str(data.get("event", ""))
    connection: Connection | None = None
    event: catalogue.Event | None = None
    errors: dict[str, str] = {}
    if connection_id:
        try:
            connection = invoking.find_connection(connection_id)
        except XkitError as error:
            errors["connection"] = error.message
    if event_key:
        crm_object, _dot, slug = event_key.partition(".")
        try:
            event = catalogue.event(crm_object, slug)
        except NotFound as error:
            errors["event"] = f"{error.message} {error.hint}"
    return Choice(
        connection_id,
        event_key,
        str(data.get("record", "")).strip(),
        str(data.get("row", "")),
        connection,
        event,
        errors,
    )


def required(choice: Choice) -> Choice:
    """The same, saying of what is missing that it has to be chosen."""
    missing = {
        name: _("Choose one.")
        for name, given in (("connection", choice.connection_id), ("event", choice.event_key))
        if not given
    }
    return replace(choice, errors={**missing, **choice.errors})


def record_problems(choice: Choice) -> list[Problem]:
    """What is wrong with the record that the event happens to."""
    assert choice.event is not None
    if not choice.event.type.needs_record:
        return []
    if not choice.record_id:
        return [Problem("record", _("is required: this event happens to a record"))]
    try:
        RecordRef.parse(choice.record_id)
    except UnknownRecord as error:
        return [Problem("record", error.hint)]
    return []


def address_from(request: HttpRequest, row: object) -> str:
    """Where trying begins from the page of this row, with what it says chosen already; empty where
    there is nothing to try, or for somebody who may not."""
    preset: dict[str, str] = {}
    if isinstance(row, EventDefinition) and row.active:
        preset = {"event": f"{row.crm_object.slug}.{row.slug}"}
    elif isinstance(row, Connection):
        preset = {"connection": row.pk}
    elif isinstance(row, RecordLink):
        preset = {"connection": row.connection_id, "record": row.record_id}
        preset["object"] = row.crm_object.slug
    if not preset or not may(request.user, SEE_PAYLOADS):
        return ""
    return f"{reverse('admin:xkit_crm_invocation_try')}?{urlencode(preset)}"
