"""`manage.py xkit_load FILE.json`: an `objects` document becomes CRM objects and events."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.definitions import define
from xkit_crm.exceptions import XkitError
from xkit_crm.management.base import XkitCommand
from xkit_crm.management.showing import as_command_error, read_json
from xkit_crm.models.definition_version import changed_by


class Command(XkitCommand):
    help = "Load an objects document: CRM objects and their events. Says what changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="The document, in JSON; - for standard input.")
        parser.add_argument(
            "--check",
            action="store_true",
            help="Change nothing; end with status 1 where something would change.",
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="Deactivate the objects and events that the document doesn't have.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        check = options["check"]
        document = read_json(options["file"])
        try:
            with changed_by(reason=f"xkit_load {options['file']}"):
                changes = define(document, prune=options["prune"], dry_run=check)
        except XkitError as error:
            raise as_command_error(error) from error
        for change in changes:
            style = {"+": self.style.SUCCESS, "-": self.style.ERROR}.get(
                change.sign, self.style.WARNING
            )
            self.stdout.write(style(str(change)))
        if not changes:
            self.stdout.write("Nothing to change.")
        elif check:
            raise CommandError(f"{len(changes)} change(s) to load.", returncode=1)
        else:
            self.stdout.write(f"{len(changes)} change(s) loaded.")
