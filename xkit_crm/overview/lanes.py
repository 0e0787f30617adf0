"""How the lanes are now: free, held, paused and why, what waits, and what the CRM still allows.

What is asked of all lanes costs a few queries however many there are; the rest is asked of those
that are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Case, Count, ExpressionWrapper, F, Min, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm.delivery import pausing, rate, waiting
from xkit_crm.delivery.pausing import Pause
from xkit_crm.models import Connection, Lane
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.overview.figures import Range, undelivered

#: What is due in a lane and not sent is late after this while.
LATE = timedelta(minutes=1)


class LaneState(models.TextChoices):
    """In this order: the first that is true."""

    PENDING = "pending", _("pending: CRM Link not finished")
    DISABLED = "disabled", _("disabled by the customer")
    ERRORED = "errored", _("errored: must be authorised again")
    PAUSED = "paused", _("paused: the CRM is left alone")
    SHADOW = "shadow", _("shadow mode: nothing is sent")
    HELD = "held", _("held: a worker is in it")
    FREE = "free", _("free")


#: Lanes in which something that is due can be late: in the others it waits for the customer.
RUNNING = (LaneState.PAUSED, LaneState.HELD, LaneState.FREE)
#: Lanes that somebody has to look at.
STOPPED = (LaneState.ERRORED, LaneState.PAUSED)


@dataclass(frozen=True, slots=True)
class LaneNow:
    """One lane as it is now."""

    connection: Connection
    state: LaneState
    #: Who works in it; "": nobody.
    holder: str
    paused_until: datetime | None
    pause: Pause | None
    waits: waiting.Amount
    #: Since when something is due and not sent.
    overdue_since: datetime | None
    #: How many calls it may make now, of how many at once; None: nobody counts them.
    calls_left: float | None
    calls_at_once: int | None
    quota_left: int | None
    quota: int | None
    quota_resets_at: datetime | None
    #: How long the last one took; None: there was none yet.
    call_seconds: float | None

    @property
    def is_late(self) -> bool:
        """Whether it is so for longer than it should be."""
        return (
            self.state in RUNNING
            and self.overdue_since is not None
            and timezone.now() - self.overdue_since > LATE
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """A connection that somebody should look at, and why."""

    connection_id: str
    state: LaneState
    undelivered: int
    overdue_since: datetime | None

    @property
    def rank(self) -> tuple[bool, int, float, str]:
        """The worst sorts first: broken, then by what failed, then by how long something waits."""
        since = float("inf") if self.overdue_since is None else self.overdue_since.timestamp()
        return self.state != LaneState.ERRORED, -self.undelivered, since, self.connection_id


def with_state(connections: QuerySet[Connection]) -> QuerySet[Any]:
    """These, each with its lane's `state`."""
    now = timezone.now()
    status = {
        ConnectionStatus.PENDING: LaneState.PENDING,
        ConnectionStatus.DISABLED: LaneState.DISABLED,
        ConnectionStatus.ERRORED: LaneState.ERRORED,
    }
    return connections.annotate(
        state=Case(
            *(When(status=one.value, then=Value(state.value)) for one, state in status.items()),
            When(lane__paused_until__gt=now, then=Value(LaneState.PAUSED.value)),
            When(shadow=True, then=Value(LaneState.SHADOW.value)),
            When(
                ~Q(lane__holder=""), lane__leased_until__gte=now, then=Value(LaneState.HELD.value)
            ),
            default=Value(LaneState.FREE.value),
            output_field=models.CharField(),
        )
    )


def states() -> dict[str, Counter[str]]:
    """How many lanes are in each state, by provider."""
    rows = (
        with_state(Connection.objects.order_by())
        .values_list("provider", "state")
        .annotate(Count("pk"))
    )
    found: dict[str, Counter[str]] = {}
    for provider, state, count in rows:
        found.setdefault(provider, Counter())[state] = count
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """All lanes at a glance."""

    #: Connections that somebody should look at, the worst first.
    troubled: Sequence[Trouble]
    #: Where something is overdue the longest, of the lanes that run; None: nothing is.
    longest: Trouble | None


def survey(wanted: Range) -> Survey:
    """Who should be looked at: connections that are broken or paused, in which something failed in
    this range, or in which something is late."""
    failed, due = undelivered(wanted), waiting.overdue_since()
    late_before = timezone.now() - LATE
    chosen = with_state(Connection.objects.order_by()).filter(
        Q(state__in=[state.value for state in STOPPED]) | Q(pk__in={*failed, *due})
    )
    known = [
        Trouble(pk, LaneState(state), failed.get(pk, 0), due.get(pk))
        for pk, state in chosen.values_list("pk", "state")
    ]
    waits = [
        (one.overdue_since, one) for one in known if one.overdue_since and one.state in RUNNING
    ]
    late = {one.connection_id for made, one in waits if made < late_before}
    troubled = [
        one for one in known if one.state in STOPPED or one.undelivered or one.connection_id in late
    ]
    return Survey(
        sorted(troubled, key=lambda one: one.rank),
        min(waits, key=lambda pair: pair[0])[1] if waits else None,
    )


def overdue() -> dict[tuple[str, str], timedelta]:
    """For how long something is due and not sent, by provider and connection, of lanes that run."""
    since = waiting.overdue_since()
    running = with_state(Connection.objects.order_by()).filter(
        pk__in=since, state__in=[state.value for state in RUNNING]
    )
    at = timezone.now()
    return {
        (provider, pk): max(at - since[pk], timedelta())
        for provider, pk in running.values_list("provider", "pk")
    }


def quota_left() -> dict[str, float]:
    """The share (0 to 1) that is left of the daily quota, by provider, where it is least."""
    told = Lane.objects.filter(quota__gt=0, quota_left__isnull=False)
    share = ExpressionWrapper(F("quota_left") * 1.0 / F("quota"), models.FloatField())
    least = (
        told.filter(quota_resets_at__gt=timezone.now())
        .order_by()
        .values_list("connection__provider")
        .annotate(least=Min(share))
    )
    return {provider: float(share) for provider, share in least}


def search(query: str, *, begin: int, end: int) -> list[str]:
    """The ids of connections whose id or context has this text, in order."""
    found = Connection.objects.order_by("pk")
    if query:
        found = found.filter(Q(pk__icontains=query) | Q(context__icontains=query))
    return list(found.values_list("pk", flat=True)[begin:end])


def now(connection_ids: Sequence[str]) -> list[LaneNow]:
    """These lanes as they are now, in this order; what is gone meanwhile is left out."""
    known = with_state(Connection.objects.select_related("lane")).in_bulk(list(connection_ids))
    waits = waiting.in_each([pk for pk in connection_ids if pk in known])
    since = waiting.overdue_since(list(waits))
    return [_lane(known[pk], waits[pk], since.get(pk)) for pk in connection_ids if pk in known]


def _lane(connection: Any, waits: waiting.Amount, overdue_since: datetime | None) -> LaneNow:
    at = timezone.now()
    state = LaneState(connection.state)
    lane: Lane = getattr(connection, "lane", None) or Lane(connection=connection)
    gauge, limits = pausing.gauge_of(lane), pausing.limits_of(connection.provider)
    paused = state == LaneState.PAUSED
    return LaneNow(
        connection=connection,
        state=state,
        holder=lane.holder if state == LaneState.HELD else "",
        paused_until=lane.paused_until if paused else None,
        pause=pausing.why(lane, now=at) if paused else None,
        waits=waits,
        overdue_since=overdue_since,
        calls_left=rate.available(gauge, limits, now=at),
        calls_at_once=None if limits.calls is None else int(rate.burst(limits)),
        quota_left=gauge.quota_left,
        quota=gauge.quota,
        quota_resets_at=gauge.quota_resets_at,
        call_seconds=gauge.call_seconds,
    )
