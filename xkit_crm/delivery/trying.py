"""A try: what is known of it while it goes on, and what came of it.

`preparing.py` and `pipeline.py` fill it in and say that it succeeded or failed; `outcomes.py`
writes it down. Nothing is stored here.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from xkit_crm import logs
from xkit_crm.conf import settings
from xkit_crm.delivery.decisions import Decision
from xkit_crm.delivery.retry import Policy
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    DatabaseUnavailable,
    MappingIncomplete,
    RateLimited,
    RejectedByCRM,
    XkitError,
)
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record
from xkit_crm.providers.base import Criterion, RecordRef
from xkit_crm.redaction import redact
from xkit_crm.sync.retarget import NothingToDo

logger = logging.getLogger(__name__)

#: What a try changes of its invocation only where it becomes another event.
CONTENT = ("event_id", "payload", "folded")


_content = attrgetter(*CONTENT)


@dataclass(slots=True, eq=False)
class Try:
    """What is known of one try while it goes on; the attempt row is made from it."""

    invocation: Invocation
    #: The link of the row that it is about, where there is one.
    link: RecordLink | None = None
    decision: Decision | None = None
    operation: str = ""
    target: str = ""
    ref: RecordRef | None = None
    #: Whether the CRM can say what an earlier try has made.
    can_be_asked: bool = True
    #: Remote fields that have to be known before an update, and what they hold.
    needs: tuple[str, ...] = ()
    current: dict[str, Any] | None = None
    #: Remote fields that are written only while they are as we left them.
    protected: tuple[str, ...] = ()
    sent: Mapping[str, Any] | None = None
    criteria: Sequence[Criterion] = ()
    wrote: RecordRef | None = None
    #: The values after the write, as far as they were read back.
    as_written: Mapping[str, Any] = field(default_factory=dict)
    status: InvocationStatus = InvocationStatus.SUCCEEDED
    records: list[Record] = field(default_factory=list)
    #: Whether it was handed to the CRM, and whether it is known what came of it.
    begun: bool = False
    over: bool = False
    outcome: Outcome = Outcome.SUCCEEDED
    #: Whether it is not its turn after all: it waits as if it had not been looked at.
    put_back: bool = False
    #: Whether the CRM is known to be down, so that failing is no fault of this one.
    excused: bool = False
    #: Whether it waits for the customer to decide, and whether that is known of it already.
    held: bool = False
    held_before: bool = False
    #: Why it failed, and whether the invocation says so already.
    error: XkitError | None = None
    told_before: bool = False
    #: How many tries were forgiven before this one.
    forgiven: int = 0
    #: The credentials were refused, in these words.
    refused: str = ""
    started: float = field(default_factory=time.monotonic)
    #: The span of the call that it went in, where the product traces.
    span: Any = None
    #: The invocation's content as it was read.
    content: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.content = _content(self.invocation)
        self.forgiven = self.invocation.forgiven

    @property
    def is_same_event(self) -> bool:
        """Whether it is still about what was captured."""
        (event_id, payload, folded), now = self.content, self.invocation
        return event_id == now.event_id and payload is now.payload and folded is now.folded

    @property
    def number(self) -> int:
        """Which try this is: `begin` has counted one that went to the CRM.

        Finding it held as before is none. It is looked at every hour for as long as the customer
        takes to decide, and a log that says so each time would bury what an operator looks for:
        since when it waits, and for what. That is told once, and again where it has changed; when
        it was looked at last follows from when it is due.
        """
        return self.invocation.tries + (not self.begun and not self.held_before)

    def attempted(self, *, rehearsed: bool = False) -> Outcome | None:
        """What its attempt says of it; None where there is none: the customer does nothing, or has
        still to decide, so nothing is tried."""
        if rehearsed:
            return Outcome.REHEARSED if self.outcome == Outcome.SUCCEEDED else self.outcome
        return None if self.operation == "noop" or self.held_before else self.outcome

    @property
    def is_left_to_its_caller(self) -> bool:
        """Whether it failed, and not the engine but who waits for it tries again."""
        return self.error is not None and not self.invocation.retry

    @property
    def known_ref(self) -> RecordRef:
        """The record of an update or delete."""
        assert self.ref is not None
        return self.ref

    @property
    def may_double(self) -> bool:
        """Whether doing it again could make a second record."""
        return self.operation in ("create", "workflow")


def guarded(this: Try, step: Callable[[], None]) -> None:
    """Take the step; what it raises is what came of the try."""
    try:
        step()
    except NothingToDo as nothing:
        this.status = InvocationStatus.SKIPPED
        succeed(this, nothing)
    except XkitError as error:
        fail(this, error)
    except (OperationalError, InterfaceError) as raised:
        fail(this, _defect(this, raised) if this.begun else _database_unavailable(this, raised))
    except Exception as raised:  # noqa: BLE001 - a defect must not stop the lane
        fail(this, _defect(this, raised))


def reraise(error: Exception) -> None:
    """Raise it, with the traceback it has."""
    raise error


def _database_unavailable(this: Try, raised: Exception) -> DatabaseUnavailable:
    """A database of the product's was away or busy before anything was sent."""
    about = logs.about(this.invocation)
    logger.warning("Invocation %s has to wait: %s", this.invocation.uuid, raised, extra=about)
    return DatabaseUnavailable(
        f"Preparing it, the product's database raised {type(raised).__name__}; nothing was sent."
    )


def _defect(this: Try, raised: Exception) -> CRMError:
    """What was raised that shouldn't be. Its words may hold secrets: they are not shown."""
    told = redact(traceback.format_exc(), _credentials_of(this.invocation))
    logger.error(
        "Invocation %s failed with a defect.\n%s",
        this.invocation.uuid,
        told,
        extra=logs.about(this.invocation),
    )
    if not this.begun:
        return CRMError(
            f"Preparing it failed with {type(raised).__name__}; nothing was sent.",
            hint="This is a defect of the row's binding or of what the provider says of its CRM; "
            "the log has its traceback.",
        )
    return CRMError(
        f"The {this.invocation.connection.provider} provider failed with {type(raised).__name__}.",
        hint="This is a defect of the provider; the log has its traceback.",
        outcome_unknown=True,
    )


def succeed(this: Try, note: XkitError | None) -> None:
    """It ended well: `note` says why there was nothing to do, where there wasn't."""
    invocation = this.invocation
    this.over, this.outcome = True, Outcome.SUCCEEDED
    invocation.status = this.status
    invocation.result = {"records": [record.as_dict() for record in this.records]}
    # What is skipped is not known any better: a replay of it asks the CRM first.
    invocation.doubtful = invocation.doubtful and this.status == InvocationStatus.SKIPPED
    invocation.error_code, invocation.error_detail = "", note.as_dict() if note else None
    if this.records and invocation.event.type != EventType.SEARCH:
        invocation.record_id = this.records[0].id


def fail(this: Try, error: XkitError) -> None:
    """It did not; `decide` says what becomes of it."""
    invocation = this.invocation
    this.over, this.error = True, _in_the_products_words(this, error)
    this.outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
    code, detail = this.error.code, redact(this.error.as_dict(), _credentials_of(invocation))
    this.told_before = (invocation.error_code, invocation.error_detail) == (code, detail)
    invocation.error_code, invocation.error_detail = code, detail
    if isinstance(error, CRMUnauthorized):
        this.refused = detail["message"]
    invocation.doubtful = invocation.doubtful or error.outcome_unknown
    decide(this)


def decide(this: Try) -> None:
    """What becomes of one that failed: wait for the next try or the customer, give up, or leave it
    to a person. It may be decided anew, where its caller has left it to the engine meanwhile."""
    invocation, error = this.invocation, this.error
    assert error is not None
    # It waits until the customer has decided; who waits for an answer does not.
    this.held = isinstance(error, MappingIncomplete) and invocation.retry
    this.held_before = this.held and this.told_before
    # What is no fault of its own: however long it lasts, it is not given up for it.
    invocation.forgiven = this.forgiven + _is_excused(this, error)
    wait = _wait(this, error)
    once_more = invocation.retry and (wait is not None or bool(this.refused))
    if invocation.doubtful and this.may_double and not (once_more and this.can_be_asked):
        invocation.status = InvocationStatus.UNKNOWN
    elif once_more:
        invocation.status = InvocationStatus.PENDING
        if not isinstance(error, RateLimited):  # then the whole lane waits, in its order
            invocation.due_at = timezone.now() + (wait or timedelta())
    else:
        invocation.status = InvocationStatus.FAILED


def _is_excused(this: Try, error: XkitError) -> bool:
    if this.held:
        return not this.held_before  # which is no try at all
    return isinstance(error, RateLimited) or (this.excused and isinstance(error, CRMUnavailable))


def _wait(this: Try, error: XkitError) -> timedelta | None:
    """How long to wait before the next try; None where there is none."""
    longest: timedelta = settings.RETRY_MAX
    if this.held:
        return longest  # and no longer than until `mappings.release`
    policy = Policy(settings.MAX_ATTEMPTS, timedelta(seconds=settings.RETRY_BASE), longest)
    return policy.wait(error, max(this.number - this.invocation.forgiven, 1))


def _credentials_of(invocation: Invocation) -> dict[str, Any]:
    """What must not be shown; nothing where it can't even be decrypted."""
    try:
        return invocation.connection.credentials
    except ConfigurationError:
        return {}


def _in_the_products_words(this: Try, error: XkitError) -> XkitError:
    """Name the payload key that fed each field which the CRM refused."""
    if not isinstance(error, RejectedByCRM) or not error.errors or this.decision is None:
        return error
    return this.decision.explain(error)
