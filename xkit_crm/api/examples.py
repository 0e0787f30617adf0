"""How an event is invoked, ready to be copied: the line for a shell, and the one for Python.

The admin shows them beside an event's schema. They name variables where a customer's connection and
record stand, so that nothing reaches a CRM by a line that was pasted too soon.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from django.urls import NoReverseMatch, reverse

from xkit_crm.models.event_definition import EventType

#: Where the API is mounted in the docs, for projects that haven't mounted it.
_USUAL = "/api/v1"


@dataclass(frozen=True, slots=True)
class Examples:
    """How one event is invoked with a payload."""

    curl: str
    python: str
    #: Whether the project's urls include the API, so that the address is real.
    is_mounted: bool


def examples(
    crm_object: str,
    event: str,
    event_type: str,
    payload: Mapping[str, Any],
    *,
    absolute: Callable[[str], str],
) -> Examples:
    """The lines for an event of this type; `absolute` makes a whole address of a path."""
    needs_record = event_type in EventType.values and EventType(event_type).needs_record
    path, is_mounted = _path(crm_object, event, needs_record=needs_record)
    body = json.dumps({"payload": payload}, ensure_ascii=False)
    return Examples(
        f'curl -u "$PUBLISHABLE_KEY:$SECRET_KEY" \\\n'
        f'     "{absolute(path)}" \\\n'
        f"     -d {shlex.quote(body)}",
        _python(crm_object, event, payload, needs_record=needs_record),
        is_mounted,
    )


def _path(crm_object: str, event: str, *, needs_record: bool) -> tuple[str, bool]:
    named = {"connection": "$CONNECTION", "crm_object": crm_object, "event": event}
    name = "invoke_on_record" if needs_record else "invoke"
    record = {"record": "$RECORD"} if needs_record else {}
    try:
        return reverse(f"xkit_crm_api:{name}", kwargs={**named, **record}), True
    except NoReverseMatch:
        on = "$RECORD/" if needs_record else ""
        return f"{_USUAL}/crm/$CONNECTION/objects/{crm_object}/{on}events/{event}", False


def _python(crm_object: str, event: str, payload: Mapping[str, Any], *, needs_record: bool) -> str:
    shown = pformat(payload, width=80, sort_dicts=False).replace("\n", "\n    ")
    lines = [
        "import xkit_crm",
        "",
        "xkit_crm.invoke(",
        "    connection_id,",
        f"    {json.dumps(crm_object)},",
        f"    {json.dumps(event)},",
        f"    {shown},",
        *(["    record=record_id,"] if needs_record else []),
        ")",
    ]
    return "\n".join(lines)
