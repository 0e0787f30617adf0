"""What a try is to send: which record, which remote values. Nothing is written yet.

`pipeline.py` prepares all that it is about to carry out together, so that links, decisions and
what the CRM holds are read once for many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from xkit_crm.delivery import statements
from xkit_crm.delivery.claiming import unfold
from xkit_crm.delivery.decisions import Decision, incomplete
from xkit_crm.delivery.line import Line
from xkit_crm.delivery.trying import Try, guarded, reraise, succeed
from xkit_crm.exceptions import ConfigurationError, CRMUnauthorized, UnknownRecord
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import RecordRef, RemoteRecord
from xkit_crm.sync import echo
from xkit_crm.sync.retarget import retarget


def prepare(line: Line, invocations: Sequence[Invocation]) -> list[Try]:
    """What is to be done with each, and to which record; or over already. Asks the CRM nothing but
    what it says of itself, which is remembered."""
    tries = [Try(invocation) for invocation in invocations]
    links = _links(line, invocations)
    for this in tries:
        this.invocation.connection = line.connection
        this.invocation.mapping_version = line.connection.mapping_version or None
        this.link = links.get(_key(this.invocation))
        guarded(this, partial(_target, line, this))
    return tries


def complete(line: Line, call: Sequence[Try]) -> None:
    """What is to be sent by the next call, which these go in together; some may be over by it."""
    for this in call:
        guarded(this, partial(_require_complete, line, this))
    _read_current(line, [this for this in call if not this.over])
    for this in call:
        if not this.over:
            guarded(this, partial(_resolve, line, this))


#: What finds a link: the row that it is of, or else its record.
_Key = tuple[Any, ...]


def _key(invocation: Invocation) -> _Key:
    if invocation.object_pk is None:
        return (invocation.record_id,)
    return invocation.content_type_id, invocation.object_pk, invocation.event.crm_object_id


def _links(line: Line, invocations: Iterable[Invocation]) -> dict[_Key, RecordLink]:
    """The record links that these are about. One query for each model, and one for record ids."""
    rows: defaultdict[_Key, set[str]] = defaultdict(set)
    records = set()
    for invocation in invocations:
        if invocation.object_pk is not None:
            content_type_id, object_pk, crm_object_id = _key(invocation)
            rows[content_type_id, crm_object_id].add(object_pk)
        elif invocation.record_id:
            records.add(invocation.record_id)
    connection_id = line.connection.pk
    found: dict[_Key, RecordLink] = {}
    for (content_type_id, crm_object_id), pks in rows.items():
        for link in statements.links_of_rows(connection_id, content_type_id, crm_object_id, pks):
            found[content_type_id, link.object_pk, crm_object_id] = link
    if records:
        of_records = statements.links_of_records(connection_id, records)
        found |= {(link.record_id,): link for link in of_records}
    return found


def _target(line: Line, this: Try) -> None:
    """Find out what is to be done, and to which record."""
    invocation = this.invocation
    try:
        retarget(invocation, this.link)
    except UnknownRecord:
        # Where nothing is to be done, it needs no record to do it to.
        if line.decisions.of(invocation.event).action.action != ActionType.NOOP:
            raise
    this.decision = decision = line.decisions.of(invocation.event)
    this.operation = str(decision.action.action)
    if this.operation == ActionType.NOOP:
        if _let_go(this):
            return
        this.status = InvocationStatus.SKIPPED
        if invocation.record_id:
            this.records = [Record(decision.crm_object.slug, invocation.record_id)]
        succeed(this, None)
        return
    try:
        _ = line.provider.access.credentials
    except ConfigurationError as error:
        # The operator's to mend: until then the lane waits, as for a customer's credentials.
        raise CRMUnauthorized(error.message, hint=error.hint) from error
    this.target = decision.remote_object
    if this.may_double:
        this.can_be_asked = line.can_be_asked(this.operation, this.target)
    if this.operation == ActionType.WORKFLOW:
        this.target = decision.action.workflow
        this.ref = RecordRef.parse(invocation.record_id) if invocation.record_id else None
    elif this.operation in (ActionType.UPDATE, ActionType.DELETE):
        this.ref = decision.record(invocation.record_id)
        this.target = str(this.ref)
    _look_at_writes(line, this)


def _let_go(this: Try) -> bool:
    """The customer has changed their mind since others were folded into it: they wait by
    themselves again. True where it has to wait for them: a delete replaced what came before it."""
    invocation, deletes = this.invocation, this.invocation.event.type == EventType.DELETE
    if not invocation.folded and not deletes:
        return False
    restored = unfold(invocation)
    this.over = this.put_back = deletes and restored > 0
    return this.put_back


def _look_at_writes(line: Line, this: Try) -> None:
    """What has to be known of the record before and after."""
    deletes = this.invocation.event.type == EventType.DELETE
    changed = this.operation == ActionType.WORKFLOW or (
        deletes and this.operation != ActionType.DELETE
    )
    if changed and _let_go(this):
        return
    writes = [step.action for step, _ in _steps(line, this)]
    if any(write.action not in (ActionType.UPDATE, ActionType.NOOP) for write in writes[1:]):
        _let_go(this)
        del writes[1:]
    this.protected = _names(map(resolving.protected, writes))
    if this.operation == ActionType.UPDATE:
        this.needs = _names(map(resolving.needs_current, writes))


def _names(some: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in some for name in names))


def _steps(line: Line, this: Try) -> Iterator[tuple[Decision, dict[str, Any]]]:
    """What is written one over the other: its own payload, then those that joined it."""
    assert this.decision is not None
    yield this.decision, this.invocation.payload
    for step in this.invocation.folded or ():
        yield line.decisions.by_id(step["event"]), step["payload"]


def _require_complete(line: Line, this: Try) -> None:
    """Raise `MappingIncomplete` where what the customer decided doesn't fit their CRM any more, and
    what came of asking the CRM where it didn't say.

    What was folded together is one write, so it waits together: half of it would be no state that
    the row ever had.
    """
    this.excused = line.is_probing
    decisions = list(dict.fromkeys(decision for decision, _ in _steps(line, this)))
    if problems := [problem for decision in decisions for problem in line.missing(decision)]:
        event = this.invocation.event
        raise incomplete(line.connection.pk, event, dict.fromkeys(problems))
    for decision in decisions:
        if decision.action.action == ActionType.WORKFLOW:
            line.inputs(decision)
        elif decision.needs_fields and decision.action.action != ActionType.DELETE:
            line.fields(decision)


def _read_current(line: Line, call: Sequence[Try]) -> None:
    """Read what has to be known before a write can be resolved, many records in one call."""
    alike: defaultdict[tuple[str, ...], list[Try]] = defaultdict(list)
    for this in call:
        if this.needs:
            alike[this.needs].append(this)
    for names, group in alike.items():
        answers = line.get([this.known_ref for this in group], names)
        for this, answer in zip(group, answers, strict=True):
            this.excused = line.is_probing
            if isinstance(answer, RemoteRecord):
                this.current = dict(answer.values)
            else:
                guarded(this, partial(reraise, answer))


def _resolve(line: Line, this: Try) -> None:
    """Turn payloads into the values that are to be sent."""
    decision = this.decision
    assert decision is not None
    action = decision.action.action
    this.excused = line.is_probing
    if action in (ActionType.CREATE, ActionType.UPDATE):
        this.sent = _values(line, this, creating=action == ActionType.CREATE)
    elif action == ActionType.DELETE:
        this.sent = {}
    elif action == ActionType.WORKFLOW:
        this.sent = resolving.resolve(
            decision.action,
            this.invocation.payload,
            fields=line.inputs(decision),
            creating=True,
            current=None,
        )
    else:
        this.criteria = resolving.criteria(
            decision.action, this.invocation.payload, fields=line.fields(decision)
        )


def _values(line: Line, this: Try, *, creating: bool) -> dict[str, Any]:
    """What one write leaves of all that was folded into it: each written over those before it."""
    values: dict[str, Any] = {}
    mine = echo.ours(this.link.written if this.link else {}, this.current or {})
    for number, (decision, payload) in enumerate(_steps(line, this)):
        if decision.action.action == ActionType.NOOP:
            continue
        known = creating or this.current is not None
        values |= resolving.resolve(
            decision.action,
            payload,
            fields=line.fields(decision),
            creating=creating and number == 0,
            current={**(this.current or {}), **values} if known else None,
            ours=mine | values.keys(),
        )
    return values
