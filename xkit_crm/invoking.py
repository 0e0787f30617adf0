"""The one door: `invoke()` checks a request, makes the invocation, and has it carried out.

The Python call and the HTTP API come in here; model signals come in by `sync/capture.py`, which
makes the same invocations without a caller who waits. Nothing is written before every check has
passed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, models, router, transaction
from django.utils import timezone

from xkit_crm import catalogue, schema, tracing
from xkit_crm.conf import settings
from xkit_crm.delivery import backends, lanes, outbox, tallies
from xkit_crm.delivery.decisions import Decision, decision_for, incomplete
from xkit_crm.delivery.drain import deliver, read_again
from xkit_crm.exceptions import (
    ConfigurationError,
    ConnectionNotEnabled,
    CRMError,
    IdempotencyMismatch,
    InProgress,
    Malformed,
    PayloadInvalid,
    Problem,
    RateLimited,
    UnknownConnection,
    WrongEventType,
)
from xkit_crm.models import Connection, Invocation, Lane
from xkit_crm.models.base import in_transaction, new_uuid
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus, Priority, Source
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.registry import provider_for
from xkit_crm.sync.bindings import key_of, model_of

MAX_IDEMPOTENCY_KEY = 255

_NOT_ENABLED_HINT = {
    ConnectionStatus.PENDING: "Let the customer finish CRM Link, or enable it in the admin.",
    ConnectionStatus.DISABLED: "The customer switched it off; they switch it on in CRM Link.",
    ConnectionStatus.ERRORED: "The CRM refused its credentials; the customer reconnects it.",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, read and found valid: what an invocation is made from."""

    connection: Connection
    event: catalogue.Event
    payload: dict[str, Any]
    record_id: str


def invoke(
    connection: Connection | str,
    crm_object: str,
    event: str,
    payload: Mapping[str, Any],
    record: str | None = None,
    *,
    idempotency_key: str | None = None,
    wait: bool = True,
    instance: models.Model | None = None,
) -> Invocation:
    """Fire an event: the seed's "Invoke Event", from Python.

    `record` is the record id of an update or delete event, such as `Opportunity:09876`. With
    `wait` it is carried out before this returns, and the answer is in `.record`, `.status` and
    `.error`; what can be tried again stays pending and is tried by the worker. Without, or inside
    an open transaction (nothing leaves before the commit), it is pending. `instance` is a local
    row that the record shall be linked to. With XKIT_CRM["REMOTE"] it is fired in that deployment.

    Raises the errors of the HTTP contract that are found at the door: `UnknownConnection`,
    `UnknownObject`, `UnknownEvent`, `UnknownRecord`, `WrongEventType`, `ConnectionNotEnabled`,
    `PayloadInvalid`, `MappingIncomplete`, `IdempotencyMismatch`.
    """
    if settings.REMOTE:
        return _invoke_remotely(
            connection.pk if isinstance(connection, Connection) else connection,
            crm_object,
            event,
            schema.to_json(payload),
            record=record,
            idempotency_key=idempotency_key,
            wait=wait,
        )
    request = read(connection, crm_object, event, payload, record)
    invocation, _ = put(
        request,
        source=Source.PYTHON,
        idempotency_key=require_key(idempotency_key),
        instance=instance,
        carry_out_now=wait,
    )
    return invocation


def _invoke_remotely(connection_id: str, *named: Any, **options: Any) -> Invocation:
    from xkit_crm.client import XkitClient

    if in_transaction(router.db_for_write(Invocation)):
        raise ConfigurationError(
            "An event can't be fired in another deployment inside an open transaction: it would "
            "be there although the transaction is rolled back.",
            hint="Fire it in transaction.on_commit(), or outside the atomic block.",
        )
    return XkitClient(**settings.REMOTE).invocation(connection_id, *named, **options)


def require_key(idempotency_key: str | None) -> str | None:
    """The key itself; raises `Malformed` where it is empty or too long."""
    if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY:
        raise Malformed(
            "The idempotency key is empty or too long.",
            hint=f"Use 1 to {MAX_IDEMPOTENCY_KEY} characters, such as a UUID.",
        )
    return idempotency_key


def find_connection(connection: Connection | str) -> Connection:
    """The connection with this id; raises `UnknownConnection`."""
    if isinstance(connection, Connection):
        return connection
    rows = Connection.objects.select_related("lane")
    # No database takes a NUL character, and PostgreSQL fails of it.
    found = None if "\x00" in connection else rows.filter(pk=connection).first()
    if found is None:
        raise UnknownConnection(
            f"There is no connection {connection!r}.",
            hint="Connections are made by CRM Link, xkit_crm.connect() or in the admin.",
        )
    return found


def require_enabled(connection: Connection) -> None:
    """Raise `ConnectionNotEnabled` where the CRM may not be called."""
    if not connection.is_enabled:
        status = ConnectionStatus(connection.status)
        raise ConnectionNotEnabled(
            f"The connection {connection.pk!r} is {status.value}"
            + (f": {connection.status_reason}" if connection.status_reason else "."),
            hint=_NOT_ENABLED_HINT[status],
        )


def read(
    connection: Connection | str,
    crm_object: str,
    event: str,
    payload: Mapping[str, Any],
    record: str | None,
) -> Request:
    """Find what is named and validate the payload; the same request reads the same again."""
    connection = find_connection(connection)
    found = catalogue.event(crm_object, event)
    if found.type.needs_record != (record is not None):
        needs = "needs a record" if found.type.needs_record else "takes no record"
        raise WrongEventType(
            f"{event} is {_a(found.type)} {found.type} event: it {needs}.",
            hint=f"POST .../objects/{crm_object}/"
            + ("<recordID>/" if found.type.needs_record else "")
            + f"events/{event}; in Python "
            + ("pass record=." if found.type.needs_record else "leave record= out."),
        )
    if record is not None:
        RecordRef.parse(record)
    if not isinstance(payload, Mapping):
        raise Malformed("The payload isn't an object.", hint='Send {"payload": {...}}.')
    clean = schema.to_json(payload)
    if problems := found.validator.validate(clean):
        raise PayloadInvalid(
            f"The payload violates the schema of {event}.",
            hint="Correct every path listed; nothing was written.",
            errors=problems,
        )
    return Request(connection, found, clean, record or "")


def admit(request: Request) -> Decision:
    """What the customer decided for the request; raises where it can't be carried out now.

    `ConnectionNotEnabled`, `MappingIncomplete`, and `UnknownRecord` for a record of another object.
    """
    connection, event = request.connection, request.event
    require_enabled(connection)
    decision = decision_for(connection, event.definition)
    if request.record_id:
        decision.record(request.record_id)
    if problems := _missing(decision, connection):
        raise incomplete(connection.pk, event.definition, problems)
    return decision


def _missing(decision: Decision, connection: Connection) -> list[Problem]:
    try:
        return decision.missing(provider_for(connection))
    except CRMError:
        # A CRM that can't be asked now must not turn the event away: when its turn comes, either
        # the CRM answers, or the invocation says why not.
        return []


def _a(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def put(
    request: Request,
    *,
    source: Source,
    idempotency_key: str | None = None,
    instance: models.Model | None = None,
    carry_out_now: bool = True,
    retry: bool = True,
    timeout: float | None = None,
    request_id: str = "",
) -> tuple[Invocation, bool]:
    """Make the invocation and have it carried out. Gives it, and whether it was there already.

    It was there already where its idempotency key was used for the same request before: then it is
    answered again, whatever has changed since. `retry` is whether the engine tries again by itself.
    Raises `IdempotencyMismatch`, `InProgress`, what `admit` raises, and `RateLimited` where a
    caller waits and the CRM asked for a pause.
    """
    using = router.db_for_write(Invocation)
    now_possible = carry_out_now and not in_transaction(using)
    priority = Priority.WAITED_FOR if now_possible else Priority.NORMAL
    make = partial(_insert, request, source, idempotency_key, instance, retry, request_id, priority)
    earlier = _used_before(request, idempotency_key)
    if earlier is None:
        admit(request)
        if now_possible and not retry:
            require_open_lane(request.connection)
        invocation, replayed = _insert_once(make, request, idempotency_key, using=using)
    else:
        invocation, replayed = earlier, not _run_again(earlier)
    if replayed and invocation.is_final:
        return invocation, True
    if not now_possible:
        backends.poke_on_commit([request.connection.pk], using=using)
        return invocation, replayed
    invocation = deliver(
        invocation,
        timeout=settings.WAIT_TIMEOUT if timeout is None else timeout,
        inserted=earlier is None and not replayed,
    )
    # Others may have come while the lane was held here, and found it taken.
    backends.poke_on_commit([request.connection.pk], using=using)
    if replayed and not invocation.is_final:
        raise InProgress(
            "The request with this idempotency key is still being carried out.",
            hint="Ask again in a moment with the same key.",
            retry_after=1,
        )
    # The caller waits no longer, so from here on the engine sees to it; unless it has just ended.
    while not invocation.is_final and not _leave_to_the_engine(invocation):
        invocation = read_again(invocation)
    return invocation, replayed


def _leave_to_the_engine(invocation: Invocation) -> bool:
    """Have it tried again as if nobody had waited; False where it has come to its end."""
    going_on = (InvocationStatus.PENDING, InvocationStatus.RUNNING)
    left = Invocation.objects.filter(pk=invocation.pk, status__in=going_on)
    return bool(left.update(retry=True, priority=Priority.NORMAL))


def _insert_once(
    make: Callable[[], Invocation], request: Request, idempotency_key: str | None, *, using: str
) -> tuple[Invocation, bool]:
    """The new invocation, or the one that the same key made at the same moment."""
    with outbox.referring(request.connection.pk, using):
        if idempotency_key is None:
            return make(), False
        try:
            with transaction.atomic(using=using):
                return make(), False
        except IntegrityError:
            earlier = _used_before(request, idempotency_key)
            if earlier is None:
                raise
            return earlier, True


def require_open_lane(connection: Connection) -> None:
    """Raise `RateLimited` where the CRM asked for a pause that is not over."""
    lane: Lane | None = getattr(connection, "lane", None)
    now = timezone.now()
    if lane is not None and lane.paused_until is not None and lane.paused_until > now:
        raise RateLimited(
            "The CRM asked to be left alone for a while.",
            hint="Nothing was sent. Ask again after Retry-After, or with Prefer: respond-async.",
            retry_after=max((lane.paused_until - now).total_seconds(), 1),
        )


def _insert(
    request: Request,
    source: Source,
    idempotency_key: str | None,
    instance: models.Model | None,
    retry: bool,
    request_id: str,
    priority: Priority,
) -> Invocation:
    uuid = new_uuid()
    row = None
    if instance is not None:
        crm_object = request.event.crm_object
        model = model_of(instance, crm_object)
        row = outbox.Row.of(model, key_of(instance, model), crm_object=crm_object)
        key = row.key
    elif request.record_id:
        key = outbox.record_key_of(request.connection.pk, request.record_id)
    else:
        key = str(uuid)
    with tracing.making("invoke", 1) as traceparent:
        return Invocation.objects.create(
            uuid=uuid,
            traceparent=traceparent,
            connection=request.connection,
            event=request.event.definition,
            payload=request.payload,
            source=source,
            record_key=key,
            record_id=request.record_id,
            content_type_id=row.content_type_id if row else None,
            object_pk=row.pk if row else None,
            retry=retry,
            priority=priority,
            idempotency_key=idempotency_key,
            request_digest=_digest(request) if idempotency_key else None,
            request_id=request_id[:200],
        )


def _digest(request: Request) -> str:
    """What makes two requests the same."""
    same = [
        request.connection.pk,
        request.event.crm_object,
        request.event.slug,
        request.record_id,
        request.payload,
    ]
    text = json.dumps(same, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _used_before(request: Request, idempotency_key: str | None) -> Invocation | None:
    """The invocation that this key made; raises `IdempotencyMismatch` for another request.

    A key that is older than the window is free again.
    """
    if idempotency_key is None:
        return None
    found = Invocation.objects.filter(idempotency_key=idempotency_key).first()
    if found is None:
        return None
    window: timedelta = settings.IDEMPOTENCY_WINDOW
    if found.is_final and found.created_at < timezone.now() - window:
        Invocation.objects.filter(pk=found.pk).update(idempotency_key=None)
        return None
    if found.request_digest != _digest(request):
        raise IdempotencyMismatch(
            "This idempotency key was used for another request.",
            hint="Use a new key for every request; the same key only to send the same one again.",
        )
    return found


def _run_again(invocation: Invocation) -> bool:
    """Queue it again where it failed for a reason that passes and its caller does the retrying."""
    error = invocation.error
    ended = invocation.status in (InvocationStatus.FAILED, InvocationStatus.UNKNOWN)
    if invocation.retry or not ended or error is None or not error.retryable:
        return False
    # Another caller with the same key may have done so since it was read.
    with transaction.atomic(using=router.db_for_write(Invocation)):
        queued = Invocation.objects.filter(
            pk=invocation.pk, status=invocation.status, tries=invocation.tries
        ).update(
            status=InvocationStatus.PENDING,
            priority=Priority.WAITED_FOR,
            due_at=timezone.now(),
            finished_at=None,
        )
        tallies.reopened({(invocation.connection_id, invocation.status): queued})
        # What stands behind an unknown one was put off until somebody decides.
        lanes.release({(invocation.connection_id, invocation.record_key)})
    invocation.refresh_from_db()
    return bool(queued)
