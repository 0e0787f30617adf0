"""What changes, in a customer's words: from one mapping to another, and in a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm import catalogue, schema
from xkit_crm.crm_link.wording import ACTIONS, action_name, key_label, mode_name, shown
from xkit_crm.mapping import documents
from xkit_crm.mapping.transformations import WriteMode
from xkit_crm.providers.base import RemoteField


@dataclass(frozen=True, slots=True)
class Changed:
    """One decision that changes: where, and from what to what."""

    where: str
    before: str
    after: str


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """What changes from one mapping to another, in a customer's words."""
    return [
        Changed(_place(found.path), _decision(found.before), _decision(found.after))
        for found in documents.differences(before, after)
    ]


def _place(path: str) -> str:
    slug, _dot, rest = path.partition(".")
    crm_object = catalogue.objects().get(slug)
    if crm_object is None:
        return path
    head, _dot, name = rest.partition(".")
    event = crm_object.events.get(head)
    if event is not None:
        key = name.removeprefix("payload.")
        what = key_label(event, key) if key != name else name
        return f"{crm_object.label} › {event.definition.label}" + (
            "" if name == "action" else f" › {what}"
        )
    if not name:
        return crm_object.label
    return f"{crm_object.label} › {schema.label_for(name, crm_object.fields.get(name))}"


def _decision(value: Any) -> str:
    if value is None:
        return "—"
    if value == "":
        return _("not used")
    if isinstance(value, Mapping) and "kind" in value:
        return _source(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {remote}" for name, remote in value.items())
    if any(value in known for known in ACTIONS.values()):
        return action_name(str(value))
    return str(value)


def _source(row: Mapping[str, Any]) -> str:
    """What feeds a field, in a few words."""
    key, kind = row.get("key", ""), row["kind"]
    text = {
        "static": f"“{shown(row.get('value'))}”",
        "template": f"“{row.get('template', '')}”",
        "empty": _("left alone"),
        "default": _("%(key)s, or “%(value)s”") % {"key": key, "value": shown(row.get("value"))},
        "value_map": f"{key}: "
        + ", ".join(f"{one} → {other}" for one, other in row.get("values", {}).items()),
    }.get(kind, key)
    mode = row.get("mode")
    return f"{text} ({mode_name(mode)})" if mode and mode != WriteMode.ALWAYS else text


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a preview: what the CRM has, and what it would get."""

    label: str
    name: str
    now: str
    then: str
    changed: bool


def lines(
    values: Mapping[str, Any], current: Mapping[str, Any] | None, fields: Mapping[str, RemoteField]
) -> Iterator[Line]:
    """What would be sent, beside what is there."""
    for name, value in values.items():
        remote = fields.get(name)
        there = None if current is None else current.get(name)
        yield Line(
            remote.label if remote else name,
            name,
            "" if there is None else shown(there),
            shown(value),
            current is not None and there != value,
        )
