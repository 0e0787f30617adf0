"""`manage.py xkit_worker` as a process of its own: stopped, killed, and followed by another."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import DatabaseError
from django.db import connection as database
from django.db.backends.signals import connection_created

import xkit_crm
from tests.delivery.conftest import backlog, names, put, states
from tests.processes import Start, until
from xkit_crm.delivery import health, rollup
from xkit_crm.delivery import worker as worker_module
from xkit_crm.delivery.health import Pulse, Pulses
from xkit_crm.delivery.worker import Worker
from xkit_crm.exceptions import CRMUnavailable
from xkit_crm.models import Attempt, Connection, Invocation, Lane
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_carries_out_what_waits_and_stops_when_told(
    sandbox: Connection, start: Start
) -> None:
    put("First", "Second")
    worker = start("--poll-interval", "0.05")
    until(lambda: states() == ["succeeded"] * 2)
    put("Third")
    until(lambda: states() == ["succeeded"] * 3)
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert "Stopped after 3" in said
    assert Lane.objects.get().holder == ""
    assert names() == ["First", "Second", "Third"]


def test_what_a_killed_worker_had_in_hand_is_taken_up_and_not_doubled(
    sandbox: Connection, start: Start, told: Path
) -> None:
    # One by itself, since that is what the CRM hangs on; the other comes meanwhile.
    told.touch()
    put("First")
    killed = start("--poll-interval", "0.05")
    until(lambda: not told.exists())
    put("Second")
    killed.kill()
    killed.wait()
    assert states() == ["running", "pending"]
    begun = time.monotonic()
    next_one = start("--poll-interval", "0.05")
    until(lambda: states() == ["succeeded"] * 2)
    # The lease of one second, a process that starts, and some room on a busy machine.
    assert time.monotonic() - begun < 15
    next_one.send_signal(signal.SIGTERM)
    next_one.communicate(timeout=20)
    assert names() == ["First", "Second"]


def test_two_workers_share_the_work_and_do_each_thing_once(
    sandbox: Connection, start: Start
) -> None:
    xkit_crm.connect("other", provider="sandbox")
    expected = [f"Deal {n}" for n in range(15)]
    workers = [start("--poll-interval", "0.05") for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None  # else the first may have done it all
        assert any(line.startswith("Working") for line in worker.stdout)
    for title in expected:
        put(title)
        xkit_crm.invoke("other", "opportunity", "deal_created", {"name": title}, wait=False)
    until(lambda: states() == ["succeeded"] * 30)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
        assert worker.returncode == 0
    made = names()
    assert sorted(made) == sorted(expected * 2)
    assert [title for title in made if made.count(title) != 2] == []


def test_once_does_what_is_due_and_ends(sandbox: Connection, start: Start) -> None:
    put("First")
    said, _ = start("--once").communicate(timeout=30)
    assert said.endswith("1 carried out.\n")


def test_a_worker_outlives_a_database_that_goes_away(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("First")
    worker = Worker(poll_interval=0.01)
    broken = [DatabaseError("gone"), DatabaseError("still gone")]
    look = Worker._look

    def looked(self: Worker) -> list[str]:
        if broken:
            raise broken.pop()
        if states() == ["succeeded"]:
            self.stop()
        return look(self)

    monkeypatch.setattr(Worker, "_look", looked)
    assert worker.run() == 1
    assert states() == ["succeeded"]


def test_a_worker_keeps_its_database_connections_from_turn_to_turn(sandbox: Connection) -> None:
    opened: list[int] = []

    def note(**_: object) -> None:
        opened.append(threading.get_ident())

    with working():
        connection_created.connect(note)
        try:
            for number in range(5):
                put(f"Number {number}")
                until(lambda done=number + 1: states().count("succeeded") == done)
        finally:
            connection_created.disconnect(note)
    # One of the thread that looks, one of the thread that works, perhaps one that tidies up.
    assert max(Counter(opened).values()) == 1
    assert len(opened) <= 3


@pytest.mark.postgresql
def test_a_worker_whose_connections_the_database_closed_opens_new_ones(
    sandbox: Connection,
) -> None:
    with working():
        put("Before")
        until(lambda: states() == ["succeeded"])
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone() > (0,)
        put("After")
        until(lambda: states() == ["succeeded", "succeeded"])


# -- many lanes -----------------------------------------------------------------------------------


@contextmanager
def working(threads: int = 1, *, poll_interval: float = 0.02) -> Iterator[Worker]:
    """A worker in this process, at work during the block."""
    worker = Worker(poll_interval=poll_interval, threads=threads)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)


def test_three_threads_work_in_three_lanes_at_once(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call is answered only when all three are under way."""
    together = threading.Barrier(3, timeout=15)
    create_many = SandboxProvider.create_many

    def meeting(self: SandboxProvider, *args: Any) -> Any:
        together.wait()
        return create_many(self, *args)

    monkeypatch.setattr(SandboxProvider, "create_many", meeting)
    for name in ("acme", "second", "third"):
        xkit_crm.connect(name, provider="sandbox")
        backlog(name, 1)
    with working(3):
        until(lambda: states() == ["succeeded"] * 3)
    assert not together.broken


def test_what_comes_while_every_thread_is_busy_is_found_as_soon_as_one_is_not(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_many, hours = SandboxProvider.create_many, 3600
    busy, go_on = threading.Event(), threading.Event()

    def slowly(self: SandboxProvider, *args: Any) -> Any:
        busy.set()
        assert go_on.wait(20)
        return create_many(self, *args)

    monkeypatch.setattr(SandboxProvider, "create_many", slowly)
    xkit_crm.connect("other", provider="sandbox")
    backlog("acme", 1)
    with working(poll_interval=hours):
        assert busy.wait(20)
        backlog("other", 1)
        go_on.set()
        until(lambda: states() == ["succeeded", "succeeded"], 20)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_backlog_of_one_customer_does_not_starve_another(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    create_many = SandboxProvider.create_many

    def slowly(self: SandboxProvider, *args: Any) -> Any:
        time.sleep(0.005)
        return create_many(self, *args)

    monkeypatch.setattr(SandboxProvider, "create_many", slowly)
    monkeypatch.setattr(SandboxProvider, "batch_size", 1)
    xkit_crm.connect("small", provider="sandbox")
    backlog("acme", 2000)
    small = Invocation.objects.filter(connection_id="small")
    with working(threads):
        until(lambda: Invocation.objects.filter(status="succeeded").exists())
        backlog("small", 1)
        begun = time.monotonic()
        until(lambda: small.get().status == "succeeded")
        took = time.monotonic() - begun
    assert Invocation.objects.filter(connection_id="acme", status="pending").count() > 100
    # The turn of the other is a second, with some room on a busy machine.
    assert took < 5


def test_customers_whose_crms_hang_leave_threads_to_the_others(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor with many customers is out, and each call takes as long as it may."""
    create_many, hang = SandboxProvider.create_many, [f"hung-{number}" for number in range(8)]

    def hanging(self: SandboxProvider, *args: Any) -> Any:
        if self.access.connection_id not in hang:
            return create_many(self, *args)
        time.sleep(1)
        raise CRMUnavailable("It doesn't answer.")

    monkeypatch.setattr(worker_module, "SLOW", 0.5)
    monkeypatch.setattr(SandboxProvider, "create_many", hanging)
    monkeypatch.setattr(SandboxProvider, "create", hanging)
    for name in hang:
        xkit_crm.connect(name, provider="sandbox")
        backlog(name, 5)
    waiting = Invocation.objects.filter(connection_id="acme", status="pending")
    tried = Attempt.objects.values("invocation__connection").distinct()
    took = []
    with working(2):
        until(lambda: tried.count() == len(hang), 20)
        for _ in range(3):
            begun = time.monotonic()
            backlog("acme", 2)
            until(lambda: not waiting.exists(), 20)
            took.append(time.monotonic() - begun)
    assert max(took) < 2


@pytest.mark.parametrize("options", [("--poll-interval", "0.05"), ("--once",)])
def test_a_worker_that_is_told_to_stop_gives_the_lane_back_in_the_middle_of_a_backlog(
    sandbox: Connection, start: Start, options: tuple[str, ...]
) -> None:
    backlog("acme", 3000)
    worker = start(*options)
    until(lambda: Invocation.objects.filter(status="succeeded").exists())
    begun = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert time.monotonic() - begun < 10
    lane = Lane.objects.get()
    assert (lane.holder, lane.leased_until) == ("", None)
    left = states()
    assert set(left) == {"succeeded", "pending"}
    assert len(names()) == left.count("succeeded")


def test_a_call_that_takes_longer_than_the_lease_is_not_overtaken_by_another_worker(
    sandbox: Connection, start: Start, told: Path
) -> None:
    told.touch()
    put("First")
    start("--poll-interval", "0.05")
    until(lambda: not told.exists())
    holder = Lane.objects.get().holder
    second = start("--once")
    said, _ = second.communicate(timeout=30)
    assert said.endswith("0 carried out. Left to the workers that hold them: 1 lane(s).\n")
    # The lease is a second long: it has been renewed several times by now.
    time.sleep(2.5)
    assert Lane.objects.get().holder == holder
    assert states() == ["running"]


def test_after_a_kill_the_next_worker_goes_on_within_the_lease_and_a_second(
    sandbox: Connection, start: Start, told: Path
) -> None:
    told.touch()
    put("First")
    killed = start("--poll-interval", "0.05")
    until(lambda: not told.exists())
    # It has been at work for a while, so that its start is not part of what is measured.
    other = start("--poll-interval", "0.05")
    xkit_crm.connect("other", provider="sandbox")
    xkit_crm.invoke("other", "opportunity", "deal_created", {"name": "Theirs"}, wait=False)
    until(lambda: states() == ["running", "succeeded"])
    begun = time.monotonic()
    killed.kill()
    until(lambda: states() == ["succeeded"] * 2)
    took = time.monotonic() - begun
    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=20)
    assert sorted(names()) == ["First", "Theirs"]
    # A lease of one second; a second more, and as much again on a busy machine.
    assert took < 4


# -- whether it is well ---------------------------------------------------------------------------


def test_a_worker_shows_that_it_is_well_by_a_file_and_by_http(
    sandbox: Connection, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "health"
    worker = start("--poll-interval", "0.05", "--health-file", str(file), "--probe", "127.0.0.1:0")
    assert worker.stdout is not None
    said = "".join(iter(worker.stdout.readline, "Working; stop with SIGTERM or Ctrl-C.\n"))
    found = re.search(r"Probe at (http://[0-9.:]+)/ready", said)
    assert found is not None
    url = found[1]
    until(lambda: requests.get(f"{url}/ready", timeout=5).status_code == 200)
    assert requests.get(f"{url}/live", timeout=5).json() == {"ok": True}
    assert requests.get(f"{url}/", timeout=5).status_code == 404
    before = file.stat().st_mtime_ns
    until(lambda: file.stat().st_mtime_ns > before)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=20)
    assert worker.returncode == 0


def test_a_health_file_that_can_not_be_touched_is_no_end_of_the_work(tmp_path: Path) -> None:
    """Who watches it finds it old, or not at all, and decides."""
    place = tmp_path / "gone"
    pulse, both = Pulse(), Pulses([Pulse()])
    pulse.file = both.file = place / "health"
    pulse.beat(well=True)
    both.pulses[0].beat(well=True)
    both.touch()
    assert pulse.is_ready
    place.mkdir()
    pulse.beat(well=True)
    assert pulse.file.exists()


def test_a_worker_without_its_database_is_alive_and_not_ready(tmp_path: Path) -> None:
    pulse = Pulse()
    pulse.file = tmp_path / "health"
    server = health.serve(pulse, "127.0.0.1:0")
    url = f"http://127.0.0.1:{server.server_port}"

    def asked() -> tuple[int, int]:
        return tuple(  # type: ignore[return-value]
            requests.get(f"{url}/{path}", timeout=5).status_code for path in ("live", "ready")
        )

    try:
        assert asked() == (200, 503)  # it has not looked yet
        pulse.beat(well=True)
        assert asked() == (200, 200)
        touched = pulse.file.stat().st_mtime_ns
        pulse.beat(well=False)
        assert asked() == (200, 503)
        assert pulse.file.stat().st_mtime_ns == touched
        pulse._cells[0] -= health.STALE
        assert asked() == (503, 503)
    finally:
        server.shutdown()
        server.server_close()


def test_a_worker_is_alive_and_works_on_while_it_tidies_up_for_long(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, is_over = threading.Event(), threading.Event()

    def for_long(**_: object) -> None:
        begun.set()
        is_over.wait(20)

    monkeypatch.setattr(rollup, "roll_up_if_due", for_long)
    with working() as worker:
        try:
            assert begun.wait(5)
            put("First")
            until(lambda: states() == ["succeeded"], 10)
            looked = worker.pulse.last
            until(lambda: worker.pulse.last > looked, 10)
            assert not is_over.is_set()
        finally:
            is_over.set()


def test_a_thread_that_dies_of_a_provider_takes_no_lane_with_it(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that calls `sys.exit()` must not silence a worker that says it is well."""
    create_many = SandboxProvider.create_many
    exits = [SystemExit(1)]

    def leaving(self: SandboxProvider, *args: Any) -> Any:
        if exits:
            raise exits.pop()
        return create_many(self, *args)

    monkeypatch.setattr(SandboxProvider, "create_many", leaving)
    put("First")
    with working():
        until(lambda: states() == ["succeeded"], 5)


def test_nor_does_one_whose_provider_cancels_what_it_awaits(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_many = SandboxProvider.create_many
    cancelled = [asyncio.CancelledError()]

    def cancelling(self: SandboxProvider, *args: Any) -> Any:
        if cancelled:
            raise cancelled.pop()
        return create_many(self, *args)

    monkeypatch.setattr(SandboxProvider, "create_many", cancelling)
    put("First")
    with working():
        until(lambda: states() != ["pending"], 5)
        put("Second")
        until(lambda: states()[1] == "succeeded", 5)


def test_a_lane_in_which_something_goes_wrong_is_left_alone_for_a_moment(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def take_turn(connection_id: str, **_: object) -> int:
        looks.append(connection_id)
        raise RuntimeError("nobody expected it")

    monkeypatch.setattr("xkit_crm.delivery.worker.take_turn", take_turn)
    put("First")
    with working():
        until(lambda: len(looks) == 2, 5)
        time.sleep(0.3)
        assert len(looks) == 2
