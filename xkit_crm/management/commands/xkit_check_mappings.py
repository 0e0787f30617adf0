"""`manage.py xkit_check_mappings`: what the mappings in force miss of their CRMs, and of ours."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandError

from xkit_crm import mappings
from xkit_crm.exceptions import CRMError, XkitError
from xkit_crm.management.mappings import MappingCommand
from xkit_crm.models import Connection
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions


class Command(MappingCommand):
    help = (
        "Ask the CRM of every enabled connection whether the mapping in force still fits it, and "
        "what the product has defined since. What misses something waits until it is decided."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--connection", metavar="ID", help="Default: all that are enabled.")
        parser.add_argument(
            "--fail",
            action="store_true",
            help="End with status 1 where something is missing. What is only undecided, and a CRM "
            "that can't be asked, is told and is no failure.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        missing = 0
        for connection in _chosen(options["connection"]):
            try:
                # As the CRM is now, not as it was some minutes ago.
                descriptions.forget(connection)
                found = mappings.drift(connection)
            except XkitError as error:
                self.say_that_it_is_silent(connection, error)
                continue
            missing += self._tell(connection, found)
        if missing and options["fail"]:
            raise CommandError(f"{missing:,} thing(s) are missing, see above.", returncode=1)

    def _tell(self, connection: Connection, found: Mapping[str, mappings.State | CRMError]) -> int:
        """Gives how many things are missing."""
        if not found:
            self.stdout.write(f"{connection}: complete.")
        return self.tell_missing(connection, found, undecided=True)


def _chosen(connection_id: str | None) -> Iterator[Connection]:
    if connection_id is None:
        yield from Connection.objects.filter(status=ConnectionStatus.ENABLED).iterator()
        return
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is None:
        raise CommandError(f"There is no connection {connection_id!r}.")
    yield connection
