"""Reconcile: find the rows that differ from what was last delivered, whatever changed them.

`manage.py xkit_reconcile` and the admin call `reconcile`. Raw SQL, `QuerySet.update()` or another
service change rows past every hook; here each row's payload is built again and compared, key by
key, with the digests that its record link keeps of the last delivery. Only what differs is queued
(with `force`, as `resync.py` has it, what doesn't too), and no CRM is asked: `reconcile_deep.py`
does that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router, transaction
from django.db.models import Exists, OuterRef

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.delivery import backends, outbox
from xkit_crm.exceptions import NotFound, Problem, XkitError, class_of, explained_codes
from xkit_crm.invoking import find_connection, require_enabled
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus, Priority
from xkit_crm.sync import bindings, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.columns import is_stamp
from xkit_crm.sync.digests import FORGOTTEN, digests
from xkit_crm.sync.findings import (
    MAX_FINDINGS,
    QUIET,
    Decided,
    Difference,
    ReconcileResult,
    State,
)
from xkit_crm.sync.walking import Place


def reconcile(
    models_: Iterable[type[models.Model] | models.QuerySet[Any]] | None = None,
    connection: Connection | str | None = None,
    *,
    crm_object: str | None = None,
    create: bool = False,
    delete: bool = True,
    force: bool = False,
    dry_run: bool = False,
    priority: Priority = Priority.BACKGROUND,
    batch_size: int = walking.BATCH_SIZE,
    progress: Callable[[int], object] | None = None,
    found: Callable[[Difference], object] | None = None,
) -> tuple[ReconcileResult, ...]:
    """Queue the update event of every row of these models (None: of all that are bound) that
    differs from what was delivered, and the delete event of every linked row that is gone.

    In one connection, or in all that are enabled. Rows that have no record there are counted;
    with `create` their create event is queued, without looking for a record that may be there
    already: that is what backfilling does. Without `delete` rows that are gone are only counted.
    What has something under way is left alone. Keys that are fed by a column which changes with
    every save (`auto_now`) make no difference by themselves, as with capture.

    In place of a model a queryset names some of its rows; then nothing is taken to be gone.
    `crm_object` is for models that are bound to several. `force` queues every row that can be:
    also what is in step, was erased from the log, or failed to be created before.

    Raises `ConfigurationError` for a model without binding, `UnknownConnection` and
    `ConnectionNotEnabled`. A binding whose events are not defined raises `UnknownEvent` where its
    model was named, and is told in its result where it wasn't.
    """
    only = None if connection is None else find_connection(connection)
    if only is not None:
        require_enabled(only)
    results, before = [], 0
    for binding, rows, are_all in list(_walked(models_, crm_object)):
        try:
            run = _Run(
                binding,
                only,
                create=create,
                delete=delete,
                force=force,
                dry_run=dry_run,
                priority=priority,
                found=found,
            )
        except NotFound as error:  # its events are not defined: the other bindings go on
            if models_ is not None:
                raise
            results.append(_not_walked(binding, error, dry_run=dry_run))
            continue
        for page in walking.pages(rows, batch_size):
            run.do(page)
            before += len(page)
            if progress is not None:
                progress(before)
        for links in run.pages_of_links(batch_size) if are_all else ():
            run.look_for_gone(links)
        results.append(run.result())
    return tuple(results)


def _not_walked(binding: Binding, error: XkitError, *, dry_run: bool) -> ReconcileResult:
    """The result of a binding that is set up wrongly."""
    label = binding.model._meta.label
    return ReconcileResult(label, binding.crm_object, dry_run, {}, {}, (), problem=str(error))


def bound(models_: Iterable[type[models.Model]] | None) -> list[Binding]:
    """The bindings to walk; raises `ConfigurationError` for a model that has none."""
    if models_ is None:
        return list(bindings.registered())
    return [binding for model in models_ for binding in walking.bindings_of(model)]


def _walked(
    models_: Iterable[type[models.Model] | models.QuerySet[Any]] | None, crm_object: str | None
) -> Iterator[tuple[Binding, models.QuerySet[Any], bool]]:
    """The bindings to walk, each with its rows, and whether those are all that there are."""
    for given in bound_models() if models_ is None else models_:
        if isinstance(given, models.QuerySet):
            chosen = walking.walked(given)
            # They may be of a proxy, or of a model that inherits from the one that is bound.
            found = bindings.bindings_for(given.model) or walking.bindings_of(given.model)
            for binding in found:
                if crm_object in (None, binding.crm_object):
                    pks = chosen.order_by().values(binding.model._meta.pk.attname)
                    rows = binding.model._base_manager.using(chosen.db).filter(pk__in=pks)
                    yield binding, rows, False
        else:
            for binding in walking.bindings_of(given, crm_object):
                yield binding, walking.walked(given), True


def _passing() -> list[str]:
    """The codes of what passes by itself: a CRM that was down for long is well by now."""
    return [code for code in explained_codes() if class_of(code).retryable]


def bound_models() -> Iterable[type[models.Model]]:
    """Every model that is bound, once."""
    return dict.fromkeys(binding.model for binding in bindings.registered())


def volatile_keys(binding: Binding) -> frozenset[str]:
    """Payload keys that are fed by a column which changes with every save, so tell nothing."""
    found = set()
    for key, path in binding.paths.items():
        try:
            column: Any = binding.model._meta.get_field(path)
        except FieldDoesNotExist:
            continue
        if is_stamp(column):
            found.add(key)
    return frozenset(found)


def changed_keys(
    payload: Mapping[str, Any], delivered: Mapping[str, str], volatile: Collection[str]
) -> list[str]:
    """The keys of the payload that were not delivered as they are."""
    now = digests(payload)
    return [key for key in now if key not in volatile and now[key] != delivered.get(key)]


# -- row by row -----------------------------------------------------------------------------------


@dataclass
class _Run:
    """The walk over one binding's rows, and over its links."""

    binding: Binding
    only: Connection | None
    create: bool
    delete: bool
    force: bool
    dry_run: bool
    priority: Priority
    found: Callable[[Difference], object] | None
    counts: Counter[State] = field(default_factory=Counter)
    queued: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.creates, self.updates, self.deletes = (
            walking.event_of(self.binding, moment) for moment in bindings.MOMENTS
        )
        self.volatile = volatile_keys(self.binding)
        self.relations = walking.Relations(self.binding)
        self.crm_object_id = catalogue.crm_object(self.binding.crm_object).id
        self.decided = Decided(self.crm_object_id)
        self.failed: dict[Place, dict[str, Any]] | None = None

    def result(self) -> ReconcileResult:
        return ReconcileResult(
            model=self.binding.model._meta.label,
            crm_object=self.binding.crm_object,
            dry_run=self.dry_run,
            counts={state: self.counts[state] for state in State if self.counts[state]},
            queued=dict(self.queued),
            differences=tuple(self.differences),
        )

    def do(self, page: Sequence[models.Model]) -> None:
        """One page: those that differ are looked at again under a lock, and queued."""
        looked_at, _ = self._look_at(page)
        again = {d.pk for d in looked_at if d.queued}
        if again and not self.dry_run:
            pks = [row.pk for row in page if str(row.pk) in again]
            looked_at = [d for d in looked_at if d.pk not in again]
            looked_at += again_on_conflict(partial(self._written, pks))
        self._count(looked_at)

    def _written(self, pks: Sequence[Any]) -> list[Difference]:
        with walking.writing(self.binding) as (theirs, home):
            rows = walking.locked(self.binding, pks, using=theirs)
            looked_at, captured = self._look_at(rows)
            self._put(captured, using=home)
        return looked_at

    def _put(self, captured: Sequence[outbox.Captured], *, using: str) -> None:
        lanes = outbox.put_many(captured, using=using, priority=self.priority)
        if lanes:
            backends.poke_on_commit(lanes, using=using)

    def _count(self, looked_at: Iterable[Difference]) -> None:
        for difference in looked_at:
            self.counts[difference.state] += 1
            if difference.queued:
                self.queued[difference.queued] += 1
            if difference.state in QUIET:
                continue
            if len(self.differences) < MAX_FINDINGS:
                self.differences.append(difference)
            if self.found is not None:
                self.found(difference)

    def _look_at(
        self, rows: Sequence[models.Model]
    ) -> tuple[list[Difference], list[outbox.Captured]]:
        """How each row stands in each of its connections, and what would put it right."""
        self.relations.fetch(rows, self._read)
        self.failed = None  # it is asked for where something differs
        pks = [str(row.pk) for row in rows]
        only = None if self.only is None else [self.only.pk]
        standing = walking.standing(self.binding, pks, only)
        goes_to = {str(row.pk): walking.connection_ids_of(self.binding, row) for row in rows}
        self.decided.read(
            {connection_id for _, connection_id in standing.links}
            | {one for ids in goes_to.values() if not isinstance(ids, Problem) for one in ids}
        )
        linked: dict[str, list[str]] = {}
        for pk, connection_id in standing.links:
            linked.setdefault(pk, []).append(connection_id)
        found: list[Difference] = []
        captured: list[outbox.Captured] = []
        for row in rows:
            pk, ids = str(row.pk), goes_to[str(row.pk)]
            if isinstance(ids, Problem):
                found.append(Difference("", pk, "", State.INVALID, str(ids)))
                continue
            for connection_id in dict.fromkeys((*ids, *linked.get(pk, ()))):
                if not self._walks(connection_id):
                    if self.force and self.only is None and connection_id in ids:
                        found.append(Difference(connection_id, pk, "", State.NOT_ENABLED))
                    continue
                if connection_id not in ids:
                    link = standing.links[pk, connection_id]
                    left_out = walking.is_left_out(self.binding, row)
                    state = State.LEFT_OUT if left_out else State.STRAYED
                    found.append(Difference(connection_id, pk, link.record_id, state))
                    continue
                found.append(self._compared(row, (pk, connection_id), standing, captured))
        return found, captured

    def _walks(self, connection_id: str) -> bool:
        wanted = self.only is None or self.only.pk == connection_id
        return wanted and self.decided.is_enabled(connection_id)

    def _read(self, row: models.Model) -> None:
        walking.read_all(self.binding, row, self.updates, self.creates if self.create else None)

    def _compared(
        self,
        row: models.Model,
        place: Place,
        standing: walking.Standing,
        captured: list[outbox.Captured],
    ) -> Difference:
        pk, connection_id = place
        link = standing.links.get(place)
        record_id = link.record_id if link is not None else ""
        tell = partial(Difference, connection_id, pk, record_id)
        if state := self._left_alone(place, standing):
            failed = state is State.FAILED_BEFORE
            return tell(state, "its create event failed: replay it" if failed else "")
        event = self.creates if link is None else self.updates
        if event is None:
            return tell(State.NOT_LINKED if link is None else State.IN_STEP)
        if hindrance := self.decided.hindrance(connection_id, event):
            return tell(hindrance, "" if hindrance is State.OPTED_OUT else event.slug)
        if link is None and not self.create:
            return tell(State.NOT_LINKED)
        payload, problems = walking.payload_of(self.binding, event, row)
        if problems:
            return tell(State.INVALID, "; ".join(map(str, problems)))
        changed: list[str] = []
        if link is not None:
            changed = changed_keys(payload, link.delivered, self.volatile)
            if not changed and not self.force:
                return tell(State.IN_STEP)
            if not self.force and self._failed_with(payload, place, standing):
                return tell(State.FAILED_BEFORE, "its update event failed: replay it")
        captured.append(self._captured(event, payload, row.pk, connection_id))
        state = State.NOT_LINKED if link is None else State.DIFFERS if changed else State.IN_STEP
        return tell(state, ", ".join(changed), queued=event.slug)

    def _left_alone(self, place: Place, standing: walking.Standing) -> State | None:
        """Why nothing is queued whatever the row has; None where that is to be seen."""
        link = standing.links.get(place)
        if place in standing.open:
            return State.ON_ITS_WAY
        if link is None and place in standing.handed_over:
            return State.HANDED_OVER
        if self.force:
            return None
        if link is None:
            return State.FAILED_BEFORE if place in standing.failed else None
        return State.ERASED if link.delivered == FORGOTTEN else None

    def _failed_with(
        self, payload: Mapping[str, Any], place: Place, standing: walking.Standing
    ) -> bool:
        """Whether the newest update of the row has failed with this payload, as it would again."""
        if self.failed is None:
            self.failed = self._failed_updates(standing.links)
        before = self.failed.get(place)
        return before is not None and not changed_keys(payload, digests(before), self.volatile)

    def _failed_updates(self, places: Collection[Place]) -> dict[Place, dict[str, Any]]:
        """What the newest updates of these rows held that have failed."""
        updates = Invocation.objects.filter(
            content_type=ContentType.objects.get_for_model(self.binding.model),
            event__in=[] if self.updates is None else [self.updates.id],
        ).exclude(status=InvocationStatus.SUPERSEDED)
        newer = updates.filter(
            object_pk=OuterRef("object_pk"),
            connection=OuterRef("connection"),
            pk__gt=OuterRef("pk"),
        )
        failed = updates.filter(
            ~Exists(newer),
            object_pk__in={pk for pk, _ in places},
            connection__in={connection_id for _, connection_id in places},
            status=InvocationStatus.FAILED,
        ).exclude(error_code__in=_passing())
        found = failed.order_by().values_list("object_pk", "connection_id", "payload", "folded")
        return {
            (str(pk), connection_id): reduce(
                or_, (step["payload"] for step in folded or ()), payload
            )
            for pk, connection_id, payload, folded in found
        }

    def _captured(
        self, event: Event, payload: Mapping[str, Any], pk: Any, connection_id: str
    ) -> outbox.Captured:
        row = outbox.Row.of(self.binding.model, pk, crm_object=self.binding.crm_object)
        return outbox.Captured(event.id, payload, [connection_id], row)

    # -- links whose row is gone

    def pages_of_links(self, size: int) -> Iterable[list[RecordLink]]:
        """Every link of this binding in the connections that are walked."""
        links = RecordLink.objects.filter(
            content_type=ContentType.objects.get_for_model(self.binding.model),
            crm_object_id=self.crm_object_id,
            connection__status=ConnectionStatus.ENABLED,
        )
        if self.only is not None:
            links = links.filter(connection_id=self.only.pk)
        yield from walking.pages(links, size)

    def look_for_gone(self, links: Sequence[RecordLink]) -> None:
        """Queue the delete event of those whose row was deleted past every hook.

        Without a delete event the link is taken away, as it is when such a row is deleted.
        """
        there = walking.existing(self.binding, {link.object_pk for link in links})
        gone = [link for link in links if link.object_pk not in there]
        if not gone:
            return
        self.decided.read({link.connection_id for link in gone})
        standing = walking.standing(self.binding, {link.object_pk for link in gone}, None)
        found: list[Difference] = []
        captured: list[outbox.Captured] = []
        unbound: list[int] = []
        for link in gone:
            difference = self._gone(link, standing)
            found.append(difference)
            if difference.queued and self.deletes is not None:
                captured.append(
                    self._captured(self.deletes, {}, link.object_pk, link.connection_id)
                )
            elif self.deletes is None and difference.state is State.GONE and self.delete:
                unbound.append(link.pk)
        if not self.dry_run:
            home = router.db_for_write(Invocation)
            with transaction.atomic(using=home):
                RecordLink.objects.filter(pk__in=unbound).delete()
                self._put(captured, using=home)
        self._count(found)

    def _gone(self, link: RecordLink, standing: walking.Standing) -> Difference:
        tell = partial(Difference, link.connection_id, link.object_pk, link.record_id)
        if (link.object_pk, link.connection_id) in standing.open:
            return tell(State.ON_ITS_WAY)
        if self.deletes is None:
            return tell(State.GONE, "no delete event is bound: its link goes")
        if hindrance := self.decided.hindrance(link.connection_id, self.deletes):
            return tell(hindrance, "" if hindrance is State.OPTED_OUT else self.deletes.slug)
        if not self.delete:
            return tell(State.GONE)
        problems = self.deletes.validator.validate({})
        if problems:
            return tell(
                State.INVALID,
                f"the row is gone, and {self.deletes.slug} needs a payload: "
                + "; ".join(map(str, problems)),
            )
        return tell(State.GONE, queued=self.deletes.slug)
