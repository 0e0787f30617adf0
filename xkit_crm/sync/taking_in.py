"""Taking in: of rows that the triggers have marked, what differs is told.

The worker and the sweep call `take_in_for`. What is marked is compared with what was last told of
it, and what differs is put into the outbox. `triggers.py` makes the marks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connections, models, router, transaction

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.conf import settings
from xkit_crm.delivery import outbox
from xkit_crm.delivery.outbox import Captured
from xkit_crm.exceptions import NotFound, PayloadInvalid, Problem
from xkit_crm.models import Invocation, MarkedRow, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.sync import bindings, firing, triggers, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.digests import digests
from xkit_crm.sync.reconcile import changed_keys, volatile_keys
from xkit_crm.sync.walking import Place

logger = logging.getLogger(__name__)

#: Marks that are taken in one transaction.
LIMIT: Final = 500
#: Seconds of one look that go to marks.
SECONDS: Final = 1.0


def take_in(limit: int = LIMIT) -> int:
    """Tell of what is marked and differs from what was told; gives how many marks are done with.

    A mark goes in the transaction in which what it gave rise to is put into the outbox. All are
    left to another process that is at it, and rows that somebody is writing for the next time. One
    query where nothing is marked, none where no model has triggers.
    """
    home = router.db_for_write(MarkedRow)
    if not triggers.may_mark(connections[home]):
        return 0
    marks = MarkedRow.objects.using(home)
    if not marks.exists():
        return 0
    catalogue.refresh_if_stale()
    bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
    with transaction.atomic(using=home):
        if not _is_alone(home):
            return 0
        done: list[int] = []
        after = 0
        # Rows that somebody keeps for long hold up none behind them.
        while not done and (batch := list(marks.filter(id__gt=after).order_by("id")[:limit])):
            by_model: dict[str, set[str]] = {}
            for mark in batch:
                by_model.setdefault(mark.model, set()).add(mark.object_pk)
            left = {
                (label, pk)
                for label, pks in by_model.items()
                for pk in _take_in_rows(label, sorted(pks), using=home)
            }
            done = [mark.pk for mark in batch if (mark.model, mark.object_pk) not in left]
            after = batch[-1].pk
        marks.filter(pk__in=done).delete()
    return len(done)


def _is_alone(using: str) -> bool:
    """Whether nobody else takes in until this transaction ends. What two would tell of a row that
    goes and comes back could be put into the outbox in the wrong order: one that is gone can't be
    locked."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext(%s))", [MarkedRow._meta.db_table])
        return bool(cursor.fetchone()[0])


def take_in_for(seconds: float = SECONDS) -> int:
    """Take in batch after batch until nothing is marked, or for about so long.

    Trouble goes to the log and is met again the next time: it must not stop the delivery.
    """
    until, done = time.monotonic() + seconds, 0
    try:
        while taken := take_in():
            done += taken
            if time.monotonic() >= until:
                break
    except Exception:
        logger.exception("Marked rows were not taken in; they are kept for the next look.")
    return done


def _take_in_rows(label: str, pks: Sequence[str], *, using: str) -> set[str]:
    """Take in these rows of a model; gives those that are left for later.

    A row that nobody can deal with must not hold up the others: what fails is split until it is
    alone, and then told in the log. Trouble with the database itself is raised.
    """
    try:
        with transaction.atomic(using=using):
            return _take_in_model(label, pks, using=using)
    except OperationalError:
        raise
    except Exception:
        if len(pks) == 1:
            logger.exception(
                "%s %s was written past the capture and can't be told of. Correct it, then run "
                "xkit_reconcile.",
                label,
                pks[0],
            )
            return set()
        middle = len(pks) // 2
        return _take_in_rows(label, pks[:middle], using=using) | _take_in_rows(
            label, pks[middle:], using=using
        )


def _take_in_model(label: str, pks: Sequence[str], *, using: str) -> set[str]:
    try:
        model = apps.get_model(label)
    except LookupError:  # its app is not installed any more
        return set()
    bound = [
        binding
        for binding in bindings.registered()
        if issubclass(binding.model, model) or issubclass(model, binding.model)
    ]
    if not bound:
        return set()
    keys = {model._meta.pk.to_python(pk): pk for pk in pks}
    manager = model._base_manager.using(using)
    rows = list(
        manager.filter(pk__in=keys)
        .order_by("pk")
        .select_for_update(no_key=True, skip_locked=True, of=("self",))
    )
    locked = {row.pk for row in rows}
    left = set(manager.filter(pk__in=keys.keys() - locked).values_list("pk", flat=True))
    gone = {str(pk) for pk in keys.keys() - locked - left}
    for binding in bound:
        own, lost = rows, gone
        if binding.model is not model:
            own = walking.same_rows(binding, rows, using=using)
            lost = walking.gone_too(binding, model, gone)
        _tell(binding, own, lost, using=using)
    return {keys[pk] for pk in left}


def _tell(
    binding: Binding, rows: Sequence[models.Model], gone: Collection[str], *, using: str
) -> None:
    """Put into the outbox what makes the CRMs know these rows as they are."""
    try:
        telling = _Telling(binding)
    except NotFound as error:
        logger.warning("Rows of %s can't be told of: %s", binding.model._meta.label, error)
        return
    telling.relations.fetch(rows, telling.look)
    telling.read(rows, gone)
    for row in rows:
        telling.row(row)
    for pk in sorted(gone):
        telling.gone(pk)
    firing.put(telling.captured, using=using)


@dataclass(slots=True)
class _Said:
    """What a connection's CRM was last told of a row, or is about to be."""

    digests: dict[str, str] = field(default_factory=dict)
    #: It has a record of the row, or gets one by what is under way.
    has_record: bool = False

    def hear(self, event_type: str, payload: dict[str, Any], folded: Iterable[Any]) -> None:
        if event_type == EventType.DELETE:
            self.digests, self.has_record = {}, False
            return
        self.digests |= digests(payload)
        for one in folded:
            self.digests |= digests(one["payload"])


class _Telling:
    """One binding's events of some rows."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.creates, self.updates, self.deletes = (
            walking.event_of(binding, moment) for moment in bindings.MOMENTS
        )
        self.crm_object_id = catalogue.crm_object(binding.crm_object).id
        self.volatile = volatile_keys(binding)
        self.relations = walking.Relations(binding)
        self.row_of = outbox.rows_of(binding.model, crm_object=binding.crm_object)
        self.goes_to: dict[str, list[str] | Problem] = {}
        self.said: dict[Place, _Said] = {}
        self.captured: list[Captured] = []

    def look(self, row: models.Model) -> None:
        """Read what the rows will be asked for."""
        walking.read_all(self.binding, row, self.updates, self.creates)

    def read(self, rows: Sequence[models.Model], gone: Collection[str]) -> None:
        """What was last told of these rows, in three queries: first what is under way, so that what
        is delivered in between is seen twice and not overlooked."""
        self.goes_to = {str(row.pk): walking.connection_ids_of(self.binding, row) for row in rows}
        content_type = ContentType.objects.get_for_model(self.binding.model)
        of_rows = {"content_type": content_type, "object_pk__in": {*self.goes_to, *gone}}
        invocations = Invocation.objects.filter(**of_rows, event__crm_object_id=self.crm_object_id)
        columns = ("object_pk", "connection_id", "status", "event__type", "payload", "folded")
        under_way = list(invocations.open().order_by("id").values_list(*columns))
        for link in RecordLink.objects.filter(**of_rows, crm_object_id=self.crm_object_id):
            self.said[link.object_pk, link.connection_id] = _Said(dict(link.delivered), True)
        for values in under_way:
            self._hear(*values, is_open=True)
        # Its other connections may know a row of which one has no record.
        unknown = {
            (pk, connection_id)
            for pk, ids in self.goes_to.items()
            for connection_id in (() if isinstance(ids, Problem) else ids)
            if (pk, connection_id) not in self.said
        }
        last = invocations.filter(
            object_pk__in={pk for pk, _ in unknown},
            connection_id__in={connection_id for _, connection_id in unknown},
        ).order_by("object_pk", "connection_id", "-id")
        for values in last.distinct("object_pk", "connection_id").values_list(*columns):
            if values[:2] in unknown:
                self._hear(*values, is_open=False)

    def _hear(
        self,
        pk: str | None,
        connection_id: str,
        status: str,
        event_type: str,
        payload: dict[str, Any],
        folded: list[Any] | None,
        *,
        is_open: bool,
    ) -> None:
        said = self.said.setdefault((str(pk), connection_id), _Said())
        # What a workflow engine was given may have made a record that nobody told us of.
        said.has_record = said.has_record or is_open or status == InvocationStatus.DEFERRED
        said.hear(event_type, payload, folded or ())

    def row(self, row: models.Model) -> None:
        ids = self.goes_to[str(row.pk)]
        if isinstance(ids, Problem):
            logger.warning("%s %s: %s", self.binding.model._meta.label, row.pk, ids)
            return
        for connection_id in ids:
            said = self.said.get((str(row.pk), connection_id), _Said())
            event = self.updates if said.has_record else self.creates or self.updates
            if event is None:
                continue
            payload, problems = walking.payload_of(self.binding, event, row)
            if not said.digests or problems or changed_keys(payload, said.digests, self.volatile):
                self._put(event, row.pk, connection_id, payload, problems)

    def gone(self, pk: str) -> None:
        """The row is no more: tell those who have a record of it."""
        for (other, connection_id), said in self.said.items():
            if other != pk or not said.has_record:
                continue
            if self.deletes is not None:
                problems = self.deletes.validator.validate({})
                self._put(self.deletes, pk, connection_id, {}, problems)
            elif not self.binding.on_delete:
                RecordLink.objects.filter(
                    content_type=ContentType.objects.get_for_model(self.binding.model),
                    object_pk=pk,
                    connection_id=connection_id,
                    crm_object_id=self.crm_object_id,
                ).delete()

    def _put(
        self,
        event: Event,
        pk: Any,
        connection_id: str,
        payload: dict[str, Any],
        problems: Sequence[Problem],
    ) -> None:
        error = None
        if problems:  # nobody is there to be told, so it fails where an operator sees it
            error = PayloadInvalid(
                f"{self.binding.model._meta.label} {pk}, written past the capture, gives an "
                f"invalid payload for {event.slug}.",
                hint=f"Correct the row, or the payload of {self.binding.origin}.",
                errors=list(problems),
            )
        self.captured.append(Captured(event.id, payload, [connection_id], self.row_of(pk), error))
