"""`manage.py xkit_worker` as a process of its own: stopped, killed, and followed by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.db import connection as database

import xkit_crm
from tests.delivery.conftest import names, states
from tests.delivery.hanging import TOLD
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Connection, Lane

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parent.parent.parent
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """While this file exists, the CRM's next answer never comes."""
    return tmp_path / "hang"


@pytest.fixture
def start(told: Path) -> Iterator[Start]:
    """Start a worker process on the tests' database."""
    started: list[subprocess.Popen[str]] = []
    name = str(database.settings_dict["NAME"]).removesuffix(".sqlite3")

    def worker(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "xkit_worker", *options],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.delivery.worker_settings",
                "XKIT_DATABASE_NAME": name,
                TOLD: str(told),
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield worker
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, states()
        time.sleep(0.05)


def put(*titles: str) -> None:
    for title in titles:
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": title}, wait=False)


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
    told.touch()
    put("First", "Second")
    killed = start("--poll-interval", "0.05")
    until(lambda: not told.exists())
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
