"""`manage.py xkit_mapping export|import`: a connection's mapping as JSON."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from django.db import router, transaction

from xkit_crm import mappings
from xkit_crm.exceptions import XkitError
from xkit_crm.management.mappings import MappingCommand
from xkit_crm.management.showing import UNSETTLED, as_command_error, read_json
from xkit_crm.mapping.documents import differences
from xkit_crm.models import Connection, MappingVersion
from xkit_crm.providers import descriptions


class Command(MappingCommand):
    help = (
        "Write the mapping in force as JSON, or put one in force. An import ends with status 3 "
        "where the CRM lacks something of it: events that need it wait."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="export|import")
        export = actions.add_parser("export", help="Write what is in force to standard output.")
        load = actions.add_parser("import", help="Put a document in force. Says what changed.")
        for action in (export, load):
            action.add_argument("--connection", metavar="ID", required=True)
        load.add_argument("file", help="The document, in JSON; - for standard input.")
        load.add_argument("--dry-run", action="store_true", help="Say it; change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = Connection.objects.filter(pk=options["connection"]).first()
        if connection is None:
            raise CommandError(f"There is no connection {options['connection']!r}.")
        if options["action"] == "export":
            document = mappings.in_force(connection)
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self._import(connection, read_json(options["file"]), dry_run=options["dry_run"])

    def _import(self, connection: Connection, document: Any, *, dry_run: bool) -> None:
        using = router.db_for_write(MappingVersion)
        before = mappings.in_force(connection)
        try:
            with transaction.atomic(using=using):
                mappings.put_in_force(connection, document, author="xkit_mapping import")
                after = mappings.in_force(connection)
                if dry_run:
                    transaction.set_rollback(True, using=using)
        except XkitError as error:
            raise as_command_error(error) from error
        changes = differences(before, after)
        for change in changes:
            self.stdout.write(str(change))
        missing = self._missing(
            connection, {slug: after[slug] for slug in document if slug in after}
        )
        if not changes:
            self.stdout.write("Nothing to change.")
        elif dry_run:
            self.stdout.write("Nothing was changed: this was a dry run.")
        else:
            self.stdout.write(f"In force as version {connection.mapping_version}.")
        if missing:
            raise CommandError(
                f"{missing:,} thing(s) are missing, see above.", returncode=UNSETTLED
            )

    def _missing(self, connection: Connection, document: Mapping[str, Any]) -> int:
        """Tell what the CRM lacks of it; gives how many things."""
        try:
            # As the CRM is now, not as it was some minutes ago.
            descriptions.forget(connection)
            found = mappings.drift(connection, document)
        except XkitError as error:
            self.say_that_it_is_silent(connection, error)
            return 0
        named = {slug: state for slug, state in found.items() if slug in document}
        return self.tell_missing(connection, named, undecided=False)
