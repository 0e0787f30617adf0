"""`manage.py xkit_demo`: the whole path, from a saved row to each customer's CRM, to be watched."""

from __future__ import annotations

import json
import threading
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection as database

import xkit_crm
from example_project.documents import customers, story
from example_project.documents.serving import site
from xkit_crm.client import XkitClient
from xkit_crm.models import APIKey, Connection

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from xkit_crm.testing.live.tryton import Tryton

DEFINITIONS = Path(__file__).resolve().parents[3] / "crm_objects.json"
LOGIN = "demo"


class Command(BaseCommand):
    help = (
        "Make a fresh SQLite database, save rows in a small e-signature product, show what two "
        "customers' CRMs make of them, and serve the site."
    )
    # The first thing it does is to throw the database away.
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-server",
            action="store_true",
            help="End after the story: with status 0 only if every step really happened.",
        )
        parser.add_argument(
            "--tryton",
            action="store_true",
            help="A third customer, whose CRM is a real Tryton that is started beside (from PyPI).",
        )
        parser.add_argument("--port", type=int, default=8000, help="Default: 8000.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from rich.console import Console
        except ImportError as error:
            raise CommandError("The demo needs rich: pip install 'xkit_crm[demo]'.") from error
        console = Console()
        self._fresh_database()
        changes = xkit_crm.define(json.loads(DEFINITIONS.read_text(encoding="utf-8")))
        console.print(f"A fresh database; {len(changes)} objects and events are defined.")
        customers.acme()
        customers.globex()
        with _tryton(console) if options["tryton"] else nullcontext() as crm:
            if crm is not None:
                customers.initech(crm.credentials)
            self._tell_and_serve(console, options)

    def _tell_and_serve(self, console: Console, options: dict[str, Any]) -> None:
        serve = not options["no_server"]
        User.objects.create_superuser(LOGIN, password=LOGIN)
        key, secret = APIKey.objects.issue("demo")
        try:
            with site(options["port"] if serve else 0) as address:
                client = XkitClient(f"{address}/api/v1", key.publishable_key, secret)
                more = story.tryton_steps() if options["tryton"] else []
                failed = _tell(console, [*story.steps(client), *more])
                for connection in Connection.objects.filter(provider="sandbox"):
                    console.print(_crm(connection))
                if failed:
                    raise CommandError(f"{failed} step(s) did not happen as they should.")
                console.print("Every step happened.", style="bold green")
                if serve:
                    self.stdout.write(_manual(address, key.publishable_key, secret))
                    self.stdout.flush()
                    with suppress(KeyboardInterrupt):
                        threading.Event().wait()
        except OSError as error:
            raise CommandError(
                f"Port {options['port']} can't be served: {error.strerror}. Choose another with "
                "--port."
            ) from error

    def _fresh_database(self) -> None:
        if database.vendor != "sqlite":
            raise CommandError(
                "The demo throws its database away, so it uses SQLite only: unset XKIT_DATABASE."
            )
        database.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{database.settings_dict['NAME']}{suffix}").unlink(missing_ok=True)
        call_command("migrate", verbosity=0)


@contextmanager
def _tryton(console: Console) -> Iterator[Tryton]:
    """A Tryton of our own, for as long as the demo takes."""
    from xkit_crm.testing.live.tryton import NotInstalled, tryton

    console.print("Starting Tryton; the first time it is installed, which takes half a minute.")
    try:
        with tryton() as crm:
            console.print(
                f"Tryton is at {crm.url}: database {crm.database}, user {crm.user}, "
                f"password {crm.password}"
            )
            yield crm
    except NotInstalled as error:
        raise CommandError(str(error)) from error


# -- drawing --------------------------------------------------------------------------------------


def _tell(console: Console, steps: list[story.Step]) -> int:
    """Play every step in a table that grows; gives how many did not happen as they should."""
    from rich.live import Live
    from rich.spinner import Spinner

    outcomes: list[story.Outcome] = []
    with Live(console=console, refresh_per_second=10) as live:
        for number, step in enumerate(steps, 1):
            table = _story(outcomes)
            doing = Spinner("dots", f"[dim]{number} of {len(steps)}[/]  {step.title}")
            table.add_row(doing, "", "", "")
            live.update(table)
            outcomes.append(story.play(step))
        live.update(_story(outcomes))
    console.print()
    for outcome in outcomes:
        for problem in outcome.problems:
            console.print(f"{outcome.step.title}: {problem}", style="red", markup=False)
    return sum(bool(outcome.problems) for outcome in outcomes)


def _story(outcomes: Iterable[story.Outcome]) -> Table:
    from rich.table import Table

    table = Table(title="What was saved, and what came of it", title_justify="left", expand=True)
    table.add_column("In the product", ratio=5)
    table.add_column("Event", ratio=3, overflow="fold")
    table.add_column("In the CRM", ratio=4)
    table.add_column("", width=2)
    for outcome in outcomes:
        fired = outcome.invocations
        table.add_row(
            outcome.step.title,
            "\n".join(i.event.slug for i in fired) or "[dim]none[/]",
            "\n".join(_told(i) for i in fired) or "[dim]untouched[/]",
            "[red]✗[/]" if outcome.problems else "[green]✓[/]",
        )
    return table


def _told(invocation: Any) -> str:
    tries = f", try {invocation.tries}" if invocation.tries > 1 else ""
    return f"{invocation.record_id or '—'} [dim]{invocation.status}{tries}[/]"


def _crm(connection: Connection) -> Table:
    from rich.table import Table

    table = Table(title=f"What {connection.pk}'s CRM holds now", title_justify="left", expand=True)
    table.add_column("Record", no_wrap=True)
    table.add_column("Values", ratio=1)
    for record in story.held(connection):
        filled = {name: value for name, value in record.values.items() if value != ""}
        values = "  ".join(f"[dim]{name}[/] {value}" for name, value in filled.items())
        table.add_row(record.record_id, values)
    return table


def _manual(address: str, publishable_key: str, secret: str) -> str:
    """Which pages to open, and the seed's three requests."""
    moment = '"2022-05-17T23:17:53Z"'
    requests = (
        ("opportunity/events/create_opportunity_for_document", '"name": "Apple Sales Contract"'),
        (
            "opportunity/Opportunity:09876/events/document_updated",
            f'"name": "Sales Contract", "updated_at": {moment}',
        ),
        ("contact/Contact:45322/events/contact_deleted", f'"deleted_at": {moment}'),
    )
    lines = [
        "",
        f"Open {address}/ and follow its links; log in as {LOGIN} with the password {LOGIN}.",
        "Change a document there: below its form is its CRM record, with what was written to it.",
        f"All that the CRMs hold is at {address}/admin/xkit_sandbox/record/.",
        "",
        "Or call the API:",
        "",
        *(
            f"curl -u {publishable_key}:{secret} {address}/api/v1/crm/acme/objects/{path} "
            f"-d '{{\"payload\": {{{payload}}}}}'"
            for path, payload in requests
        ),
        "",
        "Stop with Ctrl-C.",
    ]
    return "\n".join(lines)
