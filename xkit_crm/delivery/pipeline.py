"""Carry out one invocation: mapping -> provider -> result.

The one pipeline behind the API, the Python call and the models. `drain.py` calls it while it holds
the invocation's lane. Providers are called outside any transaction, and what came of it is
written in one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from xkit_crm import signals
from xkit_crm.conf import settings
from xkit_crm.connections import set_status
from xkit_crm.delivery import lanes
from xkit_crm.delivery.decisions import Decision, decide
from xkit_crm.delivery.retry import Policy
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Attempt, Invocation, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import Provider, RecordRef, RemoteRecord
from xkit_crm.providers.registry import provider_for
from xkit_crm.sync.retarget import NothingToDo, retarget

logger = logging.getLogger(__name__)

#: How many records a search gives where the payload doesn't say.
SEARCH_LIMIT = 20


#: What a try may change of its invocation.
_OUTCOME = (
    "event_id",
    "payload",
    "status",
    "record_id",
    "due_at",
    "doubtful",
    "result",
    "error_code",
    "error_detail",
    "finished_at",
)


@dataclass(slots=True)
class Try:
    """What is known of one try while it goes on; the attempt row is made from it."""

    invocation: Invocation
    operation: str = ""
    target: str = ""
    sent: Mapping[str, Any] | None = None
    wrote: RecordRef | None = None
    status: InvocationStatus = InvocationStatus.SUCCEEDED
    records: list[Record] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)


def carry_out(invocation: Invocation) -> bool:
    """Try once, and write down what came of it. Never raises what the CRM or a mapping causes.

    False where somebody else has changed it since it was read: then nothing is done.
    """
    claimed = Invocation.objects.filter(
        pk=invocation.pk, status=InvocationStatus.PENDING, tries=invocation.tries
    ).update(status=InvocationStatus.RUNNING, tries=F("tries") + 1)
    if not claimed:
        return False
    invocation.tries += 1
    this = Try(invocation)
    error: XkitError | None = None
    try:
        _perform(this)
    except NothingToDo as nothing:
        this.status, error = InvocationStatus.SKIPPED, nothing
    except XkitError as raised:
        error = raised
    except Exception as raised:  # an adapter's bug must not stop the lane
        logger.exception("Invocation %s: the provider failed.", invocation.uuid)
        error = CRMError(
            f"The {invocation.connection.provider} provider failed: "
            f"{type(raised).__name__}: {raised}",
            hint="This is a defect of the provider; the log has its traceback.",
            outcome_unknown=this.sent is not None,
        )
    if error is None or this.status == InvocationStatus.SKIPPED:
        _succeed(this, error)
    else:
        _fail(this, error)
    return True


# -- doing it -------------------------------------------------------------------------------------


def _perform(this: Try) -> None:
    invocation = this.invocation
    retarget(invocation)
    decision = decide(invocation)
    if decision.action.action == ActionType.NOOP:
        this.operation, this.status = "noop", InvocationStatus.SKIPPED
        if invocation.record_id:
            this.records = [Record(decision.crm_object.slug, invocation.record_id)]
        return
    provider = provider_for(invocation.connection)
    _ACTIONS[decision.action.action](this, decision, provider)


def _create(this: Try, decision: Decision, provider: Provider) -> None:
    invocation, remote_object = this.invocation, decision.remote_object
    fields = decision.fields(provider)
    this.operation, this.target = "create", remote_object
    values = resolving.resolve(
        decision.action, invocation.payload, fields=fields, creating=True, current=None
    )
    this.sent = values
    key = str(invocation.uuid)
    if invocation.doubtful:
        this.wrote = provider.find_created(remote_object, key=key)
    if this.wrote is None:
        this.wrote = provider.create(remote_object, values, key=key)
    _answer(this, decision, provider, this.wrote)


def _update(this: Try, decision: Decision, provider: Provider) -> None:
    invocation, ref = this.invocation, RecordRef.parse(this.invocation.record_id)
    this.operation, this.target = "update", str(ref)
    current: Mapping[str, Any] | None = None
    if names := resolving.needs_current(decision.action):
        current = provider.get(ref, names).values
    values = resolving.resolve(
        decision.action,
        invocation.payload,
        fields=decision.fields(provider),
        creating=False,
        current=current,
    )
    this.sent = values
    if values:
        provider.update(ref, values)
    this.wrote = ref
    _answer(this, decision, provider, ref)


def _delete(this: Try, decision: Decision, provider: Provider) -> None:
    ref = RecordRef.parse(this.invocation.record_id)
    this.operation, this.target, this.sent = "delete", str(ref), {}
    try:
        provider.delete(ref)
    except RemoteRecordNotFound:
        # Gone is what was wanted; but a caller who names a record that never was is told so.
        if not (this.invocation.doubtful or this.invocation.object_pk):
            raise
    this.wrote = ref
    this.records = [Record(decision.crm_object.slug, str(ref))]


def _workflow(this: Try, decision: Decision, provider: Provider) -> None:
    invocation, name = this.invocation, decision.action.workflow
    this.operation, this.target = "workflow", name
    workflow = decision.workflow(provider)
    inputs = {field.name: field for field in workflow.inputs} if workflow else {}
    values = resolving.resolve(
        decision.action, invocation.payload, fields=inputs, creating=True, current=None
    )
    this.sent, this.status = values, InvocationStatus.DEFERRED
    ref = RecordRef.parse(invocation.record_id) if invocation.record_id else None
    key = str(invocation.uuid)
    this.wrote = provider.run_workflow(name, values, key=key, ref=ref)
    # A record that is someone else's object can't be shown as this one.
    if this.wrote is not None and this.wrote.remote_object == decision.remote_object:
        _answer(this, decision, provider, this.wrote)
    elif ref is not None:
        _answer(this, decision, provider, ref)


def _search(this: Try, decision: Decision, provider: Provider) -> None:
    invocation = this.invocation
    this.operation, this.target = "search", decision.remote_object
    criteria = resolving.criteria(decision.action, invocation.payload)
    limit = invocation.payload.get("limit")
    if not isinstance(limit, int) or limit < 1:
        limit = SEARCH_LIMIT
    found = provider.search(
        decision.remote_object, criteria, decision.read_fields, limit=min(limit, 200)
    )
    this.records = [_record(decision, record) for record in found]


_ACTIONS = {
    ActionType.CREATE: _create,
    ActionType.UPDATE: _update,
    ActionType.DELETE: _delete,
    ActionType.WORKFLOW: _workflow,
    ActionType.SEARCH: _search,
}


def _answer(this: Try, decision: Decision, provider: Provider, ref: RecordRef) -> None:
    """Read the record back for the answer. The write has happened, so this can't fail it."""
    if this.invocation.event.type == EventType.DELETE:
        this.records = [Record(decision.crm_object.slug, str(ref))]
        return
    try:
        remote = provider.get(ref, decision.read_fields)
    except CRMError as error:
        logger.warning("Invocation %s was written, not read back: %s", this.invocation.uuid, error)
        remote = RemoteRecord(ref, dict(this.sent or {}))
    this.records = [_record(decision, remote)]


def _record(decision: Decision, remote: RemoteRecord) -> Record:
    return Record(decision.crm_object.slug, str(remote.ref), decision.read_back(remote.values))


# -- writing down what came of it -----------------------------------------------------------------


def _succeed(this: Try, note: XkitError | None) -> None:
    invocation = this.invocation
    invocation.status = this.status
    invocation.result = {"records": [record.as_dict() for record in this.records]}
    invocation.doubtful = False
    invocation.error_code, invocation.error_detail = "", note.as_dict() if note else None
    if this.records and invocation.event.type != EventType.SEARCH:
        invocation.record_id = this.records[0].id
    _finish(this, Outcome.SUCCEEDED, note)


def _fail(this: Try, error: XkitError) -> None:
    invocation = this.invocation
    error = _in_the_products_words(this, error)
    invocation.error_code, invocation.error_detail = error.code, error.as_dict()
    policy = Policy(settings.MAX_ATTEMPTS, _seconds(settings.RETRY_BASE), settings.RETRY_MAX)
    broken = isinstance(error, CRMUnauthorized)
    wait = policy.wait(error, invocation.tries - invocation.forgiven)
    once_more = invocation.retry and (wait is not None or broken)
    may_have_made = error.outcome_unknown and this.operation in ("create", "workflow")
    can_ask = provider_for(invocation.connection).can_find_created if may_have_made else True
    invocation.doubtful = invocation.doubtful or error.outcome_unknown
    if (may_have_made or (invocation.doubtful and this.operation in ("create", "workflow"))) and (
        not can_ask or not once_more
    ):
        invocation.status = InvocationStatus.UNKNOWN
    elif once_more:
        invocation.status = InvocationStatus.PENDING
        invocation.due_at = timezone.now() + (wait or timedelta())
    else:
        invocation.status = InvocationStatus.FAILED
    _finish(this, Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED, error)
    if isinstance(error, RateLimited) and error.retry_after:
        lanes.pause(invocation.connection_id, timezone.now() + _seconds(error.retry_after))
    if broken:
        set_status(invocation.connection, ConnectionStatus.ERRORED, error.message)


def _in_the_products_words(this: Try, error: XkitError) -> XkitError:
    """Name the payload key that fed each field which the CRM refused."""
    if not isinstance(error, RejectedByCRM) or not error.errors or not this.operation:
        return error
    return decide(this.invocation).explain(error)


def _finish(this: Try, outcome: Outcome, error: XkitError | None) -> None:
    invocation = this.invocation
    final = InvocationStatus(invocation.status).is_final
    if final:
        invocation.finished_at = timezone.now()
    duration = _seconds(time.monotonic() - this.started)
    with transaction.atomic():
        mine = _write_down(invocation)
        Attempt.objects.create(
            invocation=invocation,
            number=invocation.tries,
            operation=this.operation or "prepare",
            target=this.target[:255],
            sent=None if this.sent is None else dict(this.sent),
            received={"records": [record.as_dict() for record in this.records]},
            outcome=outcome,
            error=error.as_dict() if error else None,
            started_at=timezone.now() - duration,
            duration=duration,
        )
        if outcome == Outcome.SUCCEEDED:
            _keep_link(this)
        if final and mine:
            transaction.on_commit(
                lambda: signals.send(signals.invocation_finished, Invocation, invocation=invocation)
            )


def _write_down(invocation: Invocation) -> bool:
    """Store what became of it; False where the lease ran out meanwhile and another took it up.

    Then that one decides: it asks the CRM what this try has written.
    """
    values = {name: getattr(invocation, name) for name in _OUTCOME}
    written = Invocation.objects.filter(
        pk=invocation.pk, status=InvocationStatus.RUNNING, tries=invocation.tries
    ).update(**values)
    if not written:
        logger.warning("Invocation %s: its lease ran out during a try.", invocation.uuid)
    return bool(written)


def _keep_link(this: Try) -> None:
    """The local row stands for the record that was written, until either is deleted."""
    invocation = this.invocation
    if this.wrote is None or not invocation.object_pk:
        return
    row = {
        "content_type_id": invocation.content_type_id,
        "object_pk": invocation.object_pk,
        "connection_id": invocation.connection_id,
        "crm_object_id": invocation.event.crm_object_id,
    }
    if invocation.event.type == EventType.DELETE:
        RecordLink.objects.filter(**row).delete()
        return
    link, created = RecordLink.objects.get_or_create(**row, defaults={"record_id": str(this.wrote)})
    if created:
        transaction.on_commit(
            lambda: signals.send(signals.record_linked, RecordLink, link=link, created=True)
        )


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
