"""How long it takes to find the next hundred, whatever else lies in the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.benchmarks.delivery.draining import FULL, Size
from tests.benchmarks.delivery.scene import Scene, Waiting, fill, lanes
from tests.benchmarks.delivery.table import Table, say

ROUNDS = 30


def claim(scene: Scene, size: Size) -> Table:
    """The next hundred of a lane, and the lanes that have work."""
    table = Table(
        "Finding work, ms (median)",
        ["what lies in the table", "next 100 of a lane", "lanes with work", "first look"],
        notes=["The first look is the one that folds, and finds no page in memory."],
    )
    for pending in size.pending:
        lanes(scene, 1)
        fill(Waiting(pending))
        _measure(table, f"{_count(pending)} wait")
    fill(Waiting(size.history, first=size.pending[-1] + 1, status="succeeded"))
    _measure(table, f"{_count(size.pending[-1])} wait, {_count(size.history)} done")
    lanes(scene, size.many_lanes)
    fill(Waiting(size.pending[-1], lanes=size.many_lanes))
    _measure(table, f"{_count(size.pending[-1])} wait in {size.many_lanes} lanes")
    hot = 100_000 if size is FULL else 5_000
    lanes(scene, 1)
    fill(Waiting(hot, event="deal_updated", rows=1))
    fill(Waiting(hot, first=hot + 1))
    _measure(table, f"{_count(hot)} of one record in front of {_count(hot)} others")
    lanes(scene, 1)
    fill(Waiting(hot, due="1 hour"))
    fill(Waiting(1_000, first=hot + 1))
    _measure(table, f"{_count(hot)} retries due in an hour, 1k due")
    return table


def _measure(table: Table, what: str) -> None:
    from django.db import connection

    from xkit_crm.delivery import lanes as lanes_module
    from xkit_crm.delivery.claiming import claim as claim_next
    from xkit_crm.delivery.decisions import Decisions

    say(f"measuring: {what}")
    decisions = Decisions("org-0")

    def next_hundred() -> None:
        found = claim_next("org-0", decisions, size=100)
        assert found.invocations or found.folded, "nothing was claimed"

    first = _took(next_hundred)
    with connection.cursor() as cursor:  # as autovacuum does in the background
        cursor.execute("VACUUM ANALYZE xkit_crm_invocation")
    next_hundred()
    claiming = statistics.median(_took(next_hundred) for _ in range(ROUNDS))
    looking = statistics.median(_took(lanes_module.with_work) for _ in range(ROUNDS))
    table.add(what, claiming, looking, first)


def _took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _count(number: int) -> str:
    return f"{number // 1_000_000}M" if number >= 1_000_000 else f"{number // 1000}k"
