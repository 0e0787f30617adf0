"""Carry out invocations: mapping -> provider -> result.

The one pipeline behind the API, the Python call and the models. `drain.py` calls it with one
invocation or many while it holds their lane; `preparing.py` says what is to be sent, `outcomes.py`
writes down what came of it. What is alike goes to the CRM in one call, as many as the provider
takes. Providers are called outside any transaction.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from xkit_crm import logs, tracing
from xkit_crm.delivery import doubts, outcomes
from xkit_crm.delivery.line import Line, chunks
from xkit_crm.delivery.preparing import complete, prepare
from xkit_crm.delivery.trying import Try, guarded, reraise, succeed
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    RateLimited,
    XkitError,
)
from xkit_crm.exceptions import RemoteRecordNotFound as NotThere
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Invocation
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Record, Source
from xkit_crm.providers.base import Draft, Edit, RecordRef, RemoteRecord

logger = logging.getLogger(__name__)

#: How many records a search gives where the payload doesn't say.
SEARCH_LIMIT = 20
#: What several calls may hold that are written down together, and the seconds they may take.
ROUND = 50
SPAN = 0.5
#: What goes to the CRM with others of its kind.
_TOGETHER = (ActionType.CREATE, ActionType.UPDATE, ActionType.DELETE)


def carry_out(line: Line, invocations: Sequence[Invocation]) -> int:
    """Try each once, and write down what came of it; gives how many were tried.

    Stops early where the CRM wants to be left alone or the lane was lost: what is left waits on.
    Never raises what the CRM or a mapping causes.
    """
    tries = prepare(line, invocations)
    done = sum(this.put_back for this in tries)
    over = doubts.settled(line, [this for this in tries if this.over and not this.put_back])
    for calls in _rounds(_calls([this for this in tries if not this.over], line), line):
        if any(this.refused for this in over) or not line.may_call(_requests(calls[0])):
            break
        for call in calls:
            with tracing.delivering("prepare", call):
                complete(line, call)
        going = [this for call in calls for this in call if not this.over]
        over += [this for call in calls for this in call if this.over]
        if line.hold.paused_until:
            break  # what had to be read first was refused
        done += outcomes.write_down_and_begin(over, going, holder=line.hold.holder)
        over = _make(line, calls)
    return done + outcomes.write_down(over)


def _make(line: Line, calls: Sequence[Sequence[Try]]) -> list[Try]:
    """Make the calls of a round with those that were begun; gives the tries that are over. What
    isn't to be sent after all, since an earlier call says so, waits as before."""
    over: list[Try] = []
    for number, call in enumerate(calls):
        going = [this for this in call if this.begun and not this.over]
        if number and going and (any(this.refused for this in over) or not line.may_call()):
            outcomes.put_back([t for call in calls[number:] for t in call if t.begun])
            break
        if going:
            with tracing.delivering("deliver", going):
                _perform(line, going)
            over += going
    return over


def rehearse(line: Line, invocations: Sequence[Invocation]) -> int:
    """Map each as if it were carried out, and write down what would be sent. Sends nothing."""
    tries = prepare(line, invocations)
    over = [this for this in tries if this.over and not this.put_back]
    done = outcomes.write_rehearsal(over)
    for call in _calls([this for this in tries if not this.over], line):
        if any(this.refused for this in over) or not line.may_call(_requests(call)):
            break
        complete(line, call)
        done += outcomes.write_rehearsal(call)
        over = call
    return done


def _requests(call: Sequence[Try]) -> int:
    """How many requests it takes, so that it isn't begun where the limits would end it halfway."""
    before = any(this.needs or this.invocation.doubtful for this in call)
    after = any(this.decision is not None and _read_back(this) for this in call)
    return 1 + before + after


def _calls(ready: Iterable[Try], line: Line) -> Iterator[list[Try]]:
    """Those that go to the CRM together, each record once, in the order of the first of each: what
    is urgent takes those along that fit into its call, and no more of them."""
    alike: defaultdict[tuple[Any, ...], list[Try]] = defaultdict(list)
    seen: Counter[RecordRef] = Counter()
    place: dict[Try, int] = {}
    for this in ready:
        place[this] = len(place)
        together = this.operation in _TOGETHER
        name = this.ref.remote_object if this.ref else this.target
        turn = seen[this.ref] if this.ref else 0
        if this.ref:
            seen[this.ref] += 1
        alike[turn, this.operation, name if together else this.invocation.pk].append(this)
    calls = [
        (turn, place[call[0]], call)
        for (turn, *_), group in alike.items()
        for call in chunks(group, line.provider.batch_size)
    ]
    for *_, call in sorted(calls, key=lambda item: item[:2]):
        yield call


def _rounds(calls: Iterable[list[Try]], line: Line) -> Iterator[list[list[Try]]]:
    """Calls that are begun and written down together, one after the other: the two durable writes
    around a call cost more than a fast CRM does. A worker that dies leaves all of them in doubt,
    so one that could double and of which the CRM can't be asked goes alone."""
    together: list[list[Try]] = []
    known: set[RecordRef] = set()
    closed = False
    for call in calls:
        refs = {this.ref for this in call if this.ref}
        alone = _requests(call) > 1 or (call[0].may_double and not call[0].can_be_asked)
        room = sum(map(len, together)) + len(call) <= ROUND and len(together) < line.calls_in(SPAN)
        if together and (closed or alone or not room or refs & known):
            yield together
            together, known = [], set()
        together.append(call)
        known |= refs
        closed = alone
    if together:
        yield together


def _perform(line: Line, call: list[Try]) -> None:
    """Make the call, and note in each try what came of it."""
    if call[0].operation in _TOGETHER:
        _write(line, call)
    else:
        alone = _workflow if call[0].operation == ActionType.WORKFLOW else _search
        guarded(call[0], partial(alone, line, call[0]))
    going = [this for this in call if not this.over]
    _answer(line, [this for this in going if this.wrote is not None])
    for this in going:
        succeed(this, None)


# -- writes, one or many --------------------------------------------------------------------------


def _write(line: Line, call: list[Try]) -> None:
    """Create, update or delete them in one call; one that spoils it for all fails alone."""
    call = _not_done_yet(line, call)
    if not call:
        return
    answers = _send(line, call)
    first = answers[0]
    same_for_all = isinstance(first, Exception) and all(answer is first for answer in answers)
    if len(call) > 1 and same_for_all and _may_be_about_one(first):
        # Which one did they mean? What broke on the way may have been written.
        unsure = not isinstance(first, XkitError) or first.outcome_unknown
        for this in call:
            this.invocation.doubtful = this.invocation.doubtful or unsure
        for half in chunks(call, (len(call) + 1) // 2):
            if line.may_call():
                _write(line, half)
            else:
                _put_back(half)
        return
    for this, answer in zip(call, answers, strict=True):
        this.excused = line.is_probing
        if isinstance(answer, NotThere) and _is_gone_as_wanted(this):
            answer = None
        if isinstance(answer, Exception):
            guarded(this, partial(reraise, answer))
        else:
            this.wrote = answer or this.ref


def _not_done_yet(line: Line, call: list[Try]) -> list[Try]:
    """Those that need a call: not what was made already, nor an update that writes nothing."""
    if call[0].operation == ActionType.CREATE:
        return doubts.not_made_before(line, call)
    if call[0].operation == ActionType.DELETE:
        return call
    for this in call:
        this.wrote = None if this.sent else this.ref
    return [this for this in call if this.sent]


def _put_back(call: Sequence[Try]) -> None:
    """They wait again: the CRM is to be left alone before it was found out which one was meant."""
    for this in call:
        guarded(
            this,
            partial(
                reraise,
                RateLimited(
                    "The CRM refused several at once, and wants to be left alone for now.",
                    hint="They are tried again, in smaller numbers.",
                ),
            ),
        )


def _send(line: Line, call: Sequence[Try]) -> list[Any]:
    """The provider's answer for each, or the exception."""
    provider, first, count = line.provider, call[0], len(call)
    if first.operation == ActionType.CREATE:
        drafts = [Draft(this.sent or {}, str(this.invocation.uuid)) for this in call]
        if count > 1:
            return line.write(count, lambda: provider.create_many(first.target, drafts))
        draft = drafts[0]
        return line.write(1, lambda: [provider.create(first.target, draft.values, key=draft.key)])
    if first.operation == ActionType.DELETE:
        refs = [this.known_ref for this in call]
        if count > 1:
            return line.write(count, lambda: provider.delete_many(refs))
        return line.write(1, lambda: [provider.delete(refs[0])])
    edits = [Edit(this.known_ref, this.sent or {}) for this in call]
    if count > 1:
        return line.write(count, lambda: provider.update_many(edits))
    return line.write(1, lambda: [provider.update(edits[0].ref, edits[0].values)])


def _may_be_about_one(raised: Exception) -> bool:
    """Whether one of many may have caused it; a CRM that can't be reached concerns them all."""
    return not isinstance(raised, XkitError) or not (
        raised.retryable or isinstance(raised, CRMUnauthorized)
    )


def _is_gone_as_wanted(this: Try) -> bool:
    """Gone is what a delete wants; but a caller who names a record that never was is told so."""
    invocation = this.invocation
    return this.operation == ActionType.DELETE and bool(invocation.doubtful or invocation.object_pk)


# -- alone ----------------------------------------------------------------------------------------


def _workflow(line: Line, this: Try) -> None:
    assert this.decision is not None
    if this.invocation.doubtful:
        doubts.require_answer(this)
        this.invocation.doubtful = False
    key, provider, inputs = str(this.invocation.uuid), line.provider, this.sent or {}
    (made,) = line.write(
        1, lambda: [provider.run_workflow(this.target, inputs, key=key, ref=this.ref)]
    )
    this.excused = line.is_probing
    if isinstance(made, Exception):
        raise made
    this.status = InvocationStatus.DEFERRED
    # A record of another object is not what the row stands for, nor what the product reads.
    if made is not None and made.remote_object == this.decision.remote_object:
        this.wrote = made
    else:
        this.wrote = this.ref


def _search(line: Line, this: Try) -> None:
    decision = this.decision
    assert decision is not None
    limit = this.invocation.payload.get("limit")
    if not isinstance(limit, int) or limit < 1:
        limit = SEARCH_LIMIT
    found = line.one(
        lambda: line.provider.search(
            decision.remote_object, this.criteria, decision.read_fields, limit=min(limit, 200)
        )
    )
    this.excused = line.is_probing
    if isinstance(found, Exception):
        raise found
    this.records = [_record(this, record) for record in found]


# -- the answer -----------------------------------------------------------------------------------


def _answer(line: Line, written: Sequence[Try]) -> None:
    """Say what the records hold. Where a caller reads the answer they are read back; the writes
    have happened, so this can't fail them."""
    alike: defaultdict[tuple[str, tuple[str, ...]], list[Try]] = defaultdict(list)
    for this in written:
        assert this.decision is not None
        assert this.wrote is not None
        if this.invocation.event.type == EventType.DELETE:
            this.records = [Record(this.decision.crm_object.slug, str(this.wrote))]
        elif names := _read_back(this):
            alike[this.wrote.remote_object, names].append(this)
        else:
            this.records = [_record(this, RemoteRecord(this.wrote, dict(this.sent or {})))]
    for (_, names), group in alike.items():
        for some in chunks(group, line.provider.batch_size):
            refs = [this.wrote for this in some if this.wrote is not None]
            for this, ref, answer in zip(some, refs, line.get(refs, names), strict=True):
                _read_or_sent(this, ref, answer)


def _read_back(this: Try) -> tuple[str, ...]:
    """The fields to read of a record that was written: what a caller is told, and those of which
    it has to be known later whether they are still as the CRM made them."""
    assert this.decision is not None
    asked = this.invocation.source != Source.MODEL
    return tuple(dict.fromkeys((*(this.decision.read_fields if asked else ()), *this.protected)))


def _read_or_sent(this: Try, ref: Any, answer: Any) -> None:
    """The record as the CRM gave it; where it could not be read, as it was sent."""
    try:
        if isinstance(answer, Exception):
            raise answer
        this.as_written = {**(this.sent or {}), **answer.values}
        this.records = [_record(this, RemoteRecord(ref, this.as_written))]
    except Exception as error:  # noqa: BLE001 - nor may it undo what was written
        logger.warning(
            "Invocation %s was written, not read back: %s",
            this.invocation.uuid,
            error if isinstance(error, CRMError) else type(error).__name__,
            extra=logs.about(this.invocation),
        )
        this.as_written = {}
        this.records = [_record(this, RemoteRecord(ref, dict(this.sent or {})))]


def _record(this: Try, remote: RemoteRecord) -> Record:
    assert this.decision is not None
    data = this.decision.read_back(remote.values)
    return Record(this.decision.crm_object.slug, str(remote.ref), data)
