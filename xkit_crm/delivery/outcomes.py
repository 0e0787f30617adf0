"""Write down what came of tries: the invocations' states, the attempts, the record links.

`pipeline.py` has those of one call written down together, in one transaction, in a form that every
database holds, and without secrets.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta

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

from xkit_crm import logs, mappings, tracing
from xkit_crm.connections import break_off
from xkit_crm.delivery import linking, tallies, telling
from xkit_crm.delivery.rows import (
    Fewer,
    Write,
    found_by,
    inserting,
    together,
    update_each,
    updating,
)
from xkit_crm.delivery.trying import CONTENT, Try, decide
from xkit_crm.exceptions import (
    CRMError,
)
from xkit_crm.models import Attempt, Connection, Invocation, Lane, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.base import locking
from xkit_crm.models.invocation import NEVER, OPEN_STATUSES, InvocationStatus
from xkit_crm.providers.base import MAX_RECORD_ID
from xkit_crm.schema import storable

logger = logging.getLogger(__name__)

#: When it is rehearsed again where the CRM couldn't be asked.
REHEARSED_AGAIN = timedelta(seconds=2)

PENDING, RUNNING = InvocationStatus.PENDING, InvocationStatus.RUNNING
#: What a try may change of its invocation.
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
    "mapping_version",
)


def begin(call: Sequence[Try], *, holder: str) -> None:
    """Write down that these are handed to the CRM now, so that a worker that dies leaves a trace.

    `begun` are those that nobody has changed since they were read: none where `holder` has lost
    the lane.
    """
    if not call:
        return
    (begun,) = together([_handing_over(call, holder)])
    _note_begun(call, begun)


def _handing_over(call: Sequence[Try], holder: str) -> Write:
    if not call:
        return Write()
    return updating(
        Invocation,
        [
            (
                {"id": t.invocation.pk, "status": str(PENDING), "tries": t.invocation.tries},
                {"status": str(RUNNING), "tries": t.invocation.tries + 1},
            )
            for t in call
        ],
        where=(Lane, {"connection_id": call[0].invocation.connection_id, "holder": holder}),
    )


def _note_begun(call: Sequence[Try], begun: int) -> None:
    """So many of the call were handed over."""
    mine = list(call) if begun else []
    if 0 < begun < len(call):
        # Someone else changed or deleted some; what runs in a lane is its holder's.
        ids = [this.invocation.pk for this in call]
        running = Invocation.objects.filter(pk__in=ids, status=RUNNING)
        left = dict(running.values_list("pk", "tries"))
        mine = [t for t in call if left.get(t.invocation.pk) == t.invocation.tries + 1]
    for this in mine:
        this.begun, this.started = True, time.monotonic()
        this.invocation.tries += 1


def put_back(tries: Sequence[Try]) -> None:
    """Write down that these were not handed to the CRM after all: they wait as before."""
    update_each(
        Invocation,
        [
            (
                {"id": t.invocation.pk, "status": str(RUNNING), "tries": t.invocation.tries},
                {"status": str(PENDING), "tries": t.invocation.tries - 1},
            )
            for t in tries
        ],
    )
    for this in tries:
        this.begun, this.put_back = False, True
        this.invocation.tries -= 1


def write_down_and_begin(tries: Sequence[Try], call: Sequence[Try], *, holder: str) -> int:
    """`write_down` those that are over and `begin` the next calls together: what makes it durable
    costs more than what it says."""
    if tries and not any(this.refused for this in tries):
        try:
            begun = _store(tries, then=call, holder=holder)
        except (Fewer, DatabaseError, TypeError, ValueError):
            pass  # the two stand or fall together; each by itself may be stored
        else:
            _note_begun(call, begun)
            _note_stored(tries)
            return len(tries)
    done = write_down(tries)
    begin(call, holder=holder)
    return done


def write_down(tries: Sequence[Try]) -> int:
    """Store what became of them, in one transaction; gives how many there were.

    Where something in them can't be stored, or somebody else has taken some of them up, each is
    stored by itself. Raises where the database doesn't get to it: who takes the lane next asks the
    CRM what was written.
    """
    if not tries:
        return 0
    try:
        _store_or_wait(tries)
    except (Fewer, DatabaseError, TypeError, ValueError) as raised:
        if _is_away(raised):
            raise
        if isinstance(raised, Fewer) and _decided_anew(tries):
            return write_down(tries)
        if len(tries) > 1:
            return sum(write_down([this]) for this in tries)
        if isinstance(raised, OperationalError) and not _is_too_large(raised):
            # Nothing is wrong with it: a lock or a limit for statements was in the way.
            raise
        if isinstance(raised, Fewer):
            _store_beside(tries[0])
        else:
            _store_as_failed(tries[0], raised)
    _break_off(tries)
    return len(tries)


def _break_off(tries: Sequence[Try]) -> None:
    """Where the CRM refused the credentials in any of them, the connection waits for others."""
    refused = next((this for this in tries if this.refused), None)
    if refused is not None:
        break_off(refused.invocation.connection, refused.refused)


def _decided_anew(tries: Sequence[Try]) -> bool:
    """Decide again what becomes of those whose callers have gone away during the try, so that the
    engine tries them again; says whether there were any."""
    left = {this.invocation.pk: this for this in tries if this.is_left_to_its_caller}
    taken = list(Invocation.objects.filter(pk__in=left, retry=True).values_list("pk", flat=True))
    for pk in taken:
        left[pk].invocation.retry = True
        decide(left[pk])
    return bool(taken)


def _store_or_wait(tries: Sequence[Try]) -> None:
    """Store them, and once more where the database had only to choose between two."""
    try:
        _store(tries)
    except OperationalError as raised:
        if _is_away(raised):
            raise
        _store(tries)
    _note_stored(tries)


def _is_away(raised: Exception) -> bool:
    """Whether it is the database that is gone, not what was to be stored that is wrong."""
    if not isinstance(raised, OperationalError | InterfaceError):
        return False
    connection = connections[router.db_for_write(Invocation)]
    if _is_too_large(raised):
        connection.close()  # as the database has
        return False
    return not connection.is_usable()


def _is_too_large(raised: Exception) -> bool:
    """Whether it is more than MySQL or MariaDB takes at once (`max_allowed_packet`)."""
    return raised.args[:1] == (1153,)


def _store(tries: Sequence[Try], *, then: Sequence[Try] = (), holder: str = "") -> int:
    """Store them all, and that the calls of `then` begin; gives how many of these do.

    Raises `Fewer` where some are not as these tries left them; then nothing is stored.
    """
    now = timezone.now()
    for this in tries:
        _make_storable(this.invocation, now)
    held, ended = [this for this in tries if this.held], linking.ended(tries)
    # Mostly it is one statement, which needs no transaction around it.
    with _transaction() if held or ended else nullcontext():
        _look_again_where_decided(held)
        if ended:
            RecordLink.objects.filter(pk__in=ended).delete()
        *_, begun = together([*_settling(tries), _handing_over(then, holder)])
    return begun


def _transaction() -> transaction.Atomic:
    return transaction.atomic(using=router.db_for_write(Invocation))


def _settling(tries: Sequence[Try]) -> list[Write]:
    """Everything that is written where invocations get their (next) state, in one transaction."""
    alike: defaultdict[tuple[bool, ...], list[Try]] = defaultdict(list)
    for this in tries:
        final = this.invocation.is_final
        alike[final, this.is_same_event, this.is_left_to_its_caller].append(this)
    return [
        # First, since a new link has MariaDB lock its connection: who holds that, as a customer
        # does who decides anew, may wait for invocations.
        *linking.links(tries),
        *(_states(some) for some in alike.values()),
        _attempts(tries),
        tallies.tried(tries),
    ]


def _look_again_where_decided(held: Sequence[Try]) -> None:
    """The customer may have decided while these were looked at: what has just let go all that
    waited for it has not seen them. Whoever decides at this very moment waits for us."""
    if not held:
        return
    connection = held[0].invocation.connection
    if mappings.lock(connection) != connection.mapping_version:
        for this in held:
            this.invocation.due_at = timezone.now()


def _note_stored(tries: Sequence[Try]) -> None:
    """The transaction holds: what is in memory is what the database has, and others are told."""
    for this in tries:
        this.invocation.tries = this.number
    told = [this for this in tries if not this.held_before]
    for this in told:
        _log(this)
    tracing.tried(told)
    linking.tell(tries)
    telling.ended(this.invocation for this in tries if this.invocation.is_final)


def _make_storable(invocation: Invocation, now: datetime) -> None:
    if len(invocation.record_id) > MAX_RECORD_ID:  # as databases do
        raise ValueError(f"a record id of {len(invocation.record_id)} characters")
    final = InvocationStatus(invocation.status).is_final
    invocation.finished_at = now if final else None
    invocation.result = storable(invocation.result)
    invocation.error_detail = storable(invocation.error_detail)


def _states(tries: Sequence[Try]) -> Write:
    """What stores the invocations, all of which have to be still as these tries left them."""
    names: tuple[str, ...] = _CHANGED if tries[0].is_same_event else (*_CHANGED, *CONTENT)
    if tries[0].invocation.is_final:
        names = tuple(name for name in names if name != "due_at")  # it is due no more
    # Who goes away at this very moment is too late, or it is decided anew.
    still = {"retry": False} if tries[0].is_left_to_its_caller else {}
    return updating(
        Invocation,
        [
            (
                {
                    "id": this.invocation.pk,
                    "status": str(RUNNING if this.begun else PENDING),
                    "tries": this.invocation.tries,
                    **still,
                },
                {name: getattr(this.invocation, name) for name in names} | {"tries": this.number},
            )
            for this in tries
        ],
        every=True,
    )


def _store_beside(this: Try) -> None:
    """The lease ran out meanwhile and another has taken it up: that one decides, and asks the CRM
    what this try has written. What happened is kept all the same, and a record that was made is
    known by it; but whatever that one has written since is newer than what is known here."""
    invocation = this.invocation
    logger.warning(
        "Invocation %s: its lease ran out during a try.",
        invocation.uuid,
        extra=logs.about(invocation),
    )
    with _transaction():
        there = Invocation.objects.select_for_update().filter(pk=invocation.pk)
        status = there.values_list("status", flat=True).first()
        if not this.begun or status is None:
            return  # it never left, or its connection was deleted meanwhile
        writes = [_attempts([this]), tallies.tried([this], settled=False)]
        is_open = status in OPEN_STATUSES
        together([*writes, linking.new_links([this])] if is_open else writes)
    if is_open:
        linking.tell([this])


def _store_as_failed(this: Try, raised: Exception) -> None:
    """Something in it can't be stored. What happened in the CRM has happened all the same, so it
    ends here, rather than being done again and again."""
    invocation = this.invocation
    logger.error(
        "Invocation %s: what came of it can't be stored.",
        invocation.uuid,
        exc_info=raised,
        extra=logs.about(invocation),
    )
    error = _not_storable(raised, outcome_unknown=this.begun)
    unsure = error.outcome_unknown and this.may_double
    invocation.status = InvocationStatus.UNKNOWN if unsure else InvocationStatus.FAILED
    invocation.result, invocation.doubtful = None, error.outcome_unknown
    invocation.record_id = storable(invocation.record_id)[:MAX_RECORD_ID]
    invocation.error_code, invocation.error_detail = error.code, error.as_dict()
    rest = Try(invocation, operation=this.operation, begun=this.begun, started=this.started)
    rest.outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.FAILED
    _store([rest])
    _note_stored([rest])


def _not_storable(raised: Exception, *, outcome_unknown: bool) -> CRMError:
    return CRMError(
        f"What came of it can't be stored: {type(raised).__name__}.",
        hint="The log has the details. Look in the CRM whether it was written, then replay.",
        outcome_unknown=outcome_unknown,
    )


def write_rehearsal(tries: Sequence[Try]) -> int:
    """Store what would have been sent; gives how many there were. The invocations wait until
    their connection goes live, or are soon rehearsed again where what went wrong passes."""
    if not tries:
        return 0
    try:
        done = _store_rehearsal(tries)
    except (DatabaseError, TypeError, ValueError) as raised:
        if _is_away(raised):
            raise
        if len(tries) > 1:
            return sum(write_rehearsal([this]) for this in tries)
        logger.error("A rehearsal can't be stored.", exc_info=raised)
        invocation = tries[0].invocation
        invocation.record_id, invocation.result = "", None
        invocation.error_detail = _not_storable(raised, outcome_unknown=False).as_dict()
        rest = Try(invocation, operation=tries[0].operation, outcome=Outcome.FAILED)
        return _store_rehearsal([rest])
    _break_off(tries)
    return done


def _store_rehearsal(tries: Sequence[Try]) -> int:
    now = timezone.now()
    for this in tries:
        this.held_before = False  # a rehearsal always says what came of it
        _make_storable(this.invocation, now)
    version = tries[0].invocation.mapping_version
    with _transaction():
        # Whoever goes live at this moment waits, so that none is put to sleep behind their back.
        connection = Connection.objects.filter(pk=tries[0].invocation.connection_id, shadow=True)
        if locking(connection).first() is None:
            return 0
        tries = _still_waiting(tries)
        # What couldn't be rehearsed is told nowhere: it would be every few seconds, for hours.
        told = [this for this in tries if not _passes(this)]
        together([_attempts(told, rehearsed=True), tallies.tried(told, rehearsed=True)])
        Invocation.objects.filter(pk__in=[this.invocation.pk for this in told]).update(
            due_at=NEVER,
            tries=F("tries") + 1,
            forgiven=F("forgiven") + 1,
            mapping_version=version,
        )
        soon = timezone.now() + REHEARSED_AGAIN
        again = [this.invocation.pk for this in tries if _passes(this)]
        Invocation.objects.filter(pk__in=again).update(due_at=soon)
    for this in tries:
        this.invocation.status, this.invocation.finished_at = PENDING, None
        this.invocation.due_at = soon if _passes(this) else NEVER
    return len(tries)


def _still_waiting(tries: Sequence[Try]) -> list[Try]:
    """Those that nobody has skipped or tried since they were read, and does meanwhile: the attempt
    of one that isn't counted would have the number of the next one."""
    ids = [this.invocation.pk for this in tries]
    waiting = Invocation.objects.select_for_update().filter(pk__in=ids, status=PENDING)
    with found_by("PRIMARY", Invocation):
        left = dict(waiting.order_by("pk").values_list("pk", "tries"))
    return [this for this in tries if left.get(this.invocation.pk) == this.invocation.tries]


def _passes(this: Try) -> bool:
    """Whether it says nothing of what would be sent: the CRM couldn't be asked, or not any more
    with these credentials."""
    return this.error is not None and (this.error.retryable or bool(this.refused))


def _attempts(tries: Sequence[Try], *, rehearsed: bool = False) -> Write:
    """What writes one attempt for each that is one."""
    now = timezone.now()
    return inserting(
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
                "outcome": outcome.value,
                "error": this.invocation.error_detail,
                "started_at": now - (duration := _seconds(time.monotonic() - this.started)),
                "duration": duration,
            }
            for this in tries
            if (outcome := this.attempted(rehearsed=rehearsed)) is not None
        ],
    )


def _log(this: Try) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    invocation = this.invocation
    logger.info(
        "Invocation %s of connection %s is %s after try %d (request %s).",
        invocation.uuid,
        invocation.connection_id,
        invocation.status,
        invocation.tries,
        invocation.request_id or "-",
        extra=logs.about(invocation),
    )


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
