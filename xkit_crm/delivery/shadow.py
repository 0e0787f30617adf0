"""Shadow mode: see what a connection would do to its CRM before it does anything.

What is captured waits in its lane as ever. Each is mapped as if it were sent, and the attempt says
what would have been; then it waits for the connection to go live, and is sent in its order. The
admin and `xkit_shadow` call it; `drain.py` rehearses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial

from django.db import router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from xkit_crm.delivery import backends, tallies, telling
from xkit_crm.delivery.replay import may_be_skipped
from xkit_crm.delivery.rows import found_by
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Attempt, Connection, Invocation
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.invocation import NEVER, InvocationStatus
from xkit_crm.providers.registry import provider_class
from xkit_crm.sync.retarget import NothingToDo


@dataclass(frozen=True, slots=True)
class Report:
    """What would happen if the connection went live now."""

    #: What waits, and how much of it has not been rehearsed yet.
    waiting: int
    not_rehearsed: int
    #: Records by (operation, remote object or workflow).
    writes: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Invocations by what would go wrong with them.
    problems: Counter[str] = field(default_factory=Counter)
    #: Requests that this would take.
    calls: int = 0
    #: Invocations of which nothing would be sent, and that is right.
    nothing: int = 0


def start(connection: Connection) -> None:
    """Send nothing any more from this connection; show what would be sent."""
    rows = Connection.objects.filter(pk=connection.pk)
    again_on_conflict(lambda: rows.update(shadow=True, updated_at=timezone.now()))
    connection.shadow = True


def go_live(connection: Connection, *, discard: bool = False) -> int:
    """Send what waits, in the order it was made, and what comes; gives how many waited.

    With `discard` what waits is skipped, and only what comes from now on is sent: a row that was
    made meanwhile is created in the CRM by its next change. A create that may have been made
    before, of a row without a link, is sent all the same: skipped, it would be made twice.
    """
    done = again_on_conflict(partial(_go_live, connection, discard=discard))
    connection.shadow = False
    return done


def _go_live(connection: Connection, *, discard: bool) -> int:
    using = router.db_for_write(Invocation)
    now = timezone.now()
    waiting = Invocation.objects.filter(
        connection_id=connection.pk, status=InvocationStatus.PENDING
    )
    with transaction.atomic(using=using), found_by("xkit_invocation_due_idx", Invocation):
        Connection.objects.filter(pk=connection.pk).update(shadow=False, updated_at=now)
        discarded = 0
        if discard:
            discarded = may_be_skipped(waiting).update(
                status=InvocationStatus.SKIPPED, finished_at=now, error_detail=_discarded()
            )
            tallies.ended({(connection.pk, InvocationStatus.SKIPPED): discarded})
            telling.ended_where(
                connection_id=connection.pk, status=InvocationStatus.SKIPPED, finished_at=now
            )
        released = waiting.filter(due_at=NEVER).update(due_at=F("created_at"))
        backends.poke_on_commit([connection.pk], using=using)
    return discarded if discard else released


def _discarded() -> dict[str, str]:
    return {"code": "discarded", "message": _("It was captured in shadow mode and discarded.")}


def report(connection: Connection) -> Report:
    """What would be sent, by the last rehearsal of each that waits."""
    waiting = Invocation.objects.filter(
        connection_id=connection.pk, status=InvocationStatus.PENDING
    )
    rehearsed = Attempt.objects.filter(
        invocation__in=waiting.filter(due_at=NEVER), number=F("invocation__tries")
    ).values_list("operation", "target", "outcome", "error")
    found = Report(waiting.count(), waiting.exclude(due_at=NEVER).count())
    nothing = 0
    for operation, target, outcome, error in rehearsed.iterator():
        if outcome != Outcome.REHEARSED:
            found.problems[(error or {}).get("message", outcome)] += 1
        elif operation == ActionType.NOOP or (error or {}).get("code") == NothingToDo.code:
            nothing += 1
        else:
            # An update names its record, `Opportunity:09876`.
            found.writes[operation, target.partition(":")[0]] += 1
    batch = provider_class(connection.provider).batch_size
    calls = sum(
        count if operation in ("workflow", "search") else -(-count // batch)
        for (operation, _target), count in found.writes.items()
    )
    return replace(found, calls=calls, nothing=nothing)
