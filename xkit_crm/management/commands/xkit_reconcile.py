"""`manage.py xkit_reconcile`: find what differs from what was delivered, and queue just that."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import models

from xkit_crm.exceptions import XkitError
from xkit_crm.management.base import XkitCommand
from xkit_crm.management.showing import (
    STOPPED,
    UNSETTLED,
    Progress,
    as_command_error,
    counted,
    model_named,
    positive,
)
from xkit_crm.sync import reconcile_deep as deep
from xkit_crm.sync.findings import Difference, ReconcileResult, State
from xkit_crm.sync.reconcile import bound, reconcile
from xkit_crm.sync.walking import BATCH_SIZE

#: Rows in these states are counted and not listed, since there may be very many of them.
_ONLY_COUNTED = (State.NOT_LINKED, State.HANDED_OVER)


class Command(XkitCommand):
    help = (
        "Find every linked row whose payload differs from what was last delivered, whatever "
        "changed it, and queue its update event. Ends with status 3 where something differs and "
        "was not queued."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("models", nargs="*", metavar="app.Model", help="Default: all bound.")
        parser.add_argument("--connection", metavar="ID", help="Default: all that are enabled.")
        parser.add_argument("--dry-run", action="store_true", help="Find and say; queue nothing.")
        parser.add_argument(
            "--create",
            action="store_true",
            help="Also create what has no record yet, without looking for one in the CRM; with "
            "--deep --fix, what was deleted in the CRM.",
        )
        parser.add_argument(
            "--no-delete",
            action="store_true",
            help="Leave the records of rows that are gone in the CRM.",
        )
        parser.add_argument("--batch-size", type=positive(int), default=BATCH_SIZE, metavar="ROWS")
        group = parser.add_argument_group("comparing with the CRM itself")
        group.add_argument(
            "--deep", action="store_true", help="Read every linked record, and compare it."
        )
        group.add_argument(
            "--fix",
            action="store_true",
            help="Queue the update event of what drifted; without it, --deep writes nothing.",
        )
        group.add_argument(
            "--show-values", action="store_true", help="Show values, which may be personal data."
        )
        group.add_argument(
            "--rate", type=positive(float), metavar="CALLS", help="Calls per second, at most."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _require_consistent(options)
        chosen = [model_named(label) for label in options["models"]] or None
        walk = self._deep if options["deep"] else self._digests
        try:
            progress = Progress(self.stderr, lambda: _count(chosen))
            left = walk(chosen, progress, options)
        except XkitError as error:
            raise as_command_error(error) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped; what was queued stays queued.", returncode=STOPPED) from (
                None
            )
        if left:
            raise CommandError(f"{left:,} difference(s) are left, see above.", returncode=UNSETTLED)

    # -- by digests

    def _digests(
        self,
        chosen: list[type[models.Model]] | None,
        progress: Progress,
        options: dict[str, Any],
    ) -> int:
        def tell(difference: Difference) -> None:
            if difference.state in _ONLY_COUNTED and not difference.queued:
                return
            progress.finish()
            self.stdout.write(_line(difference, dry_run=options["dry_run"]))

        results = reconcile(
            chosen,
            options["connection"],
            create=options["create"],
            delete=not options["no_delete"],
            dry_run=options["dry_run"],
            batch_size=options["batch_size"],
            progress=progress,
            found=tell,
        )
        progress.finish()
        for result in results:
            self._summarize(result)
        if options["dry_run"]:
            self.stdout.write("Nothing was queued: this was a dry run.")
        return sum(result.unsettled for result in results)

    def _summarize(self, result: ReconcileResult) -> None:
        self.stdout.write(f"{result.model} as {result.crm_object}:")
        if result.problem:
            self.stdout.write(self.style.WARNING(f"  {result.problem}"))
            return
        rows = [(state.value, count) for state, count in result.counts.items()]
        verb = "would be queued" if result.dry_run else "queued"
        rows += [(f"{slug} {verb}", count) for slug, count in result.queued.items()]
        for line in counted(rows or [("no row", 0)]):
            self.stdout.write(f"  {line}")
        if result.counts.get(State.NOT_LINKED, 0) and not result.queued:
            self.stdout.write(
                f"  Not linked: run manage.py xkit_backfill {result.model} --connection ID, or "
                "this with --create."
            )

    # -- by the CRM

    def _deep(
        self,
        chosen: list[type[models.Model]] | None,
        progress: Progress,
        options: dict[str, Any],
    ) -> int:
        def tell(drift: deep.Drift) -> None:
            progress.finish()
            self.stdout.write(_drift_line(drift, show_values=options["show_values"]))

        results = deep.reconcile_deep(
            chosen,
            options["connection"],
            fix=options["fix"] and not options["dry_run"],
            create=options["create"],
            rate=options["rate"],
            batch_size=options["batch_size"],
            progress=progress,
            found=tell,
        )
        progress.finish()
        for result in results:
            self._summarize_deep(result)
        return sum(result.unsettled for result in results)

    def _summarize_deep(self, result: deep.DeepResult) -> None:
        self.stdout.write(f"{result.model} as {result.crm_object} in {result.connection_id}:")
        if result.problem:
            self.stdout.write(self.style.WARNING(f"  {result.problem}"))
        rows = [(state.value, count) for state, count in result.counts.items()]
        rows += [(f"fields changed by: {by.value}", count) for by, count in result.fields.items()]
        rows += [(f"{slug} queued", count) for slug, count in result.queued.items()]
        for line in counted(rows):
            self.stdout.write(f"  {line}")


def _require_consistent(options: dict[str, Any]) -> None:
    for name in ("fix", "show_values", "rate"):
        if options[name] and not options["deep"]:
            raise CommandError(f"--{name.replace('_', '-')} goes with --deep.")
    if options["deep"] and options["no_delete"]:
        raise CommandError("--deep deletes nothing, so --no-delete doesn't go with it.")
    if options["deep"] and options["create"] and not options["fix"]:
        raise CommandError("With --deep, --create goes with --fix.")


def _count(chosen: Iterable[type[models.Model]] | None) -> int:
    return sum(binding.model._default_manager.count() for binding in bound(chosen))


def _line(difference: Difference, *, dry_run: bool) -> str:
    parts = [difference.connection_id or "-", difference.pk, difference.record_id or "-"]
    parts.append(difference.state.value + (f": {difference.detail}" if difference.detail else ""))
    if difference.queued:
        parts.append(f"-> {difference.queued}" + (" (not queued)" if dry_run else ""))
    return "  ".join(parts)


def _drift_line(drift: deep.Drift, *, show_values: bool) -> str:
    where = f"{drift.connection_id}  {drift.pk}  {drift.record_id}"
    if not drift.field:
        return f"{where}  gone in the CRM"
    values = f"  ours {_json(drift.ours)}  theirs {_json(drift.theirs)}" if show_values else ""
    return f"{where}  {drift.field}{values}  changed by: {drift.changed_by.value}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
