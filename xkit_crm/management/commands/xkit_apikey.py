"""`manage.py xkit_apikey create|list|revoke`: the keys of the HTTP API."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from xkit_crm.management.base import XkitCommand
from xkit_crm.models import APIKey


class Command(XkitCommand):
    help = "Make, list and revoke API keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="Make a key; its secret is shown once.")
        create.add_argument("name", help="Who uses it.")
        create.add_argument(
            "--context",
            action="append",
            dest="contexts",
            metavar="CONTEXT",
            help="Limit it to this owner's connections; may be given again.",
        )
        actions.add_parser("list", help="Every key, live and revoked.")
        revoke = actions.add_parser("revoke", help="Refuse a key from now on.")
        revoke.add_argument("publishable_key")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        key, secret = APIKey.objects.issue(options["name"], contexts=options["contexts"])
        self.stdout.write(f"publishable key  {key.publishable_key}")
        self.stdout.write(f"secret key       {secret}")
        self.stdout.write(self.style.WARNING("The secret is not stored and not shown again."))

    def _list(self, options: dict[str, Any]) -> None:
        for key in APIKey.objects.order_by("id"):
            state = "live" if key.is_live else f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
            used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
            contexts = "all" if key.contexts is None else ", ".join(key.contexts)
            self.stdout.write(
                f"{key.publishable_key}  {key.name}  {state}  last used: {used}  "
                f"contexts: {contexts}"
            )

    def _revoke(self, options: dict[str, Any]) -> None:
        key = APIKey.objects.filter(publishable_key=options["publishable_key"]).first()
        if key is None:
            raise CommandError(
                f"There is no publishable key {options['publishable_key']!r}; "
                "it is the first column of xkit_apikey list."
            )
        key.revoke()
        self.stdout.write(f"{key} is revoked.")
