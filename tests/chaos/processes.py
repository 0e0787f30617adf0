"""The processes of a run: started, killed without warning, and started again."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.options import Options

ROOT = Path(__file__).parent.parent.parent
#: Killed before that, a process has done nothing yet.
WARM = 0.2
_PARENT_DEATH_SIGNAL = 1


def _die_with_the_run() -> None:
    """Ask Linux to kill this process when the one that started it is gone, however that went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


@dataclass(slots=True)
class Managed:
    """One place for a process: whoever is in it is replaced when it is gone."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    ready_word: str = ""
    #: Not started again before this moment.
    rests_until: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    incarnation: int = 0
    #: How it ended where nobody killed it.
    ended: list[int] = field(default_factory=list)
    _killed: bool = False
    _offset: int = 0
    _ready_at: float = 0.0

    def start(self) -> None:
        self.incarnation += 1
        with self.log.open("ab") as log:
            self._offset = log.tell()
            self.process = subprocess.Popen(
                [part.replace("{incarnation}", str(self.incarnation)) for part in self.command],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_the_run,
            )
        self._ready_at, self._killed = 0.0, False

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def warm(self) -> bool:
        """Whether it has begun to work."""
        if not self.alive:
            return False
        if not self._ready_at and self._said_so():
            self._ready_at = time.monotonic()
        return bool(self._ready_at) and time.monotonic() - self._ready_at > WARM

    def _said_so(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return self.ready_word.encode() in log.read()

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is given back. Celery's children go with it."""
        if self.process is not None and self.process.poll() is None:
            self._killed = True
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def note_end(self) -> None:
        """Remember the exit status of one that is gone, where nobody killed it."""
        if self.process is not None and not self._killed:
            self.ended.append(self.process.wait())

    def stop(self, seconds: float) -> int | None:
        """Ask it to end; gives its exit status, None where it had to be killed."""
        if self.process is None or self._killed:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


@dataclass(slots=True)
class Workers:
    """The worker processes of every engine that the run uses."""

    options: Options
    environment: dict[str, str]
    directory: Path
    places: list[Managed] = field(default_factory=list)
    kills: int = 0

    def start(self) -> None:
        for number in range(self.options.workers):
            self.places.append(self._place(number))
        for place in self.places:
            place.start()

    def _place(self, number: int) -> Managed:
        engine = self.options.engine
        celery = engine == "celery" or (engine == "mixed" and number % 2 == 1)
        name = f"{'celery' if celery else 'worker'}-{number}"
        command = self._celery(name) if celery else self._command()
        return Managed(
            name=name,
            command=command,
            environment=self.environment,
            log=self.directory / f"{name}.log",
            ready_word="ready" if celery else "Working",
        )

    def _command(self) -> list[str]:
        command = [sys.executable, "manage.py", "xkit_worker", "--poll-interval", "0.1"]
        if self.options.threads > 1 and takes_threads():
            command += ["--threads", str(self.options.threads)]
        return command

    def _celery(self, name: str) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", "tests.chaos.celery_app", "worker"),
            *("--beat", "--schedule", str(self.directory / f"{name}.schedule")),
            *("--concurrency", str(self.options.threads), "--loglevel", "INFO"),
            *("--hostname", f"{name}@%h", "--without-gossip", "--without-mingle"),
        ]

    def kill_one(self, chance: random.Random) -> Managed | None:
        """Kill one that is at work; None where none is."""
        at_work = [place for place in self.places if place.warm]
        if not at_work:
            return None
        victim = chance.choice(at_work)
        victim.kill()
        victim.rests_until = time.monotonic() + chance.choice((0.0, 0.0, chance.uniform(0, 3)))
        self.kills += 1
        return victim

    def replace(self) -> None:
        """Start again what is gone."""
        now = time.monotonic()
        for place in self.places:
            if not place.alive and now >= place.rests_until:
                place.note_end()
                place.start()

    def stop(self) -> list[str]:
        """Ask all of them to end; gives what went wrong with that, and who ended before."""
        wrong = []
        for place in self.places:
            wrong += [f"{place.name} ended by itself with {status}" for status in place.ended]
            status = place.stop(30)
            if status != 0:
                wrong.append(f"{place.name} ended with {status} when it was asked to stop")
        return wrong

    def kill(self) -> None:
        for place in self.places:
            place.kill()


def takes_threads() -> bool:
    """Whether the worker command has threads."""
    from xkit_crm.management.commands.xkit_worker import Command

    parser = Command().create_parser("manage.py", "xkit_worker")
    return any("--threads" in action.option_strings for action in parser._actions)


@dataclass(slots=True)
class Writers:
    """The writer processes; each goes on where its last incarnation was killed."""

    options: Options
    environment: dict[str, str]
    directory: Path
    places: list[Managed] = field(default_factory=list)
    kills: int = 0

    @property
    def journals(self) -> list[Path]:
        return sorted(self.directory.glob("journal-*.jsonl"))

    def start(self) -> None:
        for number in range(1, self.options.writers + 1):
            self.places.append(self._place(number, self._share(number)))
            self.places[-1].start()

    def _share(self, number: int) -> int:
        return self.options.changes // self.options.writers - self._done(number)

    def _done(self, number: int) -> int:
        path = self.directory / f"journal-{number}.jsonl"
        return path.read_bytes().count(b'"committed"') if path.exists() else 0

    def _place(self, number: int, changes: int) -> Managed:
        return Managed(
            name=f"writer-{number}",
            command=[
                *(sys.executable, "-m", "tests.chaos.writer", "--number", str(number)),
                *("--incarnation", "{incarnation}", "--seed", str(self.options.seed)),
                *("--changes", str(changes), "--rate", f"{self.options.rate:.2f}"),
                *("--journal", str(self.directory / f"journal-{number}.jsonl")),
            ],
            environment=self.environment,
            log=self.directory / f"writer-{number}.log",
        )

    def kill_one(self, chance: random.Random) -> None:
        alive = [place for place in self.places if place.alive]
        if alive:
            chance.choice(alive).kill()
            self.kills += 1

    def replace(self) -> bool:
        """Start again what was killed; gives whether all have done their share."""
        for number, place in enumerate(self.places, 1):
            if place.alive:
                continue
            left = self._share(number)
            if left > 0:
                incarnation = place.incarnation
                place = self.places[number - 1] = self._place(number, left)
                place.incarnation = incarnation
                place.start()
        return not any(place.alive for place in self.places)

    def kill(self) -> None:
        for place in self.places:
            place.kill()
