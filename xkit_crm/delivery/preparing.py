"""What a try is to send: which record, which remote values. Nothing is written yet.

`pipeline.py` prepares all that it is about to carry out together, so that links, decisions and
what the CRM holds are read once for many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from xkit_crm.delivery.claiming import unfold
from xkit_crm.delivery.decisions import Decision
from xkit_crm.delivery.line import Line, chunks
from xkit_crm.delivery.outcomes import Try, guarded, reraise, succeed
from xkit_crm.exceptions import ConfigurationError, CRMUnauthorized, UnknownRecord
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import RecordRef, RemoteRecord
from xkit_crm.sync import echo
from xkit_crm.sync.retarget import retarget


def prepare(line: Line, invocations: Sequence[Invocation]) -> list[Try]:
    """Each with what is to be sent, or over already."""
    tries = [Try(invocation) for invocation in invocations]
    links = _links(line, invocations)
    for this in tries:
        this.invocation.connection = line.connection
        this.link = links.get(_key(this.invocation))
        guarded(this, partial(_target, line, this))
    _read_current(line, tries)
    for this in tries:
        if not this.over:
            guarded(this, partial(_resolve, line, this))
    return tries


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
    links = RecordLink.objects.filter(connection_id=line.connection.pk)
    found: dict[_Key, RecordLink] = {}
    for (content_type_id, crm_object_id), pks in rows.items():
        for link in links.filter(
            content_type_id=content_type_id, crm_object_id=crm_object_id, object_pk__in=pks
        ):
            found[content_type_id, link.object_pk, crm_object_id] = link
    if records:
        found |= {(link.record_id,): link for link in links.filter(record_id__in=records)}
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
    if this.operation == ActionType.WORKFLOW:
        this.target = decision.action.workflow
        this.ref = RecordRef.parse(invocation.record_id) if invocation.record_id else None
    elif this.operation in (ActionType.UPDATE, ActionType.DELETE):
        this.ref = decision.record(invocation.record_id)
        this.target = str(this.ref)
    _look_at_writes(line, this)


def _look_at_writes(line: Line, this: Try) -> None:
    """What has to be known of the record before and after."""
    writes = [step.action for step, _ in _steps(line, this)]
    if any(write.action not in (ActionType.UPDATE, ActionType.NOOP) for write in writes[1:]):
        # The customer has changed their mind since they were folded.
        unfold(this.invocation)
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


def _read_current(line: Line, tries: Iterable[Try]) -> None:
    """Read what has to be known before a write can be resolved, many records in one call."""
    alike: defaultdict[tuple[str, tuple[str, ...]], list[Try]] = defaultdict(list)
    for this in tries:
        if this.needs and not this.over and this.ref is not None:
            alike[this.ref.remote_object, this.needs].append(this)
    for (_, names), group in alike.items():
        for some in chunks(group, line.provider.batch_size):
            refs = [this.ref for this in some if this.ref is not None]
            for this, answer in zip(some, line.get(refs, names), strict=True):
                if isinstance(answer, RemoteRecord):
                    this.current = dict(answer.values)
                else:
                    guarded(this, partial(reraise, answer))


def _resolve(line: Line, this: Try) -> None:
    """Turn payloads into the values that are to be sent."""
    decision = this.decision
    assert decision is not None
    action = decision.action.action
    if action in (ActionType.CREATE, ActionType.UPDATE):
        this.sent = _values(line, this, creating=action == ActionType.CREATE)
    elif action == ActionType.DELETE:
        this.sent = {}
    elif action == ActionType.WORKFLOW:
        this.sent = resolving.resolve(
            decision.action,
            this.invocation.payload,
            fields=decision.inputs(line.provider),
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
