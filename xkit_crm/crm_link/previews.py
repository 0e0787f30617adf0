"""Preview and try an event with the drafted mapping, on a row of the product or on a sample."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm import catalogue, logs, mappings, schema
from xkit_crm.crm_link import changes, wording
from xkit_crm.delivery.decisions import Decision
from xkit_crm.exceptions import (
    CRMError,
    PayloadInvalid,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    UnknownRecord,
    XkitError,
)
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Connection
from xkit_crm.models.base import new_uuid
from xkit_crm.models.event_definition import EventType
from xkit_crm.providers.base import Provider, RecordRef
from xkit_crm.records import preview_of, record_url
from xkit_crm.sync import examples

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the preview is of: a payload, and the record that it is about."""

    payload: dict[str, Any]
    #: As it is shown and edited.
    text: str
    record_id: str = ""
    row: str = ""
    problems: tuple[str, ...] = ()
    #: Whether nobody has such values: they only show what there could be.
    made_up: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What would happen."""

    action: str = ""
    target: str = ""
    lines: tuple[changes.Line, ...] = ()
    problems: tuple[str, ...] = ()
    nothing: bool = False
    #: By what decision, and the remote values.
    decision: Decision | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def can_try(self) -> bool:
        return not self.problems and not self.nothing and self.action != ActionType.SEARCH


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of doing it."""

    record_id: str = ""
    url: str = ""
    error: str = ""
    errors: tuple[str, ...] = field(default=())


def asked(
    data: Mapping[str, Any],
    event: catalogue.Event,
    connection: Connection,
    offered: Sequence[tuple[str, str]],
) -> Asked:
    """What is to be previewed: the row or the text that was given, else the newest row that is
    offered, else a sample."""
    text, row = str(data.get("payload", "")), str(data.get("row", ""))
    record_id = str(data.get("record", "")).strip()
    if row != "sample" and not text:
        row = row or (offered[0][0] if offered else "")
        if row in dict(offered) and (found := _of_row(row, event, connection)):
            return found
    if not text:
        payload = schema.sample(event.payload_schema)
        return Asked(payload, _pretty(payload), record_id, "sample", made_up=True)
    try:
        payload = json.loads(text)
    except ValueError:
        return Asked({}, text, record_id, "sample", (_("This is no valid JSON."),))
    problems = [Problem("payload", _("is not an object"))]
    if isinstance(payload, dict):
        problems = event.validator.validate(payload)
    told = tuple(map(str, problems))
    return Asked(payload if not told else {}, text, record_id, "sample", told)


def _of_row(row: str, event: catalogue.Event, connection: Connection) -> Asked | None:
    found = examples.example(row, event, connection)
    if found is None:
        return None  # deleted since it was offered
    told = tuple(map(str, found.problems))
    return Asked(found.payload, _pretty(found.payload), found.record_id, row, told)


def values(event: catalogue.Event, payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A payload as a person reads it: each key's label, and its value."""
    found = []
    for key, label in wording.keys(event):
        value: Any = payload
        for step in key.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            description = described(event.payload_schema, key)
            found.append((label, wording.shown(value, str(description.get("format", "")))))
    return found


def _pretty(payload: Any) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False)


def show(
    connection: Connection,
    provider: Provider,
    document: Mapping[str, Any],
    event: catalogue.Event,
    asked: Asked,
) -> Shown:
    """What would be sent, beside what the CRM has now, and every problem. Writes nothing."""
    decision = mappings.decision(document, event)
    if decision is None:
        return Shown(problems=(_("Choose first what this event does."),))
    if decision.action.action == ActionType.NOOP:
        return Shown(nothing=True)
    problems = list(asked.problems)
    state = mappings.event_state(provider, document, event)
    problems += [wording.problem_text(problem, event) for problem in state.missing]
    if problems:
        return Shown(str(decision.action.action), problems=tuple(problems))
    needs = decision.action.action in (ActionType.UPDATE, ActionType.DELETE)
    creates = event.type is EventType.CREATE
    record = None if creates else asked.record_id or None
    try:
        if record:
            decision.record(record)
        found = preview_of(provider, connection, decision, asked.payload, record)
    except PayloadInvalid as error:
        return Shown(str(decision.action.action), problems=(error.message,))
    except (UnknownRecord, RemoteRecordNotFound):
        named = {"record": record, "example": f"{decision.remote_object}:00001"}
        text = _("Your CRM has no record %(record)s. Ids look like %(example)s.") % named
        return Shown(str(decision.action.action), problems=(text,))
    if creates and asked.record_id:
        problems.append(
            _("This one is in your CRM already, as %(record)s.") % {"record": asked.record_id}
        )
    if needs and not asked.record_id:
        problems.append(_("To try it, choose a record: this one isn't in your CRM yet."))
    fields = mappings.targets(provider, document, event)
    return Shown(
        found.action,
        found.target,
        tuple(changes.lines(found, fields)),
        tuple(problems),
        decision=decision,
        values=found.values,
    )


def carry_out(
    connection: Connection,
    provider: Provider,
    event: catalogue.Event,
    asked: Asked,
    planned: Shown,
) -> Tried:
    """Do in the CRM what was shown (and can be tried), once.

    It makes no invocation, and links nothing: the mapping is a draft that nobody has confirmed.
    """
    decision, values = planned.decision, planned.values
    assert decision is not None
    key = str(new_uuid())
    logger.info(
        "Connection %s: %s is tried out by hand (%s).",
        connection.pk,
        event.slug,
        key,
        extra={**logs.of(connection.pk), "event": event.slug},
    )
    try:
        ref = RecordRef.parse(asked.record_id) if asked.record_id else None
        values = preview_of(
            provider, connection, decision, asked.payload, asked.record_id or None
        ).values
        match decision.action.action:
            case ActionType.CREATE:
                ref = provider.create(decision.remote_object, values, key=key)
            case ActionType.UPDATE if ref:
                provider.update(ref, values)
            case ActionType.DELETE if ref:
                provider.delete(ref)
            case ActionType.WORKFLOW:
                ref = provider.run_workflow(decision.action.workflow, values, key=key, ref=ref)
        return Tried(str(ref or ""), record_url(provider, str(ref)) if ref else "")
    except XkitError as raised:
        error = decision.explain(raised) if isinstance(raised, RejectedByCRM) else raised
        text = wording.crm_trouble(error) if isinstance(error, CRMError) else error.message
        return Tried(error=text, errors=tuple(map(str, error.errors)))
