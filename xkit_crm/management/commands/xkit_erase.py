"""`manage.py xkit_erase`: takes the personal data of one row or record out of the log."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from xkit_crm.erasure import Erasure, erase, erase_record
from xkit_crm.exceptions import XkitError
from xkit_crm.management.base import XkitCommand
from xkit_crm.management.showing import UNSETTLED


class Command(XkitCommand):
    help = (
        "Replace what the log holds of a row (or a CRM record) by a marker. The log's shape stays, "
        "and what the CRM holds is not touched. Ends with status 3 where the log holds nothing "
        "of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("row", nargs="*", metavar="app.Model PK", help="The row.")
        parser.add_argument("--connection", metavar="ID", help="Only in this connection.")
        parser.add_argument(
            "--record",
            nargs=2,
            metavar=("CONNECTION", "RECORD_ID"),
            help="A record instead, such as acme Opportunity:09876.",
        )
        parser.add_argument(
            "--cancel",
            action="store_true",
            help="Skip the creates and updates that still wait. Deletes go out in any case.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count.")
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="Don't ask."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        step = self._step(options)
        try:
            found: Erasure = step(dry_run=True)
            if found == Erasure():
                raise CommandError(
                    "The log holds nothing more of it: is it named right?", returncode=UNSETTLED
                )
            if options["dry_run"]:
                self._tell("There would be erased", found)
                return
            if options["interactive"]:
                self._tell("There will be erased, for good", found)
                if not self._confirmed():
                    raise CommandError("Nothing was erased. Without a terminal, use --no-input.")
            self._tell("Erased", step(dry_run=False))
        except XkitError as error:
            raise CommandError(str(error)) from error

    def _confirmed(self) -> bool:
        try:
            return input("Type 'yes' to go on: ") == "yes"
        except EOFError:
            return False

    def _step(self, options: dict[str, Any]) -> Any:
        """What erases, once it is told whether to do it."""
        row, record = options["row"], options["record"]
        if bool(row) == bool(record) or len(row) not in (0, 2):
            raise CommandError("Name either a row (app.Model PK) or --record CONNECTION RECORD_ID.")
        if record:
            return partial(erase_record, *record, cancel=options["cancel"])
        label, pk = row
        try:
            model = apps.get_model(label)
            instance = model(pk=model._meta.pk.to_python(pk))
        except (LookupError, ValueError) as error:
            raise CommandError(f"{label!r} is no model: {error}") from error
        except ValidationError as error:
            raise CommandError(f"{pk!r} is no primary key of {label}.") from error
        return partial(erase, instance, connection=options["connection"], cancel=options["cancel"])

    def _tell(self, what: str, found: Erasure) -> None:
        self.stdout.write(
            f"{what}: {found.invocations} invocation(s), {found.attempts} attempt(s), "
            f"the digests of {found.links} link(s). "
            f"Cancelled: {found.cancelled}."
        )
