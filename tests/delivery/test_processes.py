"""Several workers of one command: shared work, stopped and killed together."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import requests

import xkit_crm
from tests.delivery.conftest import backlog, names, put, states
from tests.processes import Process, Start, until
from xkit_crm.delivery import health
from xkit_crm.delivery.health import Pulse, Pulses
from xkit_crm.models import Connection, Invocation, Lane

pytestmark = pytest.mark.django_db(transaction=True)


def children(parent: Process) -> list[int]:
    """The processes that it has started and that have not ended."""
    found = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    return [int(pid) for pid in found.split()]


def test_two_processes_of_one_command_carry_out_what_waits_and_stop_when_told(
    sandbox: Connection, start: Start, told: Path
) -> None:
    worker = start("--processes", "2", "--threads", "1")
    until(lambda: len(children(worker)) == 2)
    told.touch()
    put("First")
    until(lambda: not told.exists())  # the one thread of one process hangs in this call
    xkit_crm.connect("other", provider="sandbox")
    xkit_crm.invoke("other", "opportunity", "deal_created", {"name": "Theirs"}, wait=False)
    until(lambda: states() == ["running", "succeeded"])
    ours, theirs = Lane.objects.get(pk="acme"), Invocation.objects.get(connection_id="other")
    assert int(ours.holder.split("/")[1]) in children(worker)
    assert theirs.status == "succeeded"


def test_all_processes_give_their_lanes_back_when_the_command_is_stopped(
    sandbox: Connection, start: Start
) -> None:
    xkit_crm.connect("other", provider="sandbox")
    backlog("acme", 1500)
    backlog("other", 1500)
    worker = start("--processes", "2", "--threads", "1")
    until(lambda: Invocation.objects.filter(status="succeeded").exists())
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert said.endswith("Stopped all 2.\n")
    assert set(Lane.objects.values_list("holder", "leased_until")) == {("", None)}
    assert set(states()) <= {"succeeded", "pending"}
    assert len(names()) == states().count("succeeded")


def test_a_process_that_dies_is_started_again(sandbox: Connection, start: Start) -> None:
    worker = start("--processes", "2")
    until(lambda: len(children(worker)) == 2)
    first = children(worker)
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(children(worker)) == 2 and not set(children(worker)) & set(first))
    put("First")
    until(lambda: states() == ["succeeded"])
    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert said.count("another takes its place") == 2


def test_no_process_is_left_behind_when_the_command_is_killed(
    sandbox: Connection, start: Start
) -> None:
    worker = start("--processes", "2", "--probe", "127.0.0.1:0")
    until(lambda: len(children(worker)) == 3)  # and one that answers
    left = children(worker)
    put("First")
    until(lambda: states() == ["succeeded"])  # they work
    worker.kill()
    worker.wait()
    until(lambda: not any(Path(f"/proc/{pid}/status").exists() for pid in left))


def test_several_processes_show_that_all_of_them_are_well(
    sandbox: Connection, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "health"
    options = ("--health-file", str(file), "--probe", "127.0.0.1:0")
    worker = start("--processes", "2", *options)
    assert worker.stdout is not None
    said = "".join(
        iter(worker.stdout.readline, "Working in 2 processes; stop with SIGTERM or Ctrl-C.\n")
    )
    found = re.search(r"Probe at (http://[0-9.:]+)/ready", said)
    assert found is not None
    url = found[1]
    until(lambda: len(children(worker)) == 3)  # and one that answers
    until(lambda: requests.get(f"{url}/ready", timeout=5).status_code == 200)
    assert requests.get(f"{url}/live", timeout=5).json() == {"ok": True}
    before = file.stat().st_mtime_ns
    until(lambda: file.stat().st_mtime_ns > before)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 0


def test_several_workers_are_as_well_as_the_one_that_is_worst(tmp_path: Path) -> None:
    one, other = Pulse(), Pulse()
    both = Pulses([one, other])
    both.file = tmp_path / "health"
    one.beat(well=True)
    both.touch()
    assert (both.is_alive, both.is_ready, both.file.exists()) == (True, False, False)
    other.beat(well=True)
    both.touch()
    assert (both.is_alive, both.is_ready, both.file.exists()) == (True, True, True)
    touched = both.file.stat().st_mtime_ns
    one.beat(well=True)
    both.touch()  # the other has not looked since
    assert both.file.stat().st_mtime_ns == touched
    other._cells[0] -= health.STALE
    assert (both.is_alive, both.is_ready) == (False, False)


@pytest.mark.parametrize(
    "options", [("--processes", "0"), ("--processes", "2", "--once")], ids=["none", "once"]
)
def test_what_processes_can_not_do_is_told(
    sandbox: Connection, start: Start, options: tuple[str, ...]
) -> None:
    worker = start(*options)
    said, _ = worker.communicate(timeout=30)
    assert worker.returncode == 1
    assert "CommandError: --" in said
