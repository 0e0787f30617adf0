"""Write down what came of a try: the invocation's state, the attempt, the record link.

`pipeline.py` calls `succeed` or `fail` once for each try. All of it is written in one transaction,
in a form that every database holds, and without secrets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import DatabaseError, router, transaction
from django.utils import timezone

from xkit_crm import signals
from xkit_crm.conf import settings
from xkit_crm.connections import break_off
from xkit_crm.delivery import lanes
from xkit_crm.delivery.decisions import decide
from xkit_crm.delivery.retry import Policy
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    RateLimited,
    RejectedByCRM,
    XkitError,
)
from xkit_crm.models import Attempt, Invocation, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import MAX_RECORD_ID, RecordRef
from xkit_crm.providers.registry import provider_class
from xkit_crm.redaction import redact
from xkit_crm.schema import storable

logger = logging.getLogger(__name__)

#: What a try may change of its invocation.
_CHANGED = (
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

    @property
    def may_double(self) -> bool:
        """Whether doing it again could make a second record."""
        return self.operation in ("create", "workflow")


def succeed(this: Try, note: XkitError | None) -> None:
    """It ended well: `note` says why there was nothing to do, where there wasn't."""
    invocation = this.invocation
    invocation.status = this.status
    invocation.result = {"records": [record.as_dict() for record in this.records]}
    invocation.doubtful = False
    invocation.error_code, invocation.error_detail = "", note.as_dict() if note else None
    if this.records and invocation.event.type != EventType.SEARCH:
        invocation.record_id = this.records[0].id
    _finish(this, Outcome.SUCCEEDED)


def fail(this: Try, error: XkitError) -> None:
    """It did not: wait for the next try, give up, or leave it to a person."""
    invocation = this.invocation
    error = _in_the_products_words(this, error)
    invocation.error_code = error.code
    invocation.error_detail = redact(error.as_dict(), credentials_of(invocation))
    policy = Policy(settings.MAX_ATTEMPTS, _seconds(settings.RETRY_BASE), settings.RETRY_MAX)
    broken = isinstance(error, CRMUnauthorized)
    wait = policy.wait(error, invocation.tries - invocation.forgiven)
    once_more = invocation.retry and (wait is not None or broken)
    invocation.doubtful = invocation.doubtful or error.outcome_unknown
    if invocation.doubtful and this.may_double and not (once_more and _can_be_asked(invocation)):
        invocation.status = InvocationStatus.UNKNOWN
    elif once_more:
        invocation.status = InvocationStatus.PENDING
        invocation.due_at = timezone.now() + (wait or timedelta())
    else:
        invocation.status = InvocationStatus.FAILED
    _finish(this, Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED)
    if isinstance(error, RateLimited) and error.retry_after:
        lanes.pause(invocation.connection_id, timezone.now() + _seconds(error.retry_after))
    if broken:
        break_off(invocation.connection, invocation.error_detail["message"])


def _can_be_asked(invocation: Invocation) -> bool:
    """Whether the CRM can say what an earlier try has made."""
    try:
        return provider_class(invocation.connection.provider).can_find_created
    except ConfigurationError:
        return False


def credentials_of(invocation: Invocation) -> dict[str, Any]:
    """What must not be shown; nothing where it can't even be decrypted."""
    try:
        return invocation.connection.credentials
    except ConfigurationError:
        return {}


def _in_the_products_words(this: Try, error: XkitError) -> XkitError:
    """Name the payload key that fed each field which the CRM refused."""
    if not isinstance(error, RejectedByCRM) or not error.errors or not this.operation:
        return error
    return decide(this.invocation).explain(error)


def _finish(this: Try, outcome: Outcome) -> None:
    invocation = this.invocation
    try:
        _store(this, outcome)
    except (DatabaseError, TypeError, ValueError) as raised:
        # Something in it can't be stored. What happened in the CRM has happened all the same, so
        # it ends here, rather than being done again and again.
        logger.exception("Invocation %s: what came of it can't be stored.", invocation.uuid)
        error = CRMError(
            f"What came of it can't be stored: {type(raised).__name__}.",
            hint="The log has the details. Look in the CRM whether it was written, then replay.",
            outcome_unknown=this.sent is not None,
        )
        unsure = error.outcome_unknown and this.may_double
        invocation.status = InvocationStatus.UNKNOWN if unsure else InvocationStatus.FAILED
        invocation.result, invocation.doubtful = None, error.outcome_unknown
        invocation.record_id = storable(invocation.record_id)[:MAX_RECORD_ID]
        invocation.error_code, invocation.error_detail = error.code, error.as_dict()
        _store(
            Try(invocation, this.operation, started=this.started),
            Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED,
        )


def _store(this: Try, outcome: Outcome) -> None:
    invocation = this.invocation
    if len(invocation.record_id) > MAX_RECORD_ID:
        raise ValueError(
            f"a record id of {len(invocation.record_id)} characters"
        )  # as databases do
    final = InvocationStatus(invocation.status).is_final
    invocation.finished_at = timezone.now() if final else None
    invocation.result = storable(invocation.result)
    invocation.error_detail = storable(invocation.error_detail)
    duration = _seconds(time.monotonic() - this.started)
    using = router.db_for_write(Invocation)
    with transaction.atomic(using=using):
        mine = _write_down(invocation)
        if not mine and not Invocation.objects.filter(pk=invocation.pk).exists():
            return  # its connection was deleted meanwhile
        Attempt.objects.create(
            invocation=invocation,
            number=invocation.tries,
            operation=this.operation or "prepare",
            target=storable(this.target)[:255],
            sent=None if this.sent is None else storable(this.sent),
            received={"records": storable([record.as_dict() for record in this.records])},
            outcome=outcome,
            error=invocation.error_detail,
            started_at=timezone.now() - duration,
            duration=duration,
        )
        logger.info(
            "Invocation %s of connection %s is %s after try %d (request %s).",
            invocation.uuid,
            invocation.connection_id,
            invocation.status,
            invocation.tries,
            invocation.request_id or "-",
        )
        if outcome == Outcome.SUCCEEDED:
            _keep_link(this, using=using)
        if final and mine:
            tell = partial(
                signals.send, signals.invocation_finished, Invocation, invocation=invocation
            )
            transaction.on_commit(tell, using=using)


def _write_down(invocation: Invocation) -> bool:
    """Store what became of it; False where the lease ran out meanwhile and another took it up.

    Then that one decides: it asks the CRM what this try has written.
    """
    values = {name: getattr(invocation, name) for name in _CHANGED}
    written = Invocation.objects.filter(
        pk=invocation.pk, status=InvocationStatus.RUNNING, tries=invocation.tries
    ).update(**values)
    if not written:
        logger.warning("Invocation %s: its lease ran out during a try.", invocation.uuid)
    return bool(written)


def _keep_link(this: Try, *, using: str) -> None:
    """The local row stands for the record that was written, until the row is deleted."""
    invocation = this.invocation
    if not invocation.object_pk or invocation.content_type_id is None:
        return
    row = invocation.link_key
    if invocation.event.type == EventType.DELETE:
        RecordLink.objects.filter(**row).delete()
    elif this.wrote is not None:
        record_id = str(this.wrote)
        link, created = RecordLink.objects.get_or_create(**row, defaults={"record_id": record_id})
        if created:
            tell = partial(signals.send, signals.record_linked, RecordLink, link=link, created=True)
            transaction.on_commit(tell, using=using)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
