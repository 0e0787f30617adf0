"""What changes, in a customer's words: from one mapping to another, and in a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from xkit_crm import catalogue, mappings, schema
from xkit_crm.crm_link.wording import action_name, key_label, mode_name, shown
from xkit_crm.exceptions import CRMError, CRMUnauthorized
from xkit_crm.mapping import documents
from xkit_crm.mapping.transformations import ActionType, WriteMode
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RemoteField, RemoteObject
from xkit_crm.records import Preview, written

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Changed:
    """One decision that changes: where, and from what to what."""

    where: str
    before: str
    after: str


class Labels:
    """What the CRM calls its objects, fields and workflows: its API names where it doesn't answer,
    so that what is decided can be read without it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._is_silent = False

    def of_object(self, name: str) -> str:
        nothing: Sequence[RemoteObject] = ()
        known = self._asked(lambda: descriptions.objects(self._provider), nothing)
        return {found.name: found.label for found in known}.get(name, name)

    def of_workflow(self, name: str) -> str:
        found = self._asked(lambda: descriptions.workflow(self._provider, name), None)
        return found.label if found else name

    def fields(self, remote_object: str) -> Mapping[str, RemoteField]:
        return self._asked(lambda: descriptions.fields(self._provider, remote_object), {})

    def targets(
        self, document: Mapping[str, Any], event: catalogue.Event
    ) -> Mapping[str, RemoteField]:
        return self._asked(lambda: mappings.targets(self._provider, document, event), {})

    def _asked(self, ask: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
        try:
            return otherwise if self._is_silent else ask()
        except CRMError as error:
            # It need not be asked for each.
            self._is_silent = error.retryable or isinstance(error, CRMUnauthorized)
            return otherwise


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], labels: Labels
) -> list[Changed]:
    """What changes from one mapping to another, in a customer's words and the CRM's labels."""
    old, new = _Side(before, labels), _Side(after, labels)
    return [
        Changed(
            (old if found.after is None else new).place(found.path),
            old.decision(found.path, found.before),
            new.decision(found.path, found.after),
        )
        for found in documents.differences(before, after)
    ]


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two mappings, and the CRM that says what the things in it are called."""

    document: Mapping[str, Any]
    labels: Labels

    def place(self, path: str) -> str:
        """Where it is decided: the object, the event, the field."""
        crm_object, event, name = _found(path)
        if crm_object is None:
            return path
        if event is None:
            key = name.removeprefix("fields.")
            if key == name:
                return crm_object.label
            return f"{crm_object.label} › {schema.label_for(key, crm_object.fields.get(key))}"
        whole = f"{crm_object.label} › {event.definition.label}"
        if name == "action":
            return whole
        if name.startswith("payload."):
            return f"{whole} › {key_label(event, name.removeprefix('payload.'))}"
        return f"{whole} › {_label(self.labels.targets(self.document, event), name)}"

    def decision(self, path: str, value: Any) -> str:
        """What is decided there."""
        crm_object, event, name = _found(path)
        if value is None:
            return "—"
        if value == "":
            return _("not used")
        if crm_object is None:
            return str(value)
        if event is not None:
            if isinstance(value, Mapping):
                field = self.labels.targets(self.document, event).get(value["field"])
                return _source(value, event, field)
            return self._action(event, value)
        if name == "remote_object":
            return self.labels.of_object(value)
        fields = self.labels.fields(self.document[crm_object.slug].get("remote_object") or "")
        if isinstance(value, Mapping):
            return ", ".join(f"{entry}: {_label(fields, one)}" for entry, one in value.items())
        return _label(fields, value)

    def _action(self, event: catalogue.Event, value: str) -> str:
        action = self.document[event.crm_object]["events"][event.slug]["action"]
        return (
            self.labels.of_workflow(value) if action == ActionType.WORKFLOW else action_name(action)
        )


def _found(path: str) -> tuple[catalogue.Object | None, catalogue.Event | None, str]:
    """What a path is of, and the rest of it."""
    slug, _dot, rest = path.partition(".")
    crm_object = catalogue.objects().get(slug)
    head, _dot, name = rest.partition(".")
    event = crm_object.events.get(head) if crm_object else None
    return crm_object, event, name if event else rest


def _label(fields: Mapping[str, RemoteField], name: str) -> str:
    return fields[name].label if name in fields else name


def _source(row: Mapping[str, Any], event: catalogue.Event, field: RemoteField | None) -> str:
    """What feeds a field, in a few words."""
    key, kind = key_label(event, row.get("key", "")), row["kind"]
    value = _choice(field, row.get("value"))
    text = {
        "static": f"“{value}”" if value else _("empty"),
        "template": f"“{row.get('template', '')}”",
        "empty": _("left alone"),
        "default": _("%(key)s, or “%(value)s”") % {"key": key, "value": value},
        "value_map": ": ".join(filter(None, (key, _translated(row, field)))),
    }.get(kind, key)
    mode = row.get("mode")
    return f"{text} ({mode_name(mode)})" if mode and mode != WriteMode.ALWAYS else text


def _translated(row: Mapping[str, Any], field: RemoteField | None) -> str:
    """What each value becomes, and then every other one."""
    pairs = [*row.get("values", {}).items()]
    if "fallback" in row:
        pairs.append(("…", row["fallback"]))
    return ", ".join(f"{one} → {_choice(field, other)}" for one, other in pairs)


def _choice(field: RemoteField | None, value: Any) -> str:
    """A value of a field, by the CRM's own labels where it has some."""
    labels = {choice.value: choice.label for choice in field.choices} if field else {}
    if isinstance(value, list):
        return ", ".join(labels.get(str(one), str(one)) for one in value)
    return labels.get(str(value)) or shown(value, str(field.type) if field else "")


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a preview: what the CRM has, and what it would get."""

    label: str
    name: str
    now: str
    then: str
    changed: bool


def lines(preview: Preview, fields: Mapping[str, RemoteField]) -> Iterator[Line]:
    """What would be sent, beside what is there."""
    for found in written(preview, fields):
        now = "" if found.now is None else shown(found.now, found.type)
        yield Line(
            found.label, found.name, now, shown(found.then, found.type), changed=found.changed
        )
