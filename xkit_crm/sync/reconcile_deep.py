"""Reconcile with the CRM itself: read every linked record and compare it field by field.

`manage.py xkit_reconcile --deep` and the admin call `reconcile_deep`. The digests on a record link
tell who changed what: `written` knows each remote field as we wrote it last, `delivered` each
payload key. It costs the customer one read for each record (or batch of them), and writes nothing
unless it is told to.
"""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models

from xkit_crm import catalogue
from xkit_crm.delivery import backends, outbox
from xkit_crm.exceptions import (
    ConfigurationError,
    ConnectionNotEnabled,
    CRMError,
    MappingIncomplete,
    NotFound,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    UnknownRecord,
    XkitError,
)
from xkit_crm.invoking import find_connection, require_enabled
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import KEYED
from xkit_crm.models import Connection, RecordLink
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.base import RecordRef, RemoteRecord
from xkit_crm.sync import drift, echo, planning, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.calling import Caller
from xkit_crm.sync.drift import ChangedBy
from xkit_crm.sync.reconcile import bound, changed_keys, volatile_keys

#: What befalls one connection and stops no other.
_OF_ONE = (CRMError, ConnectionNotEnabled, MappingIncomplete, ConfigurationError, NotFound)


class State(enum.StrEnum):
    """How a linked row and its record stand to each other."""

    IN_STEP = "in step"
    DRIFTED = "drifted"
    GONE = "gone in the CRM"
    ROW_GONE = "row gone"
    STRAYED = "strayed"
    LEFT_OUT = "left out"
    ON_ITS_WAY = "on its way"
    INVALID = "invalid"
    OPTED_OUT = "opted out"


@dataclass(frozen=True, slots=True)
class Drift:
    """One field of one record that is not what we would write, or a record that is gone.

    `ours` and `theirs` may be personal data: show them to those only who ask for them.
    """

    connection_id: str
    pk: str
    record_id: str
    field: str
    ours: Any
    theirs: Any
    changed_by: ChangedBy


@dataclass(frozen=True, slots=True)
class DeepResult:
    """What was found of one binding in one connection."""

    connection_id: str
    model: str
    crm_object: str
    counts: Mapping[State, int]
    #: Fields that drifted, by who changed them.
    fields: Mapping[ChangedBy, int]
    #: Events that were queued, by their slugs.
    queued: Mapping[str, int]
    #: Why nothing, or not everything, could be compared.
    problem: str = ""

    @property
    def unsettled(self) -> int:
        """Records that differ and stay so."""
        differ = self.counts.get(State.DRIFTED, 0) + self.counts.get(State.GONE, 0)
        # The problem may be that of one of those.
        unread = max(self.counts.get(State.INVALID, 0), int(bool(self.problem)))
        return differ - sum(self.queued.values()) + unread


def reconcile_deep(
    models_: Iterable[type[models.Model]] | None = None,
    connection: Connection | str | None = None,
    *,
    fix: bool = False,
    create: bool = False,
    rate: float | None = None,
    batch_size: int = walking.BATCH_SIZE,
    progress: Callable[[int], object] | None = None,
    found: Callable[[Drift], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[DeepResult, ...]:
    """Compare every linked row of these models (None: of all that are bound) with its record.

    In one connection, or in all that are enabled; there a CRM that can't be read is told in its
    result and stops no other. `rate` limits the calls per second to each CRM. With `fix` the
    update event of every row that drifted is queued, which makes the record what the row says,
    whoever changed it; with `create` too, a record that is gone in the CRM is made again.

    Raises `ConfigurationError` for a model without binding, `UnknownConnection`,
    `ConnectionNotEnabled`, and, for a connection that was named, the `CRMError` branch.
    """
    only = None if connection is None else find_connection(connection)
    if only is not None:
        require_enabled(only)
    results: list[DeepResult] = []
    seen = 0

    def done(count: int) -> None:
        nonlocal seen
        seen += count
        if progress is not None:
            progress(seen)

    for binding in bound(models_):
        for each in [only] if only is not None else _connections(binding):
            run = _Run(binding, each, fix=fix, create=create, found=found, done=done)
            try:
                run.walk(Caller(each, rate=rate, sleep=sleep), batch_size)
            except _OF_ONE as error:
                if only is not None:
                    raise
                run.problem = str(error)
            results.append(run.result())
    return tuple(results)


def _connections(binding: Binding) -> Iterator[Connection]:
    """The enabled connections in which rows of this binding are linked."""
    linked = RecordLink.objects.filter(
        content_type=ContentType.objects.get_for_model(binding.model),
        crm_object__slug=binding.crm_object,
    )
    yield from Connection.objects.filter(
        status=ConnectionStatus.ENABLED, pk__in=linked.values("connection_id")
    ).order_by("pk")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A row and its link, as they were before the CRM was asked."""

    row: models.Model
    link: RecordLink
    payload: Mapping[str, Any]


@dataclass
class _Run:
    """One binding in one connection."""

    binding: Binding
    connection: Connection
    fix: bool
    create: bool
    found: Callable[[Drift], object] | None
    done: Callable[[int], None]
    counts: Counter[State] = field(default_factory=Counter)
    fields: Counter[ChangedBy] = field(default_factory=Counter)
    queued: Counter[str] = field(default_factory=Counter)
    problem: str = ""

    def result(self) -> DeepResult:
        return DeepResult(
            connection_id=self.connection.pk,
            model=self.binding.model._meta.label,
            crm_object=self.binding.crm_object,
            counts={state: self.counts[state] for state in State if self.counts[state]},
            fields={by: self.fields[by] for by in ChangedBy if self.fields[by]},
            queued=dict(self.queued),
            problem=self.problem,
        )

    def walk(self, caller: Caller, batch_size: int) -> None:
        """Every linked row of the binding, in batches as large as the CRM takes them."""
        self.updates = planning.side(self.binding, self.connection, "on_update")
        self.creates = planning.side(self.binding, self.connection, "on_create")
        sides = [side for side in (self.updates, self.creates) if side is not None]
        if sides and all(side.does_nothing for side in sides):
            self._pass_over()
            return
        shape = next((side for side in sides if side.writes_fields), None)
        if shape is None:
            self.problem = "its events write no fields here, so there is nothing to compare"
            return
        self.volatile = volatile_keys(self.binding)
        self.stamps = {
            t.field: t.key
            for t in shape.action.transformations
            if t.kind in KEYED and t.key in self.volatile
        }
        self.described = caller(partial(shape.decision.fields, caller.provider))
        self.relations = walking.Relations(self.binding)
        for links in walking.pages(self._links(), batch_size):
            # The customer may have disconnected their CRM since the page before.
            require_enabled(find_connection(self.connection.pk))
            pairs = self._pairs(links, shape)
            size = max(caller.provider.batch_size, 1)
            for start in range(0, len(pairs), size):
                self._compare(pairs[start : start + size], shape, caller)
            self.done(len(links))

    def _links(self) -> models.QuerySet[RecordLink]:
        return RecordLink.objects.filter(
            connection_id=self.connection.pk,
            content_type=ContentType.objects.get_for_model(self.binding.model),
            crm_object_id=catalogue.crm_object(self.binding.crm_object).id,
        )

    def _pass_over(self) -> None:
        """The customer wants nothing done, so that nothing can be otherwise than it should."""
        if count := self._links().count():
            self.counts[State.OPTED_OUT] = count
            self.done(count)

    # -- ours

    def _pairs(self, links: Sequence[RecordLink], shape: planning.Side) -> list[_Pair]:
        """The linked rows that can be compared, with their payloads."""
        pks = {link.object_pk for link in links}
        there = walking.walked(self.binding.model).filter(pk__in=pks)
        rows = {str(row.pk): row for row in there}
        # Rows that the default manager hides are neither compared nor gone.
        left = pks - rows.keys()
        gone = left - walking.existing(self.binding, left) if left else left
        self.relations.fetch(list(rows.values()), self._read)
        pairs = []
        for link in links:
            row = rows.get(link.object_pk)
            if row is None:
                self.counts[State.ROW_GONE] += link.object_pk in gone
            elif link.record_id.partition(":")[0] != shape.decision.remote_object:
                self.counts[State.STRAYED] += 1  # mapped to another remote object since
            elif not self._goes_there(row):
                left_out = walking.is_left_out(self.binding, row)
                self.counts[State.LEFT_OUT if left_out else State.STRAYED] += 1
            else:
                payload, problems = walking.payload_of(self.binding, shape.event, row)
                if problems:
                    self.counts[State.INVALID] += 1
                else:
                    pairs.append(_Pair(row, link, payload))
        return pairs

    def _read(self, row: models.Model) -> None:
        sides = (self.updates, self.creates)
        walking.read_all(self.binding, row, *(side.event for side in sides if side))

    def _goes_there(self, row: models.Model) -> bool:
        ids = walking.connection_ids_of(self.binding, row)
        return not isinstance(ids, Problem) and self.connection.pk in ids

    # -- theirs

    def _compare(self, pairs: Sequence[_Pair], shape: planning.Side, caller: Caller) -> None:
        asked = sorted(
            t.field
            for t in shape.action.transformations
            if t.field in self.described and self.described[t.field].readable
        )
        answers = caller(partial(_read_many, caller, [p.link.record_id for p in pairs], asked))
        # What was saved or delivered since the row was read would look like drift.
        standing = walking.standing(
            self.binding, [pair.link.object_pk for pair in pairs], [self.connection.pk]
        )
        drifted: list[_Pair] = []
        gone: list[_Pair] = []
        for pair, answer in zip(pairs, answers, strict=True):
            place = (pair.link.object_pk, self.connection.pk)
            link = standing.links.get(place)
            moved = link is None or link.delivered != pair.link.delivered
            if place in standing.open or moved:
                self.counts[State.ON_ITS_WAY] += 1
            elif isinstance(answer, RemoteRecord):
                drifts = list(self._drifts(pair, answer, shape))
                self.counts[State.DRIFTED if drifts else State.IN_STEP] += 1
                if drifts:
                    drifted.append(pair)
                for one in drifts:
                    self._tell(one)
            elif isinstance(answer, RemoteRecordNotFound | UnknownRecord):
                self.counts[State.GONE] += 1
                gone.append(pair)
                self._tell(self._drift(pair, "", None, None, ChangedBy.CRM))
            else:
                self.counts[State.INVALID] += 1
                self.problem = self.problem or str(answer)
        if self.fix:
            self._put_right(drifted, gone if self.create else [])

    def _drifts(self, pair: _Pair, record: RemoteRecord, shape: planning.Side) -> Iterator[Drift]:
        values = resolving.resolve(
            shape.action,
            pair.payload,
            fields=self.described,
            creating=False,
            current=record.values,
            ours=echo.ours(pair.link.written, record.values),
        )
        changed = changed_keys(pair.payload, pair.link.delivered, self.volatile)
        stamped = set(changed_keys(pair.payload, pair.link.delivered, ())).difference(changed)
        for name in drift.differing(values, record.values, self.described):
            ours, theirs = values[name], record.values.get(name)
            by = drift.changed_by(
                ours, theirs, pair.link.written.get(name), payload_changed=bool(changed)
            )
            if self.stamps.get(name) in stamped:
                # That every save changes ours is no change.
                if by in (ChangedBy.PRODUCT, ChangedBy.MAPPING):
                    continue
                by = ChangedBy.CRM if by is ChangedBy.BOTH else by
            yield self._drift(pair, name, ours, theirs, by)

    def _drift(self, pair: _Pair, name: str, ours: Any, theirs: Any, by: ChangedBy) -> Drift:
        link = pair.link
        return Drift(
            self.connection.pk, link.object_pk, link.record_id, name, ours, theirs, changed_by=by
        )

    def _tell(self, one: Drift) -> None:
        if one.field:
            self.fields[one.changed_by] += 1
        if self.found is not None:
            self.found(one)

    # -- putting it right

    def _put_right(self, drifted: Sequence[_Pair], gone: Sequence[_Pair]) -> None:
        """Queue updates of what drifted, and make what is gone again."""
        if drifted or gone:
            self.queued += again_on_conflict(partial(self._written, drifted, gone))

    def _written(self, drifted: Sequence[_Pair], gone: Sequence[_Pair]) -> Counter[str]:
        """What was queued by that, from the rows as they are."""
        lost = {pair.link.object_pk: pair.link for pair in gone}
        captured: list[outbox.Captured] = []
        queued: Counter[str] = Counter()
        unlinked: list[int] = []
        with walking.writing(self.binding) as (theirs, home):
            pks = [pair.row.pk for pair in (*drifted, *gone)]
            rows = walking.locked(self.binding, pks, using=theirs)
            self.relations.fetch(rows, self._read)
            as_read = _as_read(lost.values())
            for row in rows:
                named = walking.row_of(self.binding, row)
                if named.pk in lost and lost[named.pk] not in as_read:
                    continue  # somebody has linked the row to another record, or unlinked it
                side = self.creates if named.pk in lost else self.updates
                if side is None or side.does_nothing or not self._goes_there(row):
                    continue
                payload, problems = walking.payload_of(self.binding, side.event, row)
                if problems:
                    continue  # it is reported as invalid by the next run
                if named.pk in lost:
                    unlinked.append(lost[named.pk].pk)
                captured.append(
                    outbox.Captured(side.event.id, payload, [self.connection.pk], named)
                )
                queued[side.event.slug] += 1
            RecordLink.objects.filter(pk__in=unlinked).delete()
            lanes = outbox.put_many(captured, using=home, priority=Priority.BACKGROUND)
            if lanes:
                backends.poke_on_commit(lanes, using=home)
        return queued


def _as_read(links: Iterable[RecordLink]) -> set[RecordLink]:
    """Those of the links that still lead to the same record, locked so that they go on to."""
    known = {link.pk: link.record_id for link in links}
    if not known:
        return set()
    found = RecordLink.objects.filter(pk__in=known).order_by("pk").select_for_update()
    return {link for link in found if link.record_id == known[link.pk]}


def _read_many(
    caller: Caller, record_ids: Sequence[str], fields: Sequence[str]
) -> Sequence[RemoteRecord | XkitError]:
    """The records, or for each what is the matter with it; raises what befell the call."""
    refs = [RecordRef.parse(record_id) for record_id in record_ids]
    answers = caller.provider.get_many(refs, fields)
    for answer in answers:
        if isinstance(answer, XkitError) and not isinstance(
            answer, RemoteRecordNotFound | UnknownRecord | RejectedByCRM
        ):
            raise answer
    return answers
