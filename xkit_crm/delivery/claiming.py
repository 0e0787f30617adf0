"""Claiming: which invocations of a lane come next, folded with what else waits for their records.

`drain.py` asks while it holds the lane, so nobody else folds or carries out in it meanwhile; rows
may be added at any time. Costs one query for a window of any size, a few more where something is
folded, and is not slowed down by history, by what waits for later, or by a record with a long
queue, which is folded once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import router, transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from xkit_crm import catalogue
from xkit_crm.conf import settings
from xkit_crm.delivery import statements, tallies, telling
from xkit_crm.delivery.decisions import Decisions
from xkit_crm.delivery.folding import Stage, Waiting, fold
from xkit_crm.delivery.rows import Change, Fewer, update_each
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import NEVER, InvocationStatus, Priority

#: Open invocations read at once for the records of a window.
GROUP = 5000

_EVENT = Invocation._meta.get_field("event")
_COLUMNS = (
    "id",
    "record_key",
    "event_id",
    "payload",
    "status",
    "priority",
    "doubtful",
    "due_at",
    "folded",
    "tries",
)


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be carried out now, one for each record; and how many were settled by folding."""

    invocations: list[Invocation]
    folded: int = 0
    #: How many were put off, since they stand behind one that has to wait.
    put_off: int = 0
    #: Whether others may be due by now.
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Open(Waiting):
    record_key: str = ""
    status: str = ""
    priority: int = Priority.NORMAL
    due_at: Any = None
    tries: int = 0


class _Folded(NamedTuple):
    """The first open invocation of each record, by record key, once what waits was folded."""

    heads: dict[str, _Open]
    #: How many were settled by that.
    settled: int
    #: Whether others may have changed what was read before.
    changed: bool


def claim(
    connection_id: str,
    decisions: Decisions,
    *,
    size: int,
    in_order: bool = True,
    record_key: str | None = None,
    many: bool = False,
) -> Window:
    """The next `size` invocations that may be carried out, in order of priority, then of time;
    with `record_key` those of that record. Where `many` are expected, each of them takes less.

    Each is the first of its record; without `in_order` all of them are given that are due.
    """
    now = timezone.now()
    chosen, shared = statements.next_due(
        connection_id, now, size=size, record_key=record_key, many=many
    )
    is_full = len(chosen) == size
    if not shared:
        return Window(_with_events(chosen), more=is_full)
    heads, folded, changed = _fold(connection_id, shared, decisions)
    if changed:
        now = timezone.now()  # what others let go meanwhile is due
    if not in_order:
        window = _read_again([row.pk for row in chosen]) if changed else _with_events(chosen)
        return Window(window, folded, more=is_full)
    ready = {row.pk for row in chosen if row.record_key not in shared}
    ready |= {head.id for head in heads.values() if _may_go(head, now)}
    known = {row.pk: row for row in chosen}
    if changed or not ready <= known.keys():
        # Some have more to say now, and a head may be of a lower priority than what follows it.
        window = _read_again(ready)
    else:
        window = _with_events([row for row in chosen if row.pk in ready])
    put_off = _put_off([row for row in chosen if row.record_key in shared], heads, now)
    # What stands behind one that goes now may be due as soon as that is settled.
    waits = len(chosen) > len(window) + put_off
    return Window(window, folded, put_off, more=is_full or waits)


def is_first(invocation: Invocation) -> bool:
    """Whether nothing open of the same record stands in front of this one."""
    if invocation.record_key == str(invocation.uuid):
        return True  # it makes a record that nobody else knows yet
    ahead = Invocation.objects.open().filter(
        connection_id=invocation.connection_id,
        record_key=invocation.record_key,
        pk__lt=invocation.pk,
    )
    return not ahead.exists()


def unfold(invocation: Invocation) -> int:
    """Let what joined this one wait by itself again; gives how many there were."""
    with transaction.atomic(using=router.db_for_write(Invocation)):
        restored = Invocation.objects.filter(
            superseded_by=invocation, status=InvocationStatus.SUPERSEDED
        ).update(
            status=InvocationStatus.PENDING,
            superseded_by=None,
            finished_at=None,
            due_at=timezone.now(),
        )
        Invocation.objects.filter(pk=invocation.pk).update(folded=None)
        tallies.reopened({(invocation.connection_id, InvocationStatus.SUPERSEDED): restored})
    invocation.folded = None
    return restored


def _may_go(head: _Open, now: Any) -> bool:
    return bool(head.status == InvocationStatus.PENDING and head.due_at <= now)


def _read_again(ids: Iterable[int]) -> list[Invocation]:
    waiting = Invocation.objects.filter(pk__in=ids, status=InvocationStatus.PENDING)
    return _with_events(list(waiting.order_by("priority", "due_at", "id")))


def _with_events(invocations: list[Invocation]) -> list[Invocation]:
    """They share their few events, which are in memory."""
    events = catalogue.definitions({one.event_id for one in invocations})
    for one in invocations:
        _EVENT.set_cached_value(one, events[one.event_id])
    return invocations


def _fold(connection_id: str, keys: set[str], decisions: Decisions) -> _Folded:
    """Fold what waits for these records."""
    settled = 0
    while True:
        rows = list(_open(connection_id, keys))
        stages = _stages(rows, decisions)
        try:
            done = _write_down(stages, connection_id)
        except Fewer:
            # Who skips one, or took this lane over, was quicker. It is folded the next time, as it
            # then is; until then each goes by itself, in order.
            return _Folded(_heads(connection_id, keys), settled, changed=True)
        settled += done
        # A long queue is folded part by part; what can't be folded stays as it is.
        if len(rows) < GROUP or not done:
            break
    if len(rows) >= GROUP:
        return _Folded(_heads(connection_id, keys), settled, changed=bool(settled))
    heads: dict[str, _Open] = {}
    for stage in stages:
        assert isinstance(stage.head, _Open)
        heads.setdefault(stage.head.record_key, stage.head)
    return _Folded(heads, settled, changed=bool(settled))


def _open(connection_id: str, keys: set[str]) -> Iterator[_Open]:
    rows = Invocation.objects.open().filter(connection_id=connection_id, record_key__in=keys)
    return _read(rows.order_by("id")[:GROUP])


def _heads(connection_id: str, keys: set[str]) -> dict[str, _Open]:
    """The first open invocation of each record, as the database has them now."""
    rows = Invocation.objects.open().filter(connection_id=connection_id, record_key__in=keys)
    firsts = rows.order_by().values("record_key").annotate(first=Min("id")).values("first")
    found = _read(Invocation.objects.filter(pk__in=[row["first"] for row in firsts]))
    return {row.record_key: row for row in found}


def _read(rows: QuerySet[Invocation]) -> Iterator[_Open]:
    found = rows.values_list(*_COLUMNS)
    for pk, key, event_id, payload, status, priority, doubtful, due_at, folded, tries in found:
        free = (
            status == InvocationStatus.PENDING and priority > Priority.WAITED_FOR and not doubtful
        )
        yield _Open(pk, event_id, payload, free, folded, key, status, priority, due_at, tries)


def _stages(rows: Iterable[_Open], decisions: Decisions) -> list[Stage]:
    by_record: defaultdict[str, list[_Open]] = defaultdict(list)
    for row in rows:
        by_record[row.record_key].append(row)
    return [stage for of_one in by_record.values() for stage in fold(of_one, decisions.kind)]


def _write_down(stages: Iterable[Stage], connection_id: str) -> int:
    """Store what was folded; gives how many invocations are settled by it.

    Raises `Fewer` where any of them isn't as it was read; then nothing is stored, since what
    joined one that was settled meanwhile would be lost with it.
    """
    stages = [stage for stage in stages if stage.changed or stage.superseded or stage.skipped]
    if not stages:
        return 0
    now = timezone.now()
    heads: list[Change] = []
    superseded: list[Change] = []
    skipped: list[Change] = []
    for stage in stages:
        skipped += [
            (_as_read(row), {"status": InvocationStatus.SKIPPED, "finished_at": now})
            for row in stage.skipped
        ]
        superseded += [
            (
                _as_read(row),
                {
                    "status": InvocationStatus.SUPERSEDED,
                    "superseded_by_id": stage.head.id,
                    "finished_at": now,
                },
            )
            for row in stage.superseded
        ]
        every = [row for row in (stage.head, *stage.superseded) if isinstance(row, _Open)]
        head = every[0]
        # It is as urgent as the most urgent that it stands for; what was rehearsed is so again.
        priority = min(row.priority for row in every)
        due_at = now if head.due_at == NEVER else head.due_at
        heads.append(
            (
                _as_read(head),
                {"folded": stage.steps or None, "priority": priority, "due_at": due_at},
            )
        )
    with transaction.atomic(using=router.db_for_write(Invocation)):
        for changes in (heads, superseded, skipped):
            if update_each(Invocation, changes) < len(changes):
                raise Fewer
        tallies.ended(
            {
                (connection_id, InvocationStatus.SUPERSEDED): len(superseded),
                (connection_id, InvocationStatus.SKIPPED): len(skipped),
            }
        )
        telling.ended_where(pk__in=[criteria["id"] for criteria, _ in superseded + skipped])
    return len(superseded) + len(skipped)


def _as_read(row: Waiting) -> dict[str, Any]:
    """What finds the row only where nobody has settled or tried it since it was read."""
    assert isinstance(row, _Open)
    return {"id": row.id, "status": InvocationStatus.PENDING, "tries": row.tries}


def _put_off(rows: Iterable[Invocation], heads: dict[str, _Open], now: Any) -> int:
    """What stands behind one that can't go yet is looked at again when that one is due; gives how
    many do."""
    later = []
    # A person decides on an unknown one, and lets the others go (`lanes.release`), as does who goes
    # live, perhaps at this very moment.
    longest = now + settings.RETRY_MAX
    for row in rows:
        head = heads.get(row.record_key)
        if head is None or head.id == row.pk or _may_go(head, now):
            continue
        waits = head.status == InvocationStatus.PENDING
        due_at = min(head.due_at, longest) if waits else longest
        later.append(({"id": row.pk, "status": InvocationStatus.PENDING}, {"due_at": due_at}))
    return update_each(Invocation, later)
