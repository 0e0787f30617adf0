"""`manage.py xkit_dump`: the definitions as an `objects` document."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.definitions import dump
from xkit_crm.management.base import XkitCommand


class Command(XkitCommand):
    help = "Write the active CRM objects and events as an objects document, for xkit_load."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", "-o", help="A file; standard output where not given.")

    def handle(self, *args: Any, **options: Any) -> None:
        text = json.dumps(dump(), indent=2, ensure_ascii=False) + "\n"
        if options["output"]:
            try:
                Path(options["output"]).write_text(text, encoding="utf-8")
            except OSError as error:
                raise CommandError(
                    f"{options['output']} can't be written: {error.strerror or error}."
                ) from error
        else:
            self.stdout.write(text, ending="")
