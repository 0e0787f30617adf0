"""What an earlier try may have made already: the CRM is asked before it is made again, and before
an invocation ends that would leave a record of which nobody knows.

A try is in doubt where its answer was lost, or where the worker died in it (`Invocation.doubtful`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from xkit_crm.delivery.line import Line
from xkit_crm.delivery.trying import Try, guarded, reraise
from xkit_crm.exceptions import CRMUnavailable, MappingIncomplete
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus

_MAKING = (EventType.CREATE, EventType.UPDATE)


def not_made_before(line: Line, call: list[Try]) -> list[Try]:
    """Those that are yet to be made: what an earlier try may have made is looked up first."""
    doubtful = [this for this in call if this.invocation.doubtful]
    for this in doubtful:
        guarded(this, partial(require_answer, this))
    asked = [this for this in doubtful if not this.over and this.can_be_asked]
    if asked:
        target, keys = asked[0].target, [str(this.invocation.uuid) for this in asked]
        provider = line.provider
        if len(asked) > 1:
            answers = line.ask(len(keys), lambda: provider.find_created_many(target, keys))
        else:
            answers = [line.one(lambda: provider.find_created(target, key=keys[0]))]
        for this, answer in zip(asked, answers, strict=True):
            this.excused = line.is_probing
            if isinstance(answer, Exception):
                guarded(this, partial(reraise, answer))
            else:
                this.wrote = answer
    for this in doubtful:
        if not this.over:
            this.invocation.doubtful = False
    return [this for this in call if this.wrote is None and not this.over]


def require_answer(this: Try) -> None:
    """Raise where nobody can tell whether an earlier try has written. Where the CRM can't be
    asked, only a person who replays it says that it is not there."""
    invocation = this.invocation
    if this.can_be_asked:
        return
    if not invocation.replays or this.number - invocation.forgiven > 1:
        raise CRMUnavailable(
            "It may have been done already, and this CRM can't be asked.",
            hint="Look in the CRM. Replay it if it is not there.",
            outcome_unknown=True,
        )


def settled(line: Line, ended: Sequence[Try]) -> list[Try]:
    """Those that ended before anything was sent, once what an earlier try of them may have made is
    known: the row stands for it then, so that its next change makes no second one, and its deletion
    deletes it. Left out are those that wait, since the CRM is to be left alone."""
    for this in ended:
        if not _may_have_made(this):
            continue
        if line.may_call():
            guarded(this, partial(_look_up, line, this))
        else:
            this.put_back = True
    return [this for this in ended if not this.put_back]


def _may_have_made(this: Try) -> bool:
    """Whether it ends, and may have made a record of its row that nothing else leads to. The change
    of a row that no record is known of is sent as its creation."""
    invocation = this.invocation
    of_row = invocation.object_pk and this.link is None
    ends = invocation.status != InvocationStatus.PENDING
    return bool(invocation.doubtful and ends and of_row and invocation.event.type in _MAKING)


def _look_up(line: Line, this: Try) -> None:
    """Ask for the record, and have the row stand for it. What can't be told is what comes of the
    try instead."""
    operation, target = this.operation, this.target
    this.operation, this.target = ActionType.CREATE, _remote_object(line, this)
    this.can_be_asked = bool(this.target) and line.can_be_asked(this.operation, this.target)
    require_answer(this)
    found = None
    if this.can_be_asked:
        key = str(this.invocation.uuid)
        found = line.one(lambda: line.provider.find_created(this.target, key=key))
    if isinstance(found, Exception):
        raise found
    this.operation, this.target = operation, target
    this.invocation.doubtful, this.wrote = False, found
    if found is not None:
        this.invocation.record_id = str(found)


def _remote_object(line: Line, this: Try) -> str:
    """Where the record would be; empty where the customer has the CRM object nowhere."""
    try:
        return line.decisions.of(this.invocation.event).remote_object
    except MappingIncomplete:
        return ""
