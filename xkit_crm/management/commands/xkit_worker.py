"""`manage.py xkit_worker`: carries out what waits in the database, until it is stopped."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import CommandError

from xkit_crm.delivery import health, lanes
from xkit_crm.delivery.processes import Processes
from xkit_crm.delivery.worker import Worker
from xkit_crm.management.base import XkitCommand

_Pulse = TypeVar("_Pulse", health.Pulse, health.Pulses)


class Command(XkitCommand):
    help = "Carry out waiting invocations, lane by lane, with retries. Run one or several."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Do what is due now, then end.")
        parser.add_argument(
            "--threads",
            type=int,
            default=4,
            metavar="N",
            help="Lanes that a process works in at the same time, each on a database connection "
            "(default: 4).",
        )
        parser.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="N",
            help="Workers, each with its threads in a process of its own, so that several cores "
            "are used (default: 1).",
        )
        parser.add_argument(
            "--poll-interval",
            type=float,
            default=0.05,
            metavar="SECONDS",
            help="How long to wait between two looks while there is no work (default: 0.05).",
        )
        parser.add_argument(
            "--health-file",
            type=Path,
            metavar="PATH",
            help="Touch this file whenever the worker has looked for work.",
        )
        parser.add_argument(
            "--probe",
            metavar="HOST:PORT",
            help="Answer GET /live and GET /ready there, with 200 or 503.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        threads, processes = options["threads"], options["processes"]
        if min(threads, processes) < 1 or options["poll_interval"] <= 0:
            raise CommandError(
                "--threads and --processes are 1 at least, and --poll-interval more than 0."
            )
        make = partial(Worker, threads=threads, poll_interval=options["poll_interval"])
        if options["once"]:
            if processes > 1:
                raise CommandError("--once is done by one process: leave out --processes.")
            self._run_once(make())
        elif processes > 1:
            self._run_many(Processes(processes, make), options)
        else:
            self._run(make(), options)

    def _run_once(self, worker: Worker) -> None:
        with _stopped_by_signals(worker.stop):
            told = f"{worker.run_once()} carried out."
        if held := lanes.count_held():
            told += f" Left to the workers that hold them: {held} lane(s)."
        self._say(told)

    def _run(self, worker: Worker, options: dict[str, Any]) -> None:
        self._watch(worker.pulse, options, health.serve)
        with _stopped_by_signals(worker.stop):
            self._say("Working; stop with SIGTERM or Ctrl-C.")
            self._say(f"Stopped after {worker.run()} invocation(s).")

    def _run_many(self, workers: Processes, options: dict[str, Any]) -> None:
        pulses = health.Pulses(workers.pulses)
        probe = self._watch(pulses, options, health.probe)
        count = options["processes"]
        with _stopped_by_signals(workers.stop):
            self._say(f"Working in {count} processes; stop with SIGTERM or Ctrl-C.")
            workers.run(probe=probe, watch=pulses.touch)
            self._say(f"Stopped all {count}.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _watch(
        self,
        pulse: _Pulse,
        options: dict[str, Any],
        serve: Callable[[_Pulse, str], HTTPServer],
    ) -> HTTPServer | None:
        """Let others see that the worker is well; gives what answers them, if anything does."""
        pulse.file = options["health_file"]
        try:
            if pulse.file is not None:
                pulse.file.touch()
            if not options["probe"]:
                return None
            server = serve(pulse, options["probe"])
        except (ValueError, OverflowError) as error:
            raise CommandError(
                f"--probe takes HOST:PORT, such as 0.0.0.0:8090, and not {options['probe']!r}."
            ) from error
        except OSError as error:
            raise CommandError(f"The worker can't be watched there: {error}.") from error
        host = options["probe"].rpartition(":")[0]
        self._say(f"Probe at http://{host}:{server.server_port}/ready")
        return server


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Whoever has a thread or a task run the command keeps its signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGTERM, signal.SIGINT)
    before = {name: signal.signal(name, lambda *_: stop()) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
