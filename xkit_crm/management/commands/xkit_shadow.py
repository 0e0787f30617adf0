"""`manage.py xkit_shadow`: what a connection would send, and the switch to send it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.delivery import shadow
from xkit_crm.management.base import XkitCommand
from xkit_crm.models import Connection


class Command(XkitCommand):
    help = "Report what a connection in shadow mode would send; start the mode, or go live."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("connection", help="The connection's id.")
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--start", action="store_true", help="Send nothing from now on.")
        switch.add_argument("--live", action="store_true", help="Send what waits, in its order.")
        switch.add_argument(
            "--discard", action="store_true", help="Go live without what waits: skip it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        connection = Connection.objects.filter(pk=options["connection"]).first()
        if connection is None:
            raise CommandError(f"There is no connection {options['connection']!r}.")
        if options["start"]:
            shadow.start(connection)
            self.stdout.write(f"{connection} is in shadow mode: nothing is sent.")
        elif options["live"] or options["discard"]:
            self._report(connection)
            count = shadow.go_live(connection, discard=options["discard"])
            done = "skipped" if options["discard"] else "released"
            self.stdout.write(f"{connection} is live; {count} invocation(s) {done}.")
        else:
            self._report(connection)

    def _report(self, connection: Connection) -> None:
        if not connection.shadow:
            raise CommandError(
                f"{connection} is not in shadow mode. Start it with --start.",
            )
        found = shadow.report(connection)
        self.stdout.write(f"{found.waiting} invocation(s) wait.")
        if found.not_rehearsed:
            self.stdout.write(f"{found.not_rehearsed} of them not rehearsed yet: a worker does it.")
        if found.writes:
            self.stdout.write(f"They would take {found.calls} call(s), of several each:")
        for (operation, target), count in sorted(found.writes.items()):
            self.stdout.write(f"  {count:>7}  {operation} {target}")
        if found.nothing:
            self.stdout.write(f"  {found.nothing:>7}  nothing to do")
        for message, count in found.problems.most_common():
            self.stdout.write(f"  {count:>7}  would fail: {message}")
