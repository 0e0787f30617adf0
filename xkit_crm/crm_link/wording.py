"""What is called what in front of customers: types, actions, problems, values."""

from __future__ import annotations

import json
from typing import Any

from django.utils import formats, timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from xkit_crm import catalogue, schema
from xkit_crm.exceptions import CRMError, CRMUnauthorized, Problem, XkitError
from xkit_crm.mapping.completeness import payload_keys
from xkit_crm.mapping.fitting import described
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


def problem_text(problem: Problem, event: catalogue.Event) -> str:
    """A problem in a customer's words: the label of what it is about, and what is wrong."""
    head, _dot, name = problem.path.partition(".")
    if head == "payload":
        return _("%(name)s: choose a field, or don't send it") % {"name": key_label(event, name)}
    if head == "transformations" and name and name not in problem.error:
        return problem.error
    return f"{name}: {problem.error}" if name else problem.error


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
    return ": ".join(
        schema.label_for(p.split(".")[-1], described(event.payload_schema, p)) for p in paths
    )


def keys(event: catalogue.Event) -> list[tuple[str, str]]:
    """Every payload key with its label."""
    return [(key, key_label(event, key)) for key in payload_keys(event.payload_schema)]


def mode_name(mode: str) -> str:
    """When a field is written."""
    return {
        "always": _("always"),
        "when_empty": _("only while it is empty"),
        "on_create": _("only when the record is new"),
        "protect": _("until somebody changes it in the CRM"),
    }[mode]


def shown(value: Any, type: str = "") -> str:  # noqa: A002
    """A value of this (remote) type as a person reads it."""
    if value is None:
        return _("empty")
    if type in ("date", "datetime"):
        return _moment(str(value))
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
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


def refusal(error: XkitError) -> str:
    """What to tell a customer who can't connect with what they typed."""
    if isinstance(error, CRMUnauthorized):
        return _("Your CRM doesn't accept this. Check it, and try again.")
    if isinstance(error, CRMError):
        return crm_trouble(error)
    return f"{error.message} {error.hint}".strip()
