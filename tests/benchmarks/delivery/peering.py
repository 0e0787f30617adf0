"""Peers that do the same work in the same run: queue, drain, and deliver under a steady load."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.delivery import processes
from tests.benchmarks.delivery.draining import (
    RATE,
    STEADY_LATENCY,
    THREADS,
    Delay,
    Drained,
    Size,
    arrivals,
    cell,
    rows_for,
)
from tests.benchmarks.delivery.scene import Scene
from tests.benchmarks.delivery.table import Table, say

SETTINGS = "tests.benchmarks.peers.settings"
#: Rows a second that no peer was seen to pass here; cells are sized by it.
GUESS = 600
_CELERY = (
    *("-m", "celery", "-A", "tests.benchmarks.peers.celery_app", "worker"),
    *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
)
_PREFORK = (*_CELERY, "--pool", "prefork", "--concurrency", "2")
_IN_THREADS = (*_CELERY, "--pool", "threads", "--concurrency", str(THREADS))


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer with one kind of worker."""

    name: str
    #: Who saves for it, as `tests.benchmarks.peers` knows it.
    saver: str
    command: Sequence[str]
    at_work: int
    #: Modules that it needs.
    needs: Sequence[str]

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]


PEERS = (
    Peer("Celery, prefork 2", "celery", _PREFORK, 2, ("celery", "redis")),
    Peer(f"Celery, {THREADS} threads", "celery", _IN_THREADS, THREADS, ("celery", "redis")),
    Peer("django-webhook2, prefork 2", "webhook", _PREFORK, 2, ("django_webhook", "redis")),
    Peer(
        f"django-webhook2, {THREADS} threads",
        "webhook",
        _IN_THREADS,
        THREADS,
        ("django_webhook", "redis"),
    ),
    Peer(
        f"procrastinate, {THREADS} at once",
        "procrastinate",
        ("manage.py", "procrastinate", "worker", "--concurrency", str(THREADS)),
        THREADS,
        ("procrastinate",),
    ),
)


def _chosen(size: Size) -> Sequence[Peer]:
    """All of them, or those that have one process or are alone of their kind."""
    return PEERS if size.every_peer else (PEERS[1], PEERS[3], PEERS[4])


def _environment() -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "XKIT_BENCHMARK_QUEUE": f"xkit-benchmark-{os.getpid()}",
    }


def _ask(what: str, scene: Scene, *more: str, **environment: str) -> Any:
    command = ["-m", "tests.benchmarks.peers", what, "--crm", scene.crm.url, *more]
    return json.loads(processes.output(command, **_environment(), **environment))


@contextmanager
def _queues() -> Iterator[None]:
    """Messages of ours in Redis are gone afterwards, and nobody else's."""
    import redis

    url = os.environ.get("XKIT_BENCHMARK_REDIS", "redis://127.0.0.1:6379/13")
    queue = _environment()["XKIT_BENCHMARK_QUEUE"]
    with redis.Redis.from_url(url) as server:
        server.ping()
        try:
            yield
        finally:
            bindings = (f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}")
            server.delete(queue, *bindings)


def peers(scene: Scene, size: Size) -> Table:
    """How fast each drains what it was given, one POST for each row."""
    table = Table(
        "Peers: rows/s from the first call to the last",
        ["who", "CRM answers in", "rows/s", "calls", "limit", "of the limit", "save, us", "MB"],
        notes=[
            (
                "One row saved, one task, one POST of one record; one worker command each. The "
                "limit is tasks at once / latency."
            ),
            (
                "`save, us` is a save with its enqueueing while the backlog is made, in one "
                "process; ours is in the table of saves."
            ),
            f"xkit_crm: {size.many_lanes} lanes, in each the order of every record is kept.",
        ],
    )
    if not _is_ready(scene, table):
        return table
    with _queues():
        for latency in size.latencies if size.every_peer else (0.0,):
            _add_ours(table, scene, size, latency)
            for peer in _chosen(size):
                if peer.missing:
                    table.notes.append(f"{peer.name}: not installed ({', '.join(peer.missing)}).")
                    continue
                try:
                    took, cost = _drained(scene, peer, size, latency)
                except (RuntimeError, OSError) as error:
                    say(str(error))
                    table.notes.append(f"{peer.name}: {str(error).splitlines()[0]}")
                    continue
                limit = peer.at_work / latency if latency else None
                table.add(
                    peer.name,
                    f"{latency * 1000:.0f} ms",
                    took.rate,
                    took.calls,
                    limit,
                    f"{took.rate / limit:.0%}" if limit else None,
                    cost,
                    took.peak / 1024 / 1024,
                )
    return table


def _add_ours(table: Table, scene: Scene, size: Size, latency: float) -> None:
    """Measured as the peers are, with the same number of calls at once."""
    limit = THREADS / latency if latency else None
    rows = rows_for(min(GUESS, limit or GUESS), size, batch=1, lanes=size.many_lanes)
    for workers in (1, 2):
        took = cell(scene, rows, batch=1, latency=latency, count=size.many_lanes, workers=workers)
        each = f"{THREADS // workers} threads"
        name = f"xkit_crm, {each}" if workers == 1 else f"xkit_crm, {workers} processes of {each}"
        rate = rows / (took.calling + latency)
        table.add(
            name,
            f"{latency * 1000:.0f} ms",
            rate,
            took.calls,
            limit,
            f"{rate / limit:.0%}" if limit else None,
            None,
            took.peak / 1024 / 1024,
        )


def _is_ready(scene: Scene, table: Table) -> bool:
    """Make the peers' tables; where that fails, the table says why."""
    missing = sorted({name for peer in PEERS for name in peer.missing})
    if missing:
        table.notes.append(f"Not measured: {', '.join(missing)} not installed, see `benchmarks`.")
        return False
    _ask("prepare", scene)
    return True


def _drained(scene: Scene, peer: Peer, size: Size, latency: float) -> tuple[Drained, float]:
    rows = int(min(GUESS, peer.at_work / latency if latency else GUESS) * size.seconds)
    scene.crm.forget()
    scene.crm.faults(latency=latency)
    cost = _ask("queue", scene, "--peer", peer.saver, "--count", str(rows))["us"]
    with processes.running(*peer.command, **_environment()) as worker:
        processes.wait_until(lambda: scene.crm.counts()["calls"] >= rows, worker, pause=0.3)
        peak = worker.peak()
    calls = scene.crm.calls()
    wrong = [call for call in calls if call["outcome"] != "201"]
    if wrong:
        raise RuntimeError(f"{len(wrong)} calls went wrong, such as {wrong[0]}")
    came = [call["at"] for call in calls]
    return Drained(rows, max(came) + latency - min(came), len(calls), peak), cost


def steady(scene: Scene, size: Size, table: Table) -> None:
    """Add to the table how soon a save arrives with each peer."""
    if not _is_ready(scene, table):
        return
    with _queues():
        for peer in _chosen(size)[: None if size.every_peer else 1]:
            scene.crm.forget()
            scene.crm.faults(latency=STEADY_LATENCY)
            with processes.running(*peer.command, **_environment()) as worker:
                # The first ones wait until it has started.
                _ask("queue", scene, "--peer", peer.saver, "--count", "20")
                processes.wait_until(_have_come(scene, 20), worker)
                scene.crm.forget()
                scene.crm.faults(latency=STEADY_LATENCY)
                asked = ("--peer", peer.saver, "--seconds", str(size.steady))
                saved = _ask("steady", scene, *asked)
                processes.wait_until(_have_come(scene, int(size.steady * RATE)), worker)
            delay = Delay.between(saved, arrivals(scene))
            table.add(peer.name, delay.p50, delay.p95, delay.p99)


def _have_come(scene: Scene, count: int) -> Any:
    return lambda: scene.crm.counts()["calls"] >= count


def saving(scene: Scene, size: Size) -> Table:
    """A save, plain and captured, and with each peer's enqueueing, on both databases."""
    table = Table(
        "Saves a second of one process, one new row each",
        ["database", "transaction", "who", "saves/s", "us", "ratio"],
        notes=["In shuffled order within each round; the figure is the median."],
    )
    from tests.benchmarks.delivery.scene import lanes

    lanes(scene, 1)
    if not _is_ready(scene, table):
        return table
    with _queues(), tempfile.TemporaryDirectory(prefix="xkit-benchmark-") as directory:
        file = {"XKIT_DATABASE": "sqlite", "XKIT_DATABASE_NAME": f"{directory}/benchmark"}
        _ask("begin", scene, **file)
        for database, environment in (("SQLite", file), ("PostgreSQL", {})):
            for found in _ask("saving", scene, "--count", str(size.rounds), **environment):
                rate = 1e6 / found["us"]
                table.add(database, found["how"], found["who"], rate, found["us"], found["ratio"])
    return table
