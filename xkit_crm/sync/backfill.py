"""Backfill: link and create in a customer's CRM what the product had before it was connected.

`manage.py xkit_backfill` and the admin call `backfill`. Every row of a bound model that goes to
the connection and has no link yet is looked for in the CRM, by the fields that the mapping writes:
a record that is found is linked, a row that isn't gets its create event, behind everything that
people are waiting for. Nothing is kept of how far it came: a row that is linked or under way is
passed over, so the next run goes on where this one was stopped, and may even run beside it.
"""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import models

from xkit_crm import catalogue, mappings, signals
from xkit_crm.delivery import backends, outbox
from xkit_crm.exceptions import ConfigurationError, Problem, RejectedByCRM
from xkit_crm.invoking import find_connection, require_enabled
from xkit_crm.mapping import resolving
from xkit_crm.models import Connection, RecordLink
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.base import RemoteRecord
from xkit_crm.sync import drift, matching, planning, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.calling import Caller
from xkit_crm.sync.digests import digests, fingerprints
from xkit_crm.sync.findings import MAX_FINDINGS
from xkit_crm.sync.rivals import Rivals


class Outcome(enum.StrEnum):
    """What becomes of a row."""

    LINKED = "linked"
    CREATED = "created"
    ALREADY_LINKED = "already linked"
    ON_ITS_WAY = "on its way"
    HANDED_OVER = "handed over"
    FAILED_BEFORE = "failed before"
    AMBIGUOUS = "ambiguous"
    INVALID = "invalid"
    NOT_FOUND = "not found"
    ELSEWHERE = "elsewhere"
    LEFT_OUT = "left out"
    DELETED = "deleted"


#: What is left to a person.
UNSETTLED = (Outcome.AMBIGUOUS, Outcome.INVALID, Outcome.FAILED_BEFORE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that needs a person: which one, and why."""

    pk: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """What was done, or with `dry_run` what would be."""

    connection_id: str
    model: str
    crm_object: str
    dry_run: bool
    #: What rows were matched on; none where matching was off.
    keys: matching.Keys
    #: Rows by what became of them.
    counts: Mapping[Outcome, int]
    #: Linked rows that differ from their record, so that their update event was queued.
    updates: int
    #: Created rows that have no value in any of the fields to match on.
    without_key: int
    #: The first rows that need a person.
    findings: tuple[Finding, ...]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def unsettled(self) -> int:
        """Rows that only a person can settle."""
        return sum(self.counts.get(outcome, 0) for outcome in UNSETTLED)


def backfill(
    model: type[models.Model] | models.QuerySet[Any],
    connection: Connection | str,
    *,
    crm_object: str | None = None,
    match: Iterable[Sequence[str]] | None = None,
    dry_run: bool = False,
    rate: float | None = None,
    batch_size: int = walking.BATCH_SIZE,
    retry_failed: bool = False,
    progress: Callable[[int], object] | None = None,
    found: Callable[[Finding], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> BackfillResult:
    """Link or create in the connection's CRM what this model's rows (or a queryset's) are there.

    `match` lists the keys to look a row up by, each of one or several remote fields that must all
    be equal; the next key is tried where the one before finds nothing. None takes those that the
    mapping names (`matching.propose`), an empty list creates without looking. `rate` limits the
    calls per second. `progress` is told how many rows are done, `found` each row that needs a
    person. `crm_object` is needed where the model is bound to several.

    With `dry_run` the CRM is asked and nothing is written. Raises `UnknownConnection`,
    `ConnectionNotEnabled` (also where that happens meanwhile), `MappingIncomplete`,
    `ConfigurationError` and the `CRMError` branch; what was done before an error stays done.
    """
    rows = walking.walked(model)
    binding = _only_binding(rows.model, crm_object)
    connection = find_connection(connection)
    require_enabled(connection)
    caller = Caller(connection, rate=rate, sleep=sleep)
    match = None if match is None else [*match]
    run = _Run(
        planning.plan(binding, connection, caller, match),
        caller,
        match=match,
        dry_run=dry_run,
        retry_failed=retry_failed,
        found=found,
    )
    done = 0
    for page in walking.pages(rows, batch_size):
        run.do(page)
        done += len(page)
        if progress is not None:
            progress(done)
    return run.result()


def _only_binding(model: type[models.Model], crm_object: str | None) -> Binding:
    bound = walking.bindings_of(model, crm_object)
    if len(bound) > 1:
        raise ConfigurationError(
            f"{model._meta.label} is bound to several CRM objects.",
            hint=f"Say which one: {', '.join(sorted(b.crm_object for b in bound))}.",
        )
    return bound[0]


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to become of one row."""

    outcome: Outcome
    detail: str = ""
    record: RemoteRecord | None = None
    update: bool = False
    without_key: bool = False

    @property
    def writes(self) -> bool:
        return self.outcome in (Outcome.LINKED, Outcome.CREATED)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A row and the record that was found for it."""

    #: The update to be queued; None where the record has it all, or can't be updated.
    payload: Mapping[str, Any] | None = None
    problem: str = ""
    delivered: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Writes:
    """What is written for a page of rows."""

    captured: list[outbox.Captured] = field(default_factory=list)
    links: list[RecordLink] = field(default_factory=list)


class _Outdated(Exception):
    """The customer decided otherwise since the plan was made."""


@dataclass
class _Run:
    """One backfill, page by page."""

    plan: planning.Plan
    caller: Caller
    match: Iterable[Sequence[str]] | None
    dry_run: bool
    retry_failed: bool
    found: Callable[[Finding], object] | None
    counts: Counter[Outcome] = field(default_factory=Counter)
    updates: int = 0
    without_key: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: Records that a dry run would have linked by now.
    claimed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.relations = walking.Relations(self.plan.binding)

    def result(self) -> BackfillResult:
        return BackfillResult(
            connection_id=self.plan.connection.pk,
            model=self.plan.binding.model._meta.label,
            crm_object=self.plan.binding.crm_object,
            dry_run=self.dry_run,
            keys=self.plan.keys,
            counts={outcome: self.counts[outcome] for outcome in Outcome if self.counts[outcome]},
            updates=self.updates,
            without_key=self.without_key,
            findings=tuple(self.findings),
        )

    def do(self, page: Sequence[models.Model]) -> None:
        """One page, begun again where the customer decided otherwise before it was written."""
        while True:
            self._follow()
            with suppress(_Outdated):
                steps = self._done(page)
                break
        for pk, step in steps.items():
            self._count(pk, step)

    def _follow(self) -> None:
        """Go by what the customer has decided since the page before: they may map it otherwise now,
        have made fields for that, or have connected another account or none."""
        before = self.plan.connection
        connection = find_connection(before.pk)
        require_enabled(connection)
        known = (before.mapping_version, before.description_key)
        if (connection.mapping_version, connection.description_key) != known:
            self.caller.follow(connection)
            self.plan = planning.plan(self.plan.binding, connection, self.caller, self.match)

    def _done(self, page: Sequence[models.Model]) -> dict[str, _Step]:
        """First all that has to be asked, then all that is written, at once."""
        steps = self._looked_up(page)
        writes = {pk: step for pk, step in steps.items() if step.writes}
        if writes and not self.dry_run:
            pks = [row.pk for row in page if str(row.pk) in writes]
            steps |= again_on_conflict(partial(self._written, pks, writes))
        return steps

    def _count(self, pk: str, step: _Step) -> None:
        self.counts[step.outcome] += 1
        self.updates += step.update
        self.without_key += step.without_key
        if not step.detail:
            return
        finding = Finding(pk, step.outcome, step.detail)
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        if self.found is not None:
            self.found(finding)

    # -- asked first

    def _looked_up(self, page: Sequence[models.Model]) -> dict[str, _Step]:
        standing = self._standing(page)
        steps = {str(row.pk): self._passed_over(row, standing) for row in page}
        left = [row for row in page if steps[str(row.pk)] is None]
        self.relations.fetch(left, self._read)
        for row in left:
            steps[str(row.pk)] = self._not_ours(row) or self._searched(row)
        return self._without_taken({pk: step for pk, step in steps.items() if step is not None})

    def _standing(self, rows: Sequence[models.Model]) -> walking.Standing:
        pks = [str(row.pk) for row in rows]
        return walking.standing(self.plan.binding, pks, [self.plan.connection.pk])

    def _read(self, row: models.Model) -> None:
        """All that will be asked of a row, so that it can be read for a page at once."""
        sides = (self.plan.create, self.plan.update)
        walking.read_all(self.plan.binding, row, *(side.event for side in sides if side))

    def _passed_over(self, row: models.Model, standing: walking.Standing) -> _Step | None:
        place = (str(row.pk), self.plan.connection.pk)
        if place in standing.links:
            return _Step(Outcome.ALREADY_LINKED)
        if place in standing.open:
            return _Step(Outcome.ON_ITS_WAY)
        if place in standing.handed_over:
            return _Step(Outcome.HANDED_OVER)
        if place in standing.failed and not self.retry_failed:
            return _Step(
                Outcome.FAILED_BEFORE, "its create event failed: replay it, or use --retry-failed"
            )
        return None

    def _not_ours(self, row: models.Model) -> _Step | None:
        ids = walking.connection_ids_of(self.plan.binding, row)
        if isinstance(ids, Problem):
            return _Step(Outcome.INVALID, str(ids))
        if self.plan.connection.pk in ids:
            return None
        if not walking.is_left_out(self.plan.binding, row):
            return _Step(Outcome.ELSEWHERE)
        ids = walking.connections_of(self.plan.binding, row)
        elsewhere = not isinstance(ids, Problem) and self.plan.connection.pk not in ids
        return _Step(Outcome.ELSEWHERE if elsewhere else Outcome.LEFT_OUT)

    def _searched(self, row: models.Model) -> _Step:
        """What the CRM has of this row; the first key that finds something decides."""
        plan = self.plan
        if not plan.keys.keys and not self.dry_run:
            return _Step(Outcome.CREATED)  # its payload is made once it is locked
        payload, problems = walking.payload_of(plan.binding, plan.first.event, row)
        if problems:
            return _Step(Outcome.INVALID, _joined(problems))
        searches = list(self._searches(row, payload))
        for key, criteria in searches:
            try:
                step = self._one_search(row, key, criteria)
            except RejectedByCRM as error:
                return _Step(Outcome.INVALID, f"the CRM can't search for it: {error.message}")
            if step is not None:
                return step
        if plan.create is None:
            return _Step(Outcome.NOT_FOUND)
        return _Step(Outcome.CREATED, without_key=bool(plan.keys.keys) and not searches)

    def _searches(
        self, row: models.Model, payload: Mapping[str, Any]
    ) -> Iterable[tuple[matching.Key, Sequence[Any]]]:
        plan = self.plan
        if plan.shape is None:
            return
        if plan.shape is not plan.first:
            payload, _ = walking.payload_of(plan.binding, plan.shape.event, row)
        values = resolving.resolve(
            plan.shape.action, payload, fields=plan.fields, creating=True, current=None
        )
        for key in plan.keys.keys:
            if criteria := matching.criteria(key, values):
                yield key, criteria

    def _one_search(
        self, row: models.Model, key: matching.Key, criteria: Sequence[Any]
    ) -> _Step | None:
        plan = self.plan
        assert plan.shape is not None
        search = partial(
            self.caller.provider.search,
            plan.shape.decision.remote_object,
            criteria,
            plan.asked,
            limit=matching.LIMIT,
        )
        records = self.caller(search)
        if len(records) > 1:
            ids = ", ".join(str(record.ref) for record in records)
            more = ", ..." if len(records) == matching.LIMIT else ""
            return _Step(Outcome.AMBIGUOUS, f"{' and '.join(key)} is the same in {ids}{more}")
        if not records:
            return None
        update = self.dry_run and self._compared(row, records[0]).payload is not None
        return _Step(Outcome.LINKED, record=records[0], update=update)

    def _without_taken(self, steps: dict[str, _Step]) -> dict[str, _Step]:
        """No two rows are linked to one record: they would overwrite each other."""
        records = {pk: step.record for pk, step in steps.items() if step.record is not None}
        if not records:
            return steps
        rivals = Rivals.of(self.plan, records.values())
        for pk, record in records.items():
            record_id = str(record.ref)
            if record_id in self.claimed or rivals.has_another_row(record_id, pk):
                detail = f"{record_id} is linked to another row already"
                steps[pk] = _Step(Outcome.AMBIGUOUS, detail)
            elif rivals.has_row(record_id, pk):
                steps[pk] = _Step(Outcome.ALREADY_LINKED)  # by who works beside us
            elif rivals.may_be_being_made(record):
                detail = f"{record_id} may be what is being made of another row: run it again"
                steps[pk] = _Step(Outcome.AMBIGUOUS, detail)
            rivals.add(record_id, pk)
        if self.dry_run:
            self.claimed.update(str(record.ref) for record in records.values())
        return steps

    # -- written at once

    def _written(self, pks: Sequence[Any], steps: Mapping[str, _Step]) -> dict[str, _Step]:
        """Link and create what was decided, from the rows as they are now."""
        binding = self.plan.binding
        done = dict.fromkeys(steps, _Step(Outcome.DELETED))
        writes = _Writes()
        with walking.writing(binding) as (theirs, home):
            rows = walking.locked(binding, pks, using=theirs)
            steps = self._still_free(steps)
            standing = self._standing(rows)
            self.relations.fetch(rows, self._read)
            for row in rows:
                step = steps[str(row.pk)]
                known = self._passed_over(row, standing) or self._not_ours(row)
                done[str(row.pk)] = known or self._prepared(row, step, writes)
            RecordLink.objects.bulk_create(writes.links, batch_size=outbox.CHUNK)
            for link in writes.links:
                signals.send_on_commit(
                    signals.record_linked, RecordLink, using=home, link=link, created=True
                )
            lanes = outbox.put_many(writes.captured, using=home, priority=Priority.BACKGROUND)
            if lanes:
                backends.poke_on_commit(lanes, using=home)
        return done

    def _still_free(self, steps: Mapping[str, _Step]) -> Mapping[str, _Step]:
        """The same, without the records that another row was linked to meanwhile. Whoever else
        looks for one that is free waits from here on."""
        if all(step.record is None for step in steps.values()):
            return steps
        # After the rows, as a save does that captures its event for the connection.
        if mappings.lock(self.plan.connection) != self.plan.connection.mapping_version:
            raise _Outdated
        return self._without_taken(dict(steps))

    def _prepared(self, row: models.Model, step: _Step, writes: _Writes) -> _Step:
        if not step.writes:
            return step
        if step.record is None:
            return self._create(row, step, writes)
        return self._link(row, step.record, writes)

    def _create(self, row: models.Model, step: _Step, writes: _Writes) -> _Step:
        side = self.plan.first
        payload, problems = walking.payload_of(self.plan.binding, side.event, row)
        if problems:
            return _Step(Outcome.INVALID, _joined(problems))
        writes.captured.append(self._captured(side, payload, row))
        return step

    def _link(self, row: models.Model, record: RemoteRecord, writes: _Writes) -> _Step:
        compared = self._compared(row, record)
        named = walking.row_of(self.plan.binding, row)
        writes.links.append(
            RecordLink(
                content_type_id=named.content_type_id,
                object_pk=named.pk,
                connection_id=self.plan.connection.pk,
                crm_object_id=catalogue.crm_object(self.plan.binding.crm_object).id,
                record_id=str(record.ref),
                delivered=compared.delivered,
                written=compared.written,
            )
        )
        if compared.payload is not None and self.plan.update is not None:
            writes.captured.append(self._captured(self.plan.update, compared.payload, row))
        update = compared.payload is not None
        return _Step(Outcome.LINKED, compared.problem, record, update=update)

    def _captured(
        self, side: planning.Side, payload: Mapping[str, Any], row: models.Model
    ) -> outbox.Captured:
        return outbox.Captured(
            side.event.id,
            payload,
            [self.plan.connection.pk],
            walking.row_of(self.plan.binding, row),
        )

    def _compared(self, row: models.Model, record: RemoteRecord) -> _Comparison:
        """Whether the record has what an update would write.

        What a workflow would do can't be told from the record: such a row counts as delivered, so
        that linking runs nothing, and later changes do.
        """
        update = self.plan.update
        if update is None or update.does_nothing:
            return _Comparison()
        payload, problems = walking.payload_of(self.plan.binding, update.event, row)
        if problems:
            return _Comparison(
                problem=f"linked, but {update.event.slug} is invalid: {_joined(problems)}"
            )
        if not update.writes_fields:
            return _Comparison(delivered=digests(payload))
        values = resolving.resolve(
            update.action, payload, fields=self.plan.fields, creating=False, current=record.values
        )
        if drift.may_change(values, record.values, self.plan.fields):
            return _Comparison(payload)
        return _Comparison(delivered=digests(payload), written=fingerprints(values))


def _joined(problems: Iterable[Problem]) -> str:
    return "; ".join(map(str, problems))
