"""`manage.py xkit_backfill app.Model --connection ID`: link and create what exists already."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.exceptions import FieldError, ValidationError
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
from xkit_crm.sync.backfill import BackfillResult, Finding, Outcome, backfill
from xkit_crm.sync.walking import BATCH_SIZE

_WORDS = {
    Outcome.LINKED: ("linked to the record that matches", "would be linked to the one match"),
    Outcome.CREATED: ("create event queued", "would be created"),
    Outcome.ALREADY_LINKED: ("linked already", "linked already"),
    Outcome.ON_ITS_WAY: ("on their way already", "on their way already"),
    Outcome.HANDED_OVER: ("left to the CRM's workflow before", "left to the CRM's workflow before"),
    Outcome.FAILED_BEFORE: ("failed before", "failed before"),
    Outcome.AMBIGUOUS: ("ambiguous, left alone", "ambiguous"),
    Outcome.INVALID: ("invalid payload, left alone", "invalid payload"),
    Outcome.NOT_FOUND: ("no match, and no create event", "no match, and no create event"),
    Outcome.ELSEWHERE: ("not of this connection", "not of this connection"),
    Outcome.LEFT_OUT: ("don't meet the condition", "don't meet the condition"),
    Outcome.DELETED: ("deleted meanwhile", "deleted meanwhile"),
}


class Command(XkitCommand):
    help = (
        "Link the rows of a model to the records that a customer's CRM has already, and queue the "
        "create event of those it doesn't have. Run it again to go on where it was stopped. Ends "
        "with status 3 where rows are left to a person."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="app.Model")
        parser.add_argument("--connection", required=True, metavar="ID")
        parser.add_argument("--object", metavar="SLUG", help="Where it is bound to several.")
        match = parser.add_mutually_exclusive_group()
        match.add_argument(
            "--match",
            action="append",
            type=_key,
            metavar="FIELD[,FIELD]",
            help="Remote field(s) that are equal where a record is the row's; given again, the "
            "next is tried where the one before finds nothing. Default: the external id and the "
            "record's own email, where the mapping writes them.",
        )
        match.add_argument(
            "--no-match", action="store_true", help="Create every row, without looking."
        )
        parser.add_argument("--dry-run", action="store_true", help="Look and say; write nothing.")
        parser.add_argument(
            "--rate", type=positive(float), metavar="CALLS", help="Calls per second, at most."
        )
        parser.add_argument("--batch-size", type=positive(int), default=BATCH_SIZE, metavar="ROWS")
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            metavar="LOOKUP=VALUE",
            help="Only these rows, such as workspace=7 or workspace__in=7,9; may be given again.",
        )
        parser.add_argument(
            "--retry-failed", action="store_true", help="Also rows whose create event failed."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        rows = _filtered(model_named(options["model"]), options["filter"])
        progress = Progress(self.stderr, rows.count)
        try:
            result = backfill(
                rows,
                options["connection"],
                crm_object=options["object"],
                match=[] if options["no_match"] else options["match"],
                dry_run=options["dry_run"],
                rate=options["rate"],
                batch_size=options["batch_size"],
                retry_failed=options["retry_failed"],
                progress=progress,
                found=lambda finding: self._tell(finding, progress),
            )
        except XkitError as error:
            progress.finish()
            raise as_command_error(error) from error
        except KeyboardInterrupt:
            progress.finish()
            raise CommandError(
                "Stopped. Run it again; it goes on where it stopped.", returncode=STOPPED
            ) from None
        progress.finish()
        self._summarize(result)
        if result.unsettled:
            raise CommandError(
                f"{result.unsettled:,} row(s) need a person, see above.", returncode=UNSETTLED
            )

    def _tell(self, finding: Finding, progress: Progress) -> None:
        progress.finish()
        self.stdout.write(
            self.style.WARNING(f"{finding.pk}  {finding.outcome.value}: {finding.detail}")
        )

    def _summarize(self, result: BackfillResult) -> None:
        how = f"matched by {result.keys}" if result.keys.keys else "not matched"
        self.stdout.write(
            f"{result.model} as {result.crm_object} in {result.connection_id}: "
            f"{result.rows:,} row(s), {how}."
        )
        if result.keys.weak:
            self.stdout.write(
                f"Not matched by {', '.join(result.keys.weak)}: many records may have the same; "
                "say --match FIELD if yours don't."
            )
        for line in counted(_table(result)):
            self.stdout.write(f"  {line}")
        if result.dry_run:
            self.stdout.write("Nothing was written: this was a dry run.")


def _table(result: BackfillResult) -> list[tuple[str, int]]:
    rows: list[tuple[str, int]] = []
    for outcome, count in result.counts.items():
        rows.append((_WORDS[outcome][result.dry_run], count))
        if outcome is Outcome.LINKED and result.updates:
            rows.append(("  of these, update event queued as they differ", result.updates))
        if outcome is Outcome.CREATED and result.without_key:
            rows.append(("  of these, with no value to match by", result.without_key))
    return rows


def _filtered(model: type[models.Model], filters: list[str]) -> models.QuerySet[Any]:
    rows = model._default_manager.all()
    for text in filters:
        lookup, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--filter {text!r} has no value: write it as {text}=VALUE.")
        try:
            rows = rows.filter(**{lookup: _wanted(lookup, value)})
        except (FieldError, ValidationError, ValueError, TypeError) as error:
            raise CommandError(f"--filter {text!r} can't be used: {error}") from error
    return rows


def _wanted(lookup: str, value: str) -> str | bool | list[str]:
    """What was typed, as the lookup takes it. Django finds out too late, or takes a text for its
    letters. Raises `ValueError`."""
    if lookup.endswith("__isnull"):
        if value.lower() not in ("true", "false"):
            raise ValueError("it is True or False.")
        return value.lower() == "true"
    return value.split(",") if lookup.endswith(("__in", "__range")) else value


def _key(text: str) -> tuple[str, ...]:
    key = tuple(name.strip() for name in text.split(","))
    if not all(key):
        raise ArgumentTypeError("name a field, or several with commas between them")
    return key
