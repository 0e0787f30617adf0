"""How fast a backlog is carried out, how much memory that takes, and how soon a save arrives."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.delivery import limits, processes
from tests.benchmarks.delivery.scene import Scene, Waiting, fill, lanes
from tests.benchmarks.delivery.table import Table, say

#: Lanes that one worker works in at the same time, as many as the peers have threads.
THREADS = 20
#: The fewest and the most rows of a cell, and the fewest calls.
FEWEST, MOST, CALLS = 200, 100_000, 10


@dataclass(frozen=True, slots=True)
class Drained:
    """What draining took, and how many calls it made."""

    rows: int
    seconds: float
    calls: int
    peak: int = 0
    #: From the first call to the last.
    calling: float = 0.0

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@dataclass(frozen=True, slots=True)
class Size:
    """How large a part is: a cell takes about so many seconds."""

    seconds: float = 8.0
    latencies: Sequence[float] = (0.0, 0.005, 0.05)
    many_lanes: int = 100
    backlog: int = 100_000
    pending: Sequence[int] = (1_000, 100_000, 1_000_000)
    history: int = 1_000_000
    steady: float = 20.0
    rounds: int = 1000
    #: Whether every peer is measured with every kind of worker, or each of them once.
    every_peer: bool = True


FULL = Size()
QUICK = Size(
    seconds=0.5,
    latencies=(0.0, 0.05),
    many_lanes=8,
    backlog=2_000,
    pending=(1_000, 10_000),
    history=10_000,
    steady=3.0,
    rounds=60,
    every_peer=False,
)


def drained(
    scene: Scene,
    count: int,
    *,
    threads: int,
    workers: int = 1,
    make: Callable[[], float] | None = None,
) -> Drained:
    """Have one worker command carry out what waits, or what `make` commits once it runs.

    The clock starts with that commit, or else when the worker says that it works, and ends when
    nothing is open in the database: `finished_at` is taken before it is stored.
    """
    from xkit_crm.models import Invocation

    before = len(scene.crm.calls())
    with processes.worker(threads=threads, processes=workers) as worker:
        processes.wait_until(lambda: "Working" in worker.said(), worker, pause=0.02)
        began = time.monotonic()
        if make is not None:
            time.sleep(1.0)  # its threads look for work, and find none
            began = make()
        processes.wait_until(lambda: not _is_open(), worker, pause=0.02)
        seconds, peak = time.monotonic() - began, worker.peak()
    ended = ("succeeded", "skipped", "superseded")
    if (settled := Invocation.objects.filter(status__in=ended).count()) != count:
        raise RuntimeError(f"{settled} of {count} were carried out")
    came = [call["at"] for call in scene.crm.calls(after=before)]
    return Drained(count, seconds, len(came), peak, max(came) - min(came) if came else 0.0)


def _is_open() -> bool:
    from xkit_crm.models import Invocation

    return Invocation.objects.open().exists()


def drain(scene: Scene, size: Size) -> Table:
    """Every latency, number of lanes and batch size, beside what the machine could do."""
    table = Table(
        "Draining: rows/s from the commit of the backlog to the last row settled",
        ["CRM answers in", "lanes", "rows a call", "rows/s", "calls", "limit", "of the limit"],
        notes=[
            f"One `xkit_worker` process, with one thread for one lane and {THREADS} for many.",
            (
                "The limit is the lower of lanes at work / latency x rows a call, and a bare loop "
                "of `requests` that sends the same calls and stores nothing."
            ),
        ],
    )
    for batch in (200, 1):
        scene.crm.forget()
        bare = limits.calls(scene.crm.url, batch=batch, seconds=min(3.0, size.seconds))
        say(f"bare loop, {batch} a call: {bare:,.0f} rows/s")
        known = _first_guess(scene, batch)
        for latency in size.latencies:
            for count in (1, size.many_lanes):
                at_work = min(count, THREADS)
                limit = min(bare, at_work / latency * batch if latency else bare)
                rows = rows_for(min(limit, known), size, batch=batch, lanes=count)
                took = cell(scene, rows, batch=batch, latency=latency, count=count)
                table.add(
                    f"{latency * 1000:.0f} ms",
                    count,
                    batch,
                    took.rate,
                    took.calls,
                    limit,
                    f"{took.rate / limit:.0%}",
                )
    for batch in (200, 1):
        rows = rows_for(_first_guess(scene, batch), size, batch=batch, lanes=size.many_lanes)
        took = cell(scene, rows, batch=batch, latency=0.0, count=size.many_lanes, workers=2)
        table.notes.append(
            f"By `--processes 2` with half as many threads each: {took.rate:,.0f} rows/s "
            f"({batch} a call, 0 ms, {size.many_lanes} lanes)."
        )
    rows = rows_for(_first_guess(scene, 200), size, batch=200, lanes=1)
    table.notes.append(
        "A bare loop that also reads the rows from the table, marks them, and writes attempts, "
        f"links and results in the fewest statements: {_written(scene, rows):,.0f} rows/s "
        "(200 a call, 0 ms, one lane)."
    )
    took = _updates(scene, rows)
    table.notes.append(
        f"Updates of linked records instead of creates: {took.rate:,.0f} rows/s (the same cell)."
    )
    table.notes.append(
        f"The customer does nothing (no call, no attempt): {_noop(scene, rows):,.0f} rows/s."
    )
    return table


def rows_for(rate: float, size: Size, *, batch: int, lanes: int) -> int:
    """Rows for a cell of about the right length: full calls, and several of them."""
    fewest = max(FEWEST, lanes * batch, CALLS * batch)
    rows = max(min(int(rate * size.seconds), MOST), fewest)
    return -(-rows // (lanes * batch)) * lanes * batch


def _first_guess(scene: Scene, batch: int) -> float:
    """About how many rows a second one lane makes, measured on a few."""
    return cell(scene, 2_000 if batch > 1 else 200, batch=batch, latency=0.0, count=1).rate


def cell(
    scene: Scene, rows: int, *, batch: int, latency: float, count: int, workers: int = 1
) -> Drained:
    """What draining so many rows of `count` lanes takes."""
    lanes(scene, count, batch=batch)
    scene.crm.faults(latency=latency)
    return drained(
        scene,
        rows,
        threads=min(count, THREADS) // workers,
        workers=workers,
        make=lambda: fill(Waiting(rows, lanes=count)),
    )


def _written(scene: Scene, rows: int) -> float:
    lanes(scene, 1)
    fill(Waiting(rows))
    return limits.written(scene.crm.url, count=rows)


def _updates(scene: Scene, rows: int) -> Drained:
    cell(scene, rows, batch=200, latency=0.0, count=1)
    from xkit_crm.models import Invocation

    Invocation.objects.all().delete()
    waiting = Waiting(rows, event="deal_updated")
    return drained(scene, rows, threads=1, make=lambda: fill(waiting))


def _noop(scene: Scene, rows: int) -> float:
    from xkit_crm.models import EventAction

    lanes(scene, 1)
    actions = EventAction.objects.filter(mapping__connection_id="org-0", event__type="create")
    actions.update(action="noop")
    try:
        return drained(scene, rows, threads=1, make=lambda: fill(Waiting(rows))).rate
    finally:
        actions.update(action="create")


def memory(scene: Scene, size: Size) -> Table:
    """What a worker process holds before, and at most while it carries out a long backlog."""
    table = Table(
        "Memory of a worker that drains a backlog",
        ["rows", "MB before", "MB at most", "MB more"],
        notes=["10 lanes, 4 threads, 200 rows a call."],
    )
    lanes(scene, 10)
    with processes.worker(threads=4) as worker:
        processes.wait_until(lambda: "Working" in worker.said(), worker)
        time.sleep(1.0)
        before = worker.resident()
        fill(Waiting(size.backlog, lanes=10))
        processes.wait_until(lambda: not _is_open(), worker)
        peak = worker.peak()
    mega = 1024 * 1024
    table.add(size.backlog, before / mega, peak / mega, (peak - before) / mega)
    return table


@dataclass(frozen=True, slots=True)
class Delay:
    """Milliseconds from a save to its arrival at the CRM."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def between(cls, saved: dict[str, float], arrived: dict[str, float]) -> Delay:
        """From when each name was saved and when it came."""
        waited = sorted((arrived[name] - at) * 1000 for name, at in saved.items())
        cuts = statistics.quantiles(waited, n=100, method="inclusive")
        return cls(cuts[49], cuts[94], cuts[98])


#: Saves per second of a steady load, and what the CRM takes to answer.
RATE = 50
STEADY_LATENCY = 0.005


def steadily(save: object, seconds: float) -> dict[str, float]:
    """Save `RATE` times a second; gives when each was begun. `save` is given a name."""
    assert callable(save)
    saved: dict[str, float] = {}
    began = time.time()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0.0, began + number / RATE - time.time()))
        name = f"steady {number}"
        saved[name] = time.time()
        save(name)
    return saved


def arrivals(scene: Scene) -> dict[str, float]:
    """When each name reached the CRM first."""
    came: dict[str, float] = {}
    for write in scene.crm.journal():
        came.setdefault(write["values"].get("Name", ""), write["at"])
    return came


def steady(scene: Scene, size: Size) -> Table:
    """How long after `save()` began its values are in the CRM, while little waits."""
    from tests.products.models import Twin

    table = Table(
        f"From save to CRM, {RATE} saves a second",
        ["who", "p50 ms", "p95 ms", "p99 ms"],
        notes=[
            (
                f"{size.steady:.0f} s, 10 lanes, a CRM that takes {STEADY_LATENCY * 1000:.0f} ms "
                "(half of it before it writes), 4 threads, the poll interval as it is by default."
            )
        ],
    )
    names = lanes(scene, 10)
    scene.crm.faults(latency=STEADY_LATENCY)
    turns = iter(range(10**9))

    def save(name: str) -> None:
        Twin(connection_id=names[next(turns) % 10], title=name).save()

    with processes.worker(threads=4) as worker:
        processes.wait_until(lambda: "Working" in worker.said(), worker)
        steadily(save, 1.0)
        processes.wait_until(lambda: not _is_open(), worker)
        scene.crm.forget()
        scene.crm.faults(latency=STEADY_LATENCY)
        saved = steadily(save, size.steady)
        processes.wait_until(lambda: not _is_open(), worker)
    delay = Delay.between(saved, arrivals(scene))
    table.add("xkit_crm", delay.p50, delay.p95, delay.p99)
    return table


def backfill(scene: Scene, size: Size) -> Table:
    """Rows that exist already: queued by `xkit_backfill`, then carried out."""
    from django.db import connection

    table = Table(
        "Backfill of rows that exist already",
        ["rows", "queued, rows/s", "carried out, rows/s"],
        notes=["`xkit_backfill products.Twin --no-match`, one lane, 200 rows a call, 0 ms."],
    )
    lanes(scene, 1)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE products_twin RESTART IDENTITY CASCADE")
        cursor.execute(
            "INSERT INTO products_twin (connection_id, title, amount, stage, email, note, "
            "modified_at) SELECT 'org-0', 'Deal ' || n, 10, 'new', 'ada@example.com', '', now() "
            "FROM generate_series(1, %s) AS n",
            [size.backlog],
        )
        cursor.execute("ANALYZE products_twin")
    began = time.monotonic()
    processes.output(
        ["manage.py", "xkit_backfill", "products.Twin", "--connection", "org-0", "--no-match"]
    )
    queued = size.backlog / (time.monotonic() - began)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE xkit_crm_invocation")
    took = drained(scene, size.backlog, threads=1)
    table.add(size.backlog, queued, took.rate)
    return table
