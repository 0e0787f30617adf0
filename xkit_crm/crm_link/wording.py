"""What is called what in front of customers: types, actions, problems, values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any
from urllib.parse import urlsplit

from django.utils import formats, timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from xkit_crm import catalogue, schema
from xkit_crm.exceptions import (
    AddressRefused,
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    Problem,
    XkitError,
)
from xkit_crm.mapping.completeness import payload_keys
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.models.event_definition import EventType
from xkit_crm.providers.base import RemoteType


def type_name(found: RemoteType | str) -> str:
    """What a customer calls a type."""
    return {
        "string": _("text"),
        "text": _("long text"),
        "integer": _("whole number"),
        "number": _("number"),
        "boolean": _("yes or no"),
        "date": _("date"),
        "datetime": _("date and time"),
        "email": _("email"),
        "url": _("web address"),
        "uri": _("web address"),
        "phone": _("phone"),
        "picklist": _("choice"),
        "multipicklist": _("several choices"),
        "reference": _("link to a record"),
        "array": _("list"),
        "object": _("group of values"),
        "uuid": _("id"),
    }.get(str(found), str(found))


def problem_text(problem: Problem, event: catalogue.Event, *, at_row: bool = False) -> str:
    """A problem in a customer's words: the label of what it is about, and what is wrong. At the row
    of its field it need not say which one."""
    head, _dot, name = problem.path.partition(".")
    if head == "payload":
        return _("%(name)s: choose a field, or don't send it") % {"name": key_label(event, name)}
    text = said(problem.error, event)
    names_it = isinstance(problem.error, Phrase) and "field" in problem.error.values
    return text if at_row or names_it or not name else labelled(name, text)


def labelled(name: str, text: str) -> str:
    """A text behind the name of what it is about; French has a space before its colon."""
    return _("%(name)s: %(text)s") % {"name": name, "text": text}


def said(text: str, event: catalogue.Event | None = None) -> str:
    """A text of `mapping/` in the page's language; with an `event`, its keys by their labels."""
    if not isinstance(text, Phrase):
        return text
    values = dict(text.values)
    if "type" in values:
        values["type"] = type_name(values["type"])
    if event is not None and described(event.payload_schema, values.get("key", "")):
        values["key"] = key_label(event, values["key"])
    told = _(text.pattern)
    return told % values if values else told


def action_name(action: str) -> str:
    """What the customer lets an event do."""
    return {
        "create": _("Create a record"),
        "update": _("Update the record"),
        "delete": _("Delete the record"),
        "workflow": _("Run a workflow of yours"),
        "search": _("Search for records"),
        "noop": _("Do nothing"),
    }[str(action)]


#: What a customer may let an event of each type do.
ACTIONS = {
    EventType.CREATE: ("create", "workflow", "noop"),
    EventType.UPDATE: ("update", "workflow", "noop"),
    EventType.DELETE: ("delete", "update", "workflow", "noop"),
    EventType.SEARCH: ("search", "noop"),
}


def actions(event: catalogue.Event, *, has_workflows: bool) -> list[tuple[str, str]]:
    """What the customer can choose for an event."""
    return [
        (action, action_name(action))
        for action in ACTIONS[event.type]
        if action != "workflow" or has_workflows
    ]


def key_label(event: catalogue.Event, key: str) -> str:
    """`Address: City` for a nested key."""
    steps = key.split(".")
    paths = [".".join(steps[: n + 1]) for n in range(len(steps))]
    labels = [schema.label_for(p.split(".")[-1], described(event.payload_schema, p)) for p in paths]
    return reduce(labelled, labels)


def keys(event: catalogue.Event) -> list[tuple[str, str]]:
    """Every payload key with its label."""
    return [(key, key_label(event, key)) for key in payload_keys(event.payload_schema)]


def mode_name(mode: str) -> str:
    """When a field is written."""
    return {
        "always": _("always"),
        "when_empty": _("only while it is empty"),
        "on_create": _("never on changes"),
        "protect": _("until somebody changes it in the CRM"),
    }[mode]


def shown(value: Any, type: str = "") -> str:  # noqa: A002
    """A value of this (remote) type as a person reads it."""
    if value is None:
        return _("empty")
    if type in ("date", "datetime"):
        return _moment(str(value))
    if isinstance(value, bool):
        return pgettext("CRM Link", "Yes") if value else pgettext("CRM Link", "No")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _moment(text: str) -> str:
    """A date, or a date and time, as people here write it; a text that is none as it is."""
    try:
        if day := parse_date(text):
            return formats.date_format(day)
        moment = parse_datetime(text)
    except ValueError:
        return text
    if moment is None:
        return text
    there = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return formats.date_format(there, "DATETIME_FORMAT")


def crm_trouble(error: CRMError) -> str:
    """What to tell a customer whose CRM gives no answer."""
    return {
        "crm_unavailable": _("Your CRM doesn't answer at the moment. Nothing is lost."),
        "rate_limited": _("Your CRM asks to wait a moment before it answers again."),
    }.get(error.code, error.message)


def connect_trouble(error: XkitError, given: Mapping[str, str] | None = None) -> str:
    """What to tell a customer whom their CRM, or this site, didn't let connect. What only the
    people who run the site can mend is theirs to read, in the log."""
    if isinstance(error, CRMUnauthorized):
        return _("Your CRM didn't let us in. Check what you gave, and try again.")
    if isinstance(error, CRMError):
        return crm_trouble(error)
    if isinstance(error, ConfigurationError) and not isinstance(error, AddressRefused):
        if address := _typed_address(error, given or {}):
            return _(
                "%(address)s can't be called from here. Give the whole address of your CRM, "
                "beginning with https://."
            ) % {"address": address}
        return _("This CRM can't be connected here yet. The people who run this site can see why.")
    return f"{error.message} {error.hint}".strip()


def _typed_address(error: XkitError, given: Mapping[str, str]) -> str:
    """The address that the customer gave, where it is what the error is about."""
    typed = given.get("url", "")
    try:
        host = urlsplit(typed if "//" in typed else f"//{typed}").hostname
    except ValueError:
        host = None
    return typed if typed and (host or typed.strip("/").lower()) in error.message.lower() else ""
