"""`manage.py xkit_worker`: carries out what waits in the database, until it is stopped."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from xkit_crm.delivery.worker import Worker
from xkit_crm.management.base import XkitCommand


class Command(XkitCommand):
    help = "Carry out waiting invocations, lane by lane, with retries. Run one or several."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Do what is due now, then end.")
        parser.add_argument(
            "--poll-interval",
            type=float,
            default=1.0,
            metavar="SECONDS",
            help="How long to wait where there was nothing to do (default: 1).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker(poll_interval=options["poll_interval"])
        if options["once"]:
            self.stdout.write(f"{worker.run_once()} carried out.")
            return
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: worker.stop())
        self.stdout.write("Working; stop with SIGTERM or Ctrl-C.")
        self.stdout.flush()
        self.stdout.write(f"Stopped after {worker.run()} invocation(s).")
