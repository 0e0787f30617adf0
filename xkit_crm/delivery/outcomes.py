"""Write down what came of tries: the invocations' states, the attempts, the record links.

`pipeline.py` says for each try that it succeeded or failed, and has those of one call written down
together, in one transaction, in a form that every database holds, and without secrets.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.models import F
from django.utils import timezone

from xkit_crm import signals
from xkit_crm.conf import settings
from xkit_crm.connections import break_off
from xkit_crm.delivery.decisions import Decision
from xkit_crm.delivery.retry import Policy
from xkit_crm.delivery.rows import Change, insert_each, update_each
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    XkitError,
)
from xkit_crm.models import Attempt, Connection, Invocation, Lane, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import NEVER, InvocationStatus, Record
from xkit_crm.providers.base import MAX_RECORD_ID, Criterion, RecordRef
from xkit_crm.providers.registry import provider_class
from xkit_crm.redaction import redact
from xkit_crm.schema import storable
from xkit_crm.sync.digests import digests, fingerprints
from xkit_crm.sync.retarget import NothingToDo

logger = logging.getLogger(__name__)

PENDING, RUNNING = InvocationStatus.PENDING, InvocationStatus.RUNNING
#: What a try may change of its invocation; the last three only where it became another event.
_CHANGED = (
    "status",
    "tries",
    "forgiven",
    "record_id",
    "due_at",
    "doubtful",
    "result",
    "error_code",
    "error_detail",
    "finished_at",
)
_CONTENT = ("event_id", "payload", "folded")


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
    #: The credentials were refused, in these words.
    refused: str = ""
    started: float = field(default_factory=time.monotonic)
    #: The invocation's content as it was read.
    content: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.content = tuple(getattr(self.invocation, name) for name in _CONTENT)

    @property
    def is_same_event(self) -> bool:
        """Whether it is still about what was captured."""
        now = (getattr(self.invocation, name) for name in _CONTENT)
        return all(one is other for one, other in zip(self.content, now, strict=True))

    @property
    def number(self) -> int:
        """Which try this is: `begin` has counted one that went to the CRM."""
        return self.invocation.tries + (not self.begun)

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
    except Exception as raised:  # noqa: BLE001 - a defect must not stop the lane
        fail(this, _defect(this, raised))


def reraise(error: Exception) -> None:
    """Raise it, with the traceback it has."""
    raise error


def _defect(this: Try, raised: Exception) -> CRMError:
    """What was raised that shouldn't be. Its words may hold secrets: they are not shown."""
    told = redact(traceback.format_exc(), credentials_of(this.invocation))
    logger.error("Invocation %s failed with a defect.\n%s", this.invocation.uuid, told)
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
    invocation.doubtful = False
    invocation.error_code, invocation.error_detail = "", note.as_dict() if note else None
    if this.records and invocation.event.type != EventType.SEARCH:
        invocation.record_id = this.records[0].id


def fail(this: Try, error: XkitError) -> None:
    """It did not: wait for the next try, give up, or leave it to a person."""
    invocation = this.invocation
    error = _in_the_products_words(this, error)
    this.over = True
    this.outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
    invocation.error_code = error.code
    invocation.error_detail = redact(error.as_dict(), credentials_of(invocation))
    if isinstance(error, CRMUnauthorized):
        this.refused = invocation.error_detail["message"]
    if isinstance(error, RateLimited) or (this.excused and isinstance(error, CRMUnavailable)):
        # No fault of its own: however long it lasts, it is not given up for it.
        invocation.forgiven += 1
    policy = Policy(settings.MAX_ATTEMPTS, _seconds(settings.RETRY_BASE), settings.RETRY_MAX)
    wait = policy.wait(error, max(this.number - invocation.forgiven, 1))
    once_more = invocation.retry and (wait is not None or bool(this.refused))
    invocation.doubtful = invocation.doubtful or error.outcome_unknown
    if invocation.doubtful and this.may_double and not (once_more and _can_be_asked(invocation)):
        invocation.status = InvocationStatus.UNKNOWN
    elif once_more:
        invocation.status = InvocationStatus.PENDING
        if not isinstance(error, RateLimited):  # then the whole lane waits, in its order
            invocation.due_at = timezone.now() + (wait or timedelta())
    else:
        invocation.status = InvocationStatus.FAILED


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
    if not isinstance(error, RejectedByCRM) or not error.errors or this.decision is None:
        return error
    return this.decision.explain(error)


# -- writing it down ------------------------------------------------------------------------------


def begin(call: Sequence[Try], *, holder: str) -> list[Try]:
    """Write down that these are handed to the CRM now, so that a worker that dies leaves a trace.

    Gives those that nobody has changed since they were read: none where `holder` has lost the lane.
    """
    if not call:
        return []
    holds = {"connection_id": call[0].invocation.connection_id, "holder": holder}
    mine = list(call)
    begun = update_each(
        Invocation,
        [
            (
                {"id": t.invocation.pk, "status": str(PENDING), "tries": t.invocation.tries},
                {"status": str(RUNNING), "tries": t.invocation.tries + 1},
            )
            for t in call
        ],
        where=(Lane, holds),
    )
    if not begun:
        return []
    if begun < len(call):
        # Someone else changed or deleted some; what runs in a lane is its holder's.
        ids = [this.invocation.pk for this in call]
        running = Invocation.objects.filter(pk__in=ids, status=RUNNING)
        left = dict(running.values_list("pk", "tries"))
        mine = [t for t in call if left.get(t.invocation.pk) == t.invocation.tries + 1]
    for this in mine:
        this.begun, this.started = True, time.monotonic()
        this.invocation.tries += 1
    return mine


class _SomeAreOthers(Exception):
    """Not all of them were as we left them."""


def write_down_and_begin(
    tries: Sequence[Try], call: Sequence[Try], *, holder: str
) -> tuple[int, list[Try]]:
    """`write_down` those that are over and `begin` the next call in one transaction: what makes
    it durable costs more than what it says."""
    if not tries or any(this.refused for this in tries):
        return write_down(tries), begin(call, holder=holder)
    counts = [this.invocation.tries for this in call]
    try:
        with transaction.atomic(using=router.db_for_write(Invocation)):
            _store(tries)
            begun = begin(call, holder=holder)
    except (_SomeAreOthers, DatabaseError, TypeError, ValueError):
        for this, count in zip(call, counts, strict=True):
            this.begun, this.invocation.tries = False, count
        return write_down(tries), begin(call, holder=holder)
    return len(tries), begun


def write_down(tries: Sequence[Try]) -> int:
    """Store what became of them, in one transaction; gives how many there were.

    Where something in them can't be stored, or somebody else has taken some of them up, each is
    stored by itself.
    """
    if not tries:
        return 0
    try:
        _store_or_wait(tries)
    except (_SomeAreOthers, DatabaseError, TypeError, ValueError) as raised:
        if _is_away(raised):
            # Who takes the lane next asks the CRM what was written.
            raise
        if len(tries) > 1:
            return sum(write_down([this]) for this in tries)
        if isinstance(raised, _SomeAreOthers):
            _store_beside(tries[0])
        else:
            _store_as_failed(tries[0], raised)
    refused = next((this for this in tries if this.refused), None)
    if refused is not None:
        break_off(refused.invocation.connection, refused.refused)
    return len(tries)


def _store_or_wait(tries: Sequence[Try]) -> None:
    """Store them, and once more where the database had only to choose between two."""
    try:
        _store(tries)
    except OperationalError as raised:
        if _is_away(raised):
            raise
        _store(tries)


def _is_away(raised: Exception) -> bool:
    """Whether it is the database that is gone, not what was to be stored that is wrong."""
    if not isinstance(raised, OperationalError | InterfaceError):
        return False
    return not connections[router.db_for_write(Invocation)].is_usable()


def _store(tries: Sequence[Try]) -> None:
    using = router.db_for_write(Invocation)
    for this in tries:
        _make_storable(this.invocation)
    with transaction.atomic(using=using):
        same = [this for this in tries if this.is_same_event]
        other = [this for this in tries if not this.is_same_event]
        if _write(same, _CHANGED) + _write(other, (*_CHANGED, *_CONTENT)) < len(tries):
            raise _SomeAreOthers
        _write_attempts(tries)
        _keep_links([this for this in tries if this.outcome == Outcome.SUCCEEDED], using=using)
        _tell(tries, using=using)
    for this in tries:
        this.invocation.tries = this.number
        _log(this)


def _make_storable(invocation: Invocation) -> None:
    if len(invocation.record_id) > MAX_RECORD_ID:  # as databases do
        raise ValueError(f"a record id of {len(invocation.record_id)} characters")
    final = InvocationStatus(invocation.status).is_final
    invocation.finished_at = timezone.now() if final else None
    invocation.result = storable(invocation.result)
    invocation.error_detail = storable(invocation.error_detail)


def _write(tries: Sequence[Try], names: Sequence[str]) -> int:
    """Store the invocations that are still as this try left them; gives how many."""
    return update_each(
        Invocation,
        [
            (
                {
                    "id": this.invocation.pk,
                    "status": str(RUNNING if this.begun else PENDING),
                    "tries": this.invocation.tries,
                },
                {name: getattr(this.invocation, name) for name in names} | {"tries": this.number},
            )
            for this in tries
        ],
    )


def _store_beside(this: Try) -> None:
    """The lease ran out meanwhile and another has taken it up: that one decides, and asks the CRM
    what this try has written. What happened is kept all the same."""
    invocation = this.invocation
    logger.warning("Invocation %s: its lease ran out during a try.", invocation.uuid)
    using = router.db_for_write(Invocation)
    with transaction.atomic(using=using):
        if not this.begun or not Invocation.objects.filter(pk=invocation.pk).exists():
            return  # it never left, or its connection was deleted meanwhile
        _write_attempts([this])
        if this.outcome == Outcome.SUCCEEDED:
            _keep_links([this], using=using)


def _store_as_failed(this: Try, raised: Exception) -> None:
    """Something in it can't be stored. What happened in the CRM has happened all the same, so it
    ends here, rather than being done again and again."""
    invocation = this.invocation
    logger.error(
        "Invocation %s: what came of it can't be stored.", invocation.uuid, exc_info=raised
    )
    error = CRMError(
        f"What came of it can't be stored: {type(raised).__name__}.",
        hint="The log has the details. Look in the CRM whether it was written, then replay.",
        outcome_unknown=this.begun,
    )
    unsure = error.outcome_unknown and this.may_double
    invocation.status = InvocationStatus.UNKNOWN if unsure else InvocationStatus.FAILED
    invocation.result, invocation.doubtful = None, error.outcome_unknown
    invocation.record_id = storable(invocation.record_id)[:MAX_RECORD_ID]
    invocation.error_code, invocation.error_detail = error.code, error.as_dict()
    rest = Try(invocation, operation=this.operation, begun=this.begun, started=this.started)
    rest.outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
    _store([rest])


def write_rehearsal(tries: Sequence[Try]) -> int:
    """Store what would have been sent; gives how many there were. The invocations wait until
    their connection goes live."""
    if not tries:
        return 0
    with transaction.atomic(using=router.db_for_write(Invocation)):
        # Whoever goes live at this moment waits, so that none is put to sleep behind their back.
        connection = Connection.objects.select_for_update().filter(
            pk=tries[0].invocation.connection_id, shadow=True
        )
        if connection.first() is None:
            return 0
        _write_attempts(tries, rehearsed=True)
        Invocation.objects.filter(
            pk__in=[this.invocation.pk for this in tries], status=PENDING
        ).update(due_at=NEVER, tries=F("tries") + 1, forgiven=F("forgiven") + 1)
    for this in tries:
        this.invocation.status, this.invocation.due_at = PENDING, NEVER
    return len(tries)


def _write_attempts(tries: Sequence[Try], *, rehearsed: bool = False) -> None:
    """One attempt for each; where the customer does nothing, nothing is tried."""
    now = timezone.now()
    insert_each(
        Attempt,
        [
            {
                "invocation_id": this.invocation.pk,
                "number": this.number,
                "operation": this.operation or "prepare",
                "target": storable(this.target)[:255],
                "sent": None if this.sent is None else storable(this.sent),
                # What an invocation holds already is storable.
                "received": {"records": (this.invocation.result or {}).get("records", [])},
                "outcome": str(_outcome(this, rehearsed=rehearsed)),
                "error": this.invocation.error_detail,
                "started_at": now - (duration := _seconds(time.monotonic() - this.started)),
                "duration": duration,
            }
            for this in tries
            if rehearsed or this.operation != "noop"
        ],
    )


def _outcome(this: Try, *, rehearsed: bool) -> Outcome:
    if rehearsed and this.outcome == Outcome.SUCCEEDED:
        return Outcome.REHEARSED
    return this.outcome


def _log(this: Try) -> None:
    invocation = this.invocation
    logger.info(
        "Invocation %s of connection %s is %s after try %d (request %s).",
        invocation.uuid,
        invocation.connection_id,
        invocation.status,
        invocation.tries,
        invocation.request_id or "-",
    )


def _tell(tries: Sequence[Try], *, using: str) -> None:
    """Tell the product of those that have ended, where it listens."""
    if not signals.invocation_finished.receivers:
        return
    for this in tries:
        if this.invocation.is_final:
            signals.send_on_commit(
                signals.invocation_finished, Invocation, using=using, invocation=this.invocation
            )


# -- record links ---------------------------------------------------------------------------------


def _keep_links(tries: Sequence[Try], *, using: str) -> None:
    """Each local row stands for the record that was written, until the row is deleted; and what
    was written to it is known again later."""
    gone, new, known = [], [], []
    for this in tries:
        if this.invocation.event.type == EventType.DELETE:
            gone += [this] if _is_about_a_row(this.invocation) else []
        elif this.wrote is not None and this.link is not None:
            known.append(this)
        elif this.wrote is not None and _is_about_a_row(this.invocation):
            new.append(this)
    if ended := [this.link.pk for this in gone if this.link is not None]:
        RecordLink.objects.filter(pk__in=ended).delete()
    update_each(RecordLink, [_learned(this, this.link) for this in known if this.link is not None])
    if new:
        _link(new, using=using)


def _is_about_a_row(invocation: Invocation) -> bool:
    return bool(invocation.object_pk) and invocation.content_type_id is not None


def _link(tries: Sequence[Try], *, using: str) -> None:
    now = timezone.now()
    keys = [this.invocation.link_key for this in tries]
    # Where somebody linked a row at this very moment, theirs holds.
    insert_each(
        RecordLink,
        [
            {
                **key,
                "record_id": str(this.wrote),
                "delivered": _delivered(this),
                "written": _written(this),
                "created_at": now,
                "updated_at": now,
            }
            for this, key in zip(tries, keys, strict=True)
        ],
        ignore=True,
    )
    if not signals.record_linked.receivers:
        return
    for this, key in zip(tries, keys, strict=True):
        link = RecordLink.objects.filter(**key, record_id=str(this.wrote), created_at=now).first()
        if link is not None:
            signals.send_on_commit(
                signals.record_linked, RecordLink, using=using, link=link, created=True
            )


def _learned(this: Try, link: RecordLink) -> Change:
    return (
        {"id": link.pk},
        {
            "delivered": {**link.delivered, **_delivered(this)},
            "written": {**link.written, **_written(this)},
            "updated_at": timezone.now(),
        },
    )


def _delivered(this: Try) -> dict[str, str]:
    """A digest of each payload key that has reached the CRM."""
    invocation = this.invocation
    payload = dict(invocation.payload)
    for step in invocation.folded or ():
        payload |= step["payload"]
    return digests(payload)


def _written(this: Try) -> dict[str, str]:
    """A fingerprint of each remote field that was written, as the CRM has it if that is known."""
    sent = this.sent or {}
    return fingerprints({name: this.as_written.get(name, value) for name, value in sent.items()})


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
