"""Counting: what came of invocations is added up in the transaction that writes it down.

Whatever gives an invocation a final state, or takes it out of one, says so here. So the figures are
exact: they are committed with what they count, or rolled back with it. One INSERT each time, of one
row for all that is alike; nobody waits for anybody. `rollup.py` puts the rows together later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils import timezone

from xkit_crm.delivery.rows import Write, inserting, together
from xkit_crm.models import Connection, Tally
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


_MILLISECOND = timedelta(milliseconds=1)

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


def tried(tries: Sequence[Try], *, settled: bool = True, rehearsed: bool = False) -> Write:
    """What counts that these of one lane were tried, and came to the state that they now have; they
    stay where they are when they were only `rehearsed`, or not `settled` by this try. It is one
    INSERT of few rows, and part of the statement that stores the tries.
    """
    if not tries:
        return Write()
    connection, now = tries[0].invocation.connection, timezone.now()
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for this in tries:
        invocation = this.invocation
        outcome = this.attempted(rehearsed=rehearsed)
        status = invocation.status if settled and not rehearsed else ""
        if outcome is None and status == InvocationStatus.PENDING:
            continue  # looked at, and found as before
        finished, took, bucket = invocation.finished_at or now, 0, None
        if status in DELIVERED:
            # Clocks of several hosts may differ.
            took = max((finished - invocation.created_at) // _MILLISECOND, 0)
            bucket = bucket_of(took)
        alike = (status, outcome or "", invocation.error_code, bucket, finished.minute)
        total = sums.setdefault(alike, [0, 0, finished])
        total[0] += 1
        total[1] += took
    of_it = (connection.pk, connection.provider)
    return _writing(
        Span.FRESH,
        {
            (minute_of(moment), Alike(*of_it, str(status), str(outcome), code, bucket)): (n, took)
            for (status, outcome, code, bucket, _), (n, took, moment) in sums.items()
        },
    )


def write(span: Span, sums: Mapping[tuple[datetime, Alike], Sum]) -> None:
    """Insert these tallies."""
    together([_writing(span, sums)])


def _writing(span: Span, sums: Mapping[tuple[datetime, Alike], Sum]) -> Write:
    return inserting(
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
