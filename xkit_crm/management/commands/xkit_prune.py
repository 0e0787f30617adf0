"""`manage.py xkit_prune`: deletes what is settled and older than it is kept, and rolls up what was
counted. Workers do both by themselves."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.delivery.retention import Keep, prune
from xkit_crm.delivery.rollup import roll_up
from xkit_crm.management.base import XkitCommand


class Command(XkitCommand):
    help = "Delete settled invocations that are older than KEEP_SUCCEEDED and KEEP_FAILED say."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than",
            type=int,
            metavar="DAYS",
            help="Keep what is done this long, in place of KEEP_SUCCEEDED. What failed stays.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count.")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["older_than"]
        if days is not None and days < 0:
            raise CommandError("--older-than takes a number of days, 0 or more.")
        keep = None if days is None else Keep(timedelta(days=days))
        if not options["dry_run"]:
            roll_up()
        count = prune(keep=keep, dry_run=options["dry_run"])
        what = "There would be deleted" if options["dry_run"] else "Deleted"
        self.stdout.write(f"{what}: {count} invocation(s).")
