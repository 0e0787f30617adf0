"""What a person decides of invocations: to carry them out again, or to skip them.

The admin calls it, for one, for some, and (`repairing.py`) for all that match. An invocation stays
itself: it keeps its idempotency key for life, so nothing that was made is made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from django.db import router, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from xkit_crm.delivery import backends, lanes, tallies, telling
from xkit_crm.delivery.decisions import decision_for
from xkit_crm.delivery.rows import found_by
from xkit_crm.exceptions import MappingIncomplete, PayloadInvalid
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import EventDefinition, Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus

#: States out of which a person may have an invocation carried out again.
REPLAYABLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN, InvocationStatus.SKIPPED)
#: Those of them in which nobody has to look in the CRM first.
SURE = (InvocationStatus.FAILED, InvocationStatus.SKIPPED)
#: States in which a person may say that it shall not be carried out.
SKIPPABLE = (InvocationStatus.FAILED, InvocationStatus.UNKNOWN, InvocationStatus.PENDING)


class _Chosen(NamedTuple):
    pk: int
    connection_id: str
    record_key: str
    status: str
    error_code: str


def replay(
    invocations: Iterable[Invocation | int],
    *,
    as_it_was: bool = False,
    statuses: Iterable[str] = REPLAYABLE,
) -> int:
    """Queue those (given as themselves or by id) that failed, are unknown or were skipped again;
    gives how many there were.

    It stays the same invocation with the same idempotency key, so what may have been written is
    looked up before it is written again, and it is mapped by the mapping in force then. A local
    row's is made anew of the row as it is then, so that an old one doesn't overwrite what was
    written since; with `as_it_was` the payload that is stored is sent, unless its event refuses
    it. What stands behind it is let go. Costs the same few queries for any number.
    """
    with transaction.atomic(using=router.db_for_write(Invocation)):
        chosen = _locked(invocations, statuses)
        if as_it_was:
            chosen = [one for one in chosen if one.error_code != PayloadInvalid.code]
        _queue(chosen, renew=not as_it_was)
    return len(chosen)


def objection(invocation: Invocation) -> str:
    """Why a replay of this one makes no sense or could double something; empty where it may be
    done. A few queries for one that was delivered."""
    status = InvocationStatus(invocation.status)
    if status in REPLAYABLE:
        return ""
    if status == InvocationStatus.SUPERSEDED:
        return _("It joined another one, which stands for it.")
    if status == InvocationStatus.DEFERRED:
        return _("The CRM's workflow has run: another run would do everything it does once more.")
    if status != InvocationStatus.SUCCEEDED:
        return _("It is not done yet.")
    try:
        action = decision_for(invocation.connection, invocation.event).action.action
    except MappingIncomplete:
        return ""  # it waits for the customer's decision
    if action == ActionType.WORKFLOW:
        return _("It would run the CRM's workflow, which does everything it does once more.")
    if action == ActionType.DELETE:
        return _("Its record is deleted.")
    if action == ActionType.CREATE and not is_linked(invocation):
        return _("Its record is made, and a second one must not be. Send an update of it instead.")
    if action == ActionType.UPDATE and invocation.object_pk and not is_linked(invocation):
        return _("Its row is linked to no record any more: sent again, it would make a new one.")
    return ""


def send_again(invocation: Invocation, *, as_it_was: bool = False) -> bool:
    """Queue one again that was delivered, where `objection` has none; says whether it was.

    An update is written once more. A create has its record: it becomes an update of that, with the
    row as it is.
    """
    if invocation.status != InvocationStatus.SUCCEEDED or objection(invocation):
        return False
    with transaction.atomic(using=router.db_for_write(Invocation)):
        chosen = _locked([invocation], [InvocationStatus.SUCCEEDED])
        _queue(chosen, renew=not as_it_was)
        if invocation.event.type == EventType.CREATE:
            # The link names the record. Were it gone by then, the CRM is asked by the key.
            Invocation.objects.filter(pk__in=[one.pk for one in chosen]).update(
                record_id="", doubtful=True
            )
    return bool(chosen)


@dataclass(frozen=True, slots=True)
class Skipped:
    """How many were skipped, and how many were left since that could double them."""

    count: int = 0
    left: int = 0

    def __add__(self, other: Skipped) -> Skipped:
        return Skipped(self.count + other.count, self.left + other.left)


def skip(
    invocations: Iterable[Invocation | int], *, statuses: Iterable[str] = SKIPPABLE
) -> Skipped:
    """Have those not carried out that wait, failed, or whose outcome is unknown, since a person has
    looked in the CRM. What stands behind them goes on, and what joined them is skipped with them.

    A row that may have been created has to be linked to its record first (`xkit_crm.link()` or
    the admin), or its next change would create it again: without a link it is left as it is.
    """
    with transaction.atomic(using=router.db_for_write(Invocation)):
        chosen = _locked(invocations, statuses)
        found = Invocation.objects.filter(pk__in=[one.pk for one in chosen]).order_by()
        may_go = set(may_be_skipped(found).values_list("pk", flat=True))
        skipped = [one for one in chosen if one.pk in may_go]
        _settle(skipped)
        _let_go(skipped)
    return Skipped(len(skipped), len(chosen) - len(skipped))


def may_be_skipped(rows: QuerySet[Invocation]) -> QuerySet[Invocation]:
    """All of these but creates that may have made a record of which nobody knows."""
    # Without joins, so that an UPDATE of these looks once more at a row that it had to wait for.
    links = RecordLink.objects.filter(
        content_type=OuterRef("content_type"),
        object_pk=OuterRef("object_pk"),
        connection=OuterRef("connection"),
        crm_object__events=OuterRef("event"),
    )
    # The change of a row that no record is known of is sent as its creation.
    creating = EventDefinition.objects.filter(type__in=(EventType.CREATE, EventType.UPDATE))
    unsure = Q(status=InvocationStatus.UNKNOWN) | Q(doubtful=True)
    return rows.exclude(unsure & Q(event__in=creating, object_pk__isnull=False) & ~Exists(links))


# -- steps ----------------------------------------------------------------------------------------


def _locked(invocations: Iterable[Invocation | int], statuses: Iterable[str]) -> list[_Chosen]:
    """Those that are in one of these states, so that nobody else takes them out of it meanwhile."""
    ids = [one.pk if isinstance(one, Invocation) else one for one in invocations]
    rows = Invocation.objects.filter(pk__in=ids, status__in=list(statuses)).order_by("pk")
    with found_by("PRIMARY", Invocation):
        return [_Chosen(*row) for row in rows.select_for_update().values_list(*_Chosen._fields)]


def _queue(chosen: list[_Chosen], *, renew: bool) -> None:
    """Let them wait again. All get the same time, so that their ids decide whose turn it is."""
    Invocation.objects.filter(pk__in=[one.pk for one in chosen]).update(
        status=InvocationStatus.PENDING,
        due_at=timezone.now(),
        finished_at=None,
        retry=True,
        renew=renew,
        forgiven=F("tries"),
        replays=F("replays") + 1,
    )
    tallies.reopened(Counter((one.connection_id, one.status) for one in chosen))
    _let_go(chosen)


def _settle(chosen: list[_Chosen]) -> None:
    note = {"code": "skipped", "message": _("Somebody decided to skip it.")}
    ids = [one.pk for one in chosen]
    never_tried = Invocation.objects.filter(pk__in=ids, error_detail__isnull=True)
    never_tried.update(error_detail=note)
    Invocation.objects.filter(pk__in=ids).update(
        status=InvocationStatus.SKIPPED, finished_at=timezone.now()
    )
    tallies.reopened(
        Counter(
            (one.connection_id, one.status)
            for one in chosen
            if InvocationStatus(one.status).is_final
        )
    )
    tallies.ended(Counter((one.connection_id, InvocationStatus.SKIPPED) for one in chosen))
    telling.ended_where(pk__in=ids)


def is_linked(invocation: Invocation) -> bool:
    """Whether its row has a record in its connection."""
    return bool(invocation.object_pk) and bool(
        RecordLink.objects.filter(**invocation.link_key).exists()
    )


def _let_go(chosen: list[_Chosen]) -> None:
    """What stands behind them is looked at again; nothing stands behind one that had failed."""
    stood_in_the_way = (InvocationStatus.UNKNOWN, InvocationStatus.PENDING)
    lanes.release(
        {(one.connection_id, one.record_key) for one in chosen if one.status in stood_in_the_way}
    )
    connection_ids = sorted({one.connection_id for one in chosen})
    if connection_ids:
        backends.poke_on_commit(connection_ids, using=router.db_for_write(Invocation))
