"""The processes that are measured: started, watched, and asked to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent.parent.parent
#: Seconds after which a cell is given up.
PATIENCE = 600.0


@dataclass(slots=True)
class Running:
    """A worker at work, with the children that it has."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def check(self) -> None:
        """Raise where it has ended by itself."""
        if self.process.poll() is not None:
            raise RuntimeError(f"a worker ended:\n{self.said()[-2000:]}")

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def resident(self) -> int:
        """Bytes of memory that it and its children hold now."""
        return sum(_status(pid, "VmRSS") for pid in self._family())

    def peak(self) -> int:
        """The most that it and its children ever held."""
        return sum(_status(pid, "VmHWM") for pid in self._family())

    def _family(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                found += map(int, children.read_text().split())
        return found


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith(f"{name}:")), f"{name}: 0")
    return int(found.split()[1]) * 1024


@contextmanager
def running(*command: str, **environment: str) -> Iterator[Running]:
    """A process of ours during the block; `python` stands in front of the command."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Running(process, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def worker(*, threads: int = 4, processes: int = 1) -> AbstractContextManager[Running]:
    """`manage.py xkit_worker` during the block."""
    options = ("--threads", str(threads), "--processes", str(processes))
    return running("manage.py", "xkit_worker", *options)


def wait_until(done: Callable[[], bool], watched: Running, *, pause: float = 0.1) -> None:
    """Wait, for as long as the process lives; raises where it takes too long."""
    until = time.monotonic() + PATIENCE
    while not done():
        watched.check()
        if time.monotonic() > until:
            raise RuntimeError(f"not done after {PATIENCE:.0f} s:\n{watched.said()[-2000:]}")
        time.sleep(pause)


def output(command: Sequence[str], **environment: str) -> str:
    """What a process of ours writes; its errors go where ours go."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
