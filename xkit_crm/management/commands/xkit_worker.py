"""`manage.py xkit_worker`: carries out what waits in the database, until it is stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.delivery import health
from xkit_crm.delivery.worker import Worker
from xkit_crm.management.base import XkitCommand


class Command(XkitCommand):
    help = "Carry out waiting invocations, lane by lane, with retries. Run one or several."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Do what is due now, then end.")
        parser.add_argument(
            "--threads",
            type=int,
            default=4,
            metavar="N",
            help="Lanes worked in at the same time, each on a database connection (default: 4).",
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
        if options["threads"] < 1 or options["poll_interval"] <= 0:
            raise CommandError("--threads is 1 at least, and --poll-interval more than 0.")
        worker = Worker(threads=options["threads"], poll_interval=options["poll_interval"])
        if options["once"]:
            self.stdout.write(f"{worker.run_once()} carried out.")
            return
        self._watch(worker, options)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: worker.stop())
        self.stdout.write("Working; stop with SIGTERM or Ctrl-C.")
        self.stdout.flush()
        self.stdout.write(f"Stopped after {worker.run()} invocation(s).")

    def _watch(self, worker: Worker, options: dict[str, Any]) -> None:
        """Let others see that the worker is well."""
        worker.pulse.file = options["health_file"]
        try:
            if worker.pulse.file is not None:
                worker.pulse.file.touch()
            if options["probe"]:
                server = health.serve(worker.pulse, options["probe"])
                self.stdout.write(
                    f"Probe at http://{options['probe'].rpartition(':')[0]}"
                    f":{server.server_port}/ready"
                )
        except (OSError, ValueError, OverflowError) as error:
            raise CommandError(f"The worker can't be watched there: {error}.") from error
