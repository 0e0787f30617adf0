"""Carry out one invocation: mapping -> provider -> result.

The one pipeline behind the API, the Python call and the models. `drain.py` calls it while it holds
the invocation's lane; `outcomes.py` writes down what came of it. Providers are called outside any
transaction.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from django.db.models import F

from xkit_crm.delivery.decisions import Decision, decide
from xkit_crm.delivery.outcomes import Try, credentials_of, fail, succeed
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RemoteRecordNotFound,
    UnknownRecord,
    XkitError,
)
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Invocation
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import Provider, RecordRef, RemoteRecord
from xkit_crm.providers.registry import provider_for
from xkit_crm.redaction import redact
from xkit_crm.schema import storable
from xkit_crm.sync.retarget import NothingToDo, retarget

logger = logging.getLogger(__name__)

#: How many records a search gives where the payload doesn't say.
SEARCH_LIMIT = 20


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
    try:
        _perform(this)
    except NothingToDo as nothing:
        this.status = InvocationStatus.SKIPPED
        succeed(this, nothing)
    except XkitError as error:
        fail(this, error)
    except Exception as raised:  # noqa: BLE001 - an adapter's bug must not stop the lane
        fail(this, _defect(this, raised))
    else:
        succeed(this, None)
    return True


def _defect(this: Try, raised: Exception) -> CRMError:
    """What an adapter raised that it shouldn't. Its words may hold secrets: they are not shown."""
    told = redact(traceback.format_exc(), credentials_of(this.invocation))
    logger.error("Invocation %s: the provider failed.\n%s", this.invocation.uuid, told)
    return CRMError(
        f"The {this.invocation.connection.provider} provider failed with {type(raised).__name__}.",
        hint="This is a defect of the provider; the log has its traceback.",
        outcome_unknown=this.sent is not None,
    )


# -- doing it -------------------------------------------------------------------------------------


def _perform(this: Try) -> None:
    invocation = this.invocation
    try:
        retarget(invocation)
    except UnknownRecord:
        # Where nothing is to be done, it needs no record to do it to.
        if decide(invocation).action.action != ActionType.NOOP:
            raise
    decision = decide(invocation)
    if decision.action.action == ActionType.NOOP:
        this.operation, this.status = "noop", InvocationStatus.SKIPPED
        if invocation.record_id:
            this.records = [Record(decision.crm_object.slug, invocation.record_id)]
        return
    try:
        provider = provider_for(invocation.connection)
        _ = provider.access.credentials
    except ConfigurationError as error:
        # The operator's to mend: until then the lane waits, as for a customer's credentials.
        raise CRMUnauthorized(error.message, hint=error.hint) from error
    _ACTIONS[decision.action.action](this, decision, provider)


def _found_before(this: Try, provider: Provider) -> RecordRef | None:
    """The record that an earlier try of unknown outcome made; raises where nobody can tell.

    Where the CRM can't be asked, only a person who replays it says that it shall be done again.
    """
    invocation = this.invocation
    if not invocation.doubtful:
        return None
    found = None
    if provider.can_find_created:
        found = provider.find_created(this.target, key=str(invocation.uuid))
    elif invocation.tries - invocation.forgiven > 1 or not invocation.forgiven:
        raise CRMUnavailable(
            "It may have been done already, and this CRM can't be asked.",
            hint="Look in the CRM. Replay it if it is not there.",
            outcome_unknown=True,
        )
    invocation.doubtful = False
    return found


def _create(this: Try, decision: Decision, provider: Provider) -> None:
    invocation, remote_object = this.invocation, decision.remote_object
    this.operation, this.target = "create", remote_object
    values = resolving.resolve(
        decision.action,
        invocation.payload,
        fields=decision.fields(provider),
        creating=True,
        current=None,
    )
    this.wrote = _found_before(this, provider)
    this.sent = values
    if this.wrote is None:
        this.wrote = provider.create(remote_object, values, key=str(invocation.uuid))
    _answer(this, decision, provider, this.wrote)


def _update(this: Try, decision: Decision, provider: Provider) -> None:
    invocation, ref = this.invocation, decision.record(this.invocation.record_id)
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
    ref = decision.record(this.invocation.record_id)
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
    values = resolving.resolve(
        decision.action,
        invocation.payload,
        fields=decision.inputs(provider),
        creating=True,
        current=None,
    )
    if not provider.can_find_created:
        _found_before(this, provider)
    this.sent, this.status = values, InvocationStatus.DEFERRED
    ref = RecordRef.parse(invocation.record_id) if invocation.record_id else None
    made = provider.run_workflow(name, values, key=str(invocation.uuid), ref=ref)
    # A record of another object is not what the row stands for, nor what the product reads.
    if made is not None and made.remote_object == decision.remote_object:
        this.wrote = made
        _answer(this, decision, provider, made)
    elif ref is not None:
        _answer(this, decision, provider, ref)


def _search(this: Try, decision: Decision, provider: Provider) -> None:
    invocation = this.invocation
    this.operation, this.target = "search", decision.remote_object
    criteria = resolving.criteria(
        decision.action, invocation.payload, fields=decision.fields(provider)
    )
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
        this.records = [_record(decision, provider.get(ref, decision.read_fields))]
    except Exception as error:  # noqa: BLE001 - nor may it undo what was written
        logger.warning(
            "Invocation %s was written, not read back: %s",
            this.invocation.uuid,
            error if isinstance(error, CRMError) else type(error).__name__,
        )
        this.records = [_record(decision, RemoteRecord(ref, dict(this.sent or {})))]


def _record(decision: Decision, remote: RemoteRecord) -> Record:
    data = storable(decision.read_back(remote.values))
    return Record(decision.crm_object.slug, str(remote.ref), data)
