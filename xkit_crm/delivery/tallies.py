"""Counting: what came of invocations is added up in the transaction that writes it down.

Whatever gives an invocation a final state, or takes it out of one, says so here. So the figures are
exact: they are committed with what they count, or rolled back with it. One INSERT each time, of one
row for all that is alike; nobody waits for anybody. `rollup.py` puts the rows together later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils import timezone

from xkit_crm.delivery.rows import insert_each
from xkit_crm.models import Connection, Invocation, Tally
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.models.tally import Span

if TYPE_CHECKING:
    from xkit_crm.delivery.trying import Try

#: The states of what the CRM has.
DELIVERED = (InvocationStatus.SUCCEEDED, InvocationStatus.DEFERRED)


class Alike(NamedTuple):
    """What is counted together: the columns of a `Tally` but for when and how many."""

    connection_id: str
    provider: str
    status: str = ""
    outcome: str = ""
    code: str = ""
    bucket: int | None = None
    reopened: bool = False


#: How many were alike, and their milliseconds together.
Sum = tuple[int, int]


#: How many, by connection id and status.
Counts = Mapping[tuple[str, str], int]


def ended(counts: Counts, *, code: str = "") -> None:
    """So many came to this final state without a try, for the reason that `code` names."""
    _add(counts, code=code)


def reopened(counts: Counts) -> None:
    """So many left this final state: they wait again, or come to another one."""
    _add(counts, reopened=True)


def _add(counts: Counts, **more: Any) -> None:
    """Costs a query besides, for the connections' providers, and nothing where there is none."""
    counts = {key: count for key, count in counts.items() if count}
    if not counts:
        return
    wanted = Connection.objects.filter(pk__in={connection_id for connection_id, _ in counts})
    providers = dict(wanted.values_list("pk", "provider"))
    at = minute_of(timezone.now())
    write(
        Span.FRESH,
        {
            (at, Alike(pk, providers.get(pk, ""), str(status), **more)): (count, 0)
            for (pk, status), count in counts.items()
        },
    )


def tried(tries: Sequence[Try], *, settled: bool = True, rehearsed: bool = False) -> None:
    """These were tried, and came to the state that they now have; they stay where they are when
    they were only `rehearsed`, or not `settled` by this try. Costs one INSERT of few rows."""
    now = timezone.now()
    counts: Counter[tuple[datetime, Alike]] = Counter()
    times: Counter[tuple[datetime, Alike]] = Counter()
    for this in tries:
        invocation, connection = this.invocation, this.invocation.connection
        outcome = this.attempted(rehearsed=rehearsed)
        status = "" if rehearsed or not settled else InvocationStatus(invocation.status).value
        if outcome is None and status == InvocationStatus.PENDING:
            continue  # looked at, and found as before
        took = _milliseconds(invocation) if status in DELIVERED else None
        alike = Alike(
            connection.pk,
            connection.provider,
            status,
            "" if outcome is None else outcome.value,
            invocation.error_code,
            None if took is None else bucket_of(took),
        )
        key = (minute_of(invocation.finished_at or now), alike)
        counts[key] += 1
        times[key] += took or 0
    write(Span.FRESH, {key: (count, times[key]) for key, count in counts.items()})


def _milliseconds(invocation: Invocation) -> int:
    """From the save to the end. Clocks of several hosts may differ."""
    assert invocation.finished_at is not None
    took = invocation.finished_at - invocation.created_at
    return max(round(took.total_seconds() * 1000), 0)


def write(span: Span, sums: Mapping[tuple[datetime, Alike], Sum]) -> None:
    """Insert these tallies."""
    insert_each(
        Tally,
        [
            {"span": span.value, "at": at, **alike._asdict(), "count": n, "milliseconds": took}
            for (at, alike), (n, took) in sums.items()
        ],
    )


def minute_of(moment: datetime) -> datetime:
    """When its minute began."""
    return moment.replace(second=0, microsecond=0)


def hour_of(moment: datetime) -> datetime:
    """When its hour began."""
    return moment.replace(minute=0, second=0, microsecond=0)


# -- buckets --------------------------------------------------------------------------------------


def bucket_of(milliseconds: int) -> int:
    """The bucket of a time: the power of two, in milliseconds, that is the first to hold it."""
    return max(milliseconds - 1, 0).bit_length()


def most_in(bucket: int) -> float:
    """The longest time in a bucket, in seconds."""
    return float(2**bucket) / 1000
