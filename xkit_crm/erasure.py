"""Erasure: personal data of one row or record goes out of the log; the log itself stays.

`xkit_erase` and the product call `erase` and `erase_record`. Values become a marker, while keys,
statuses, times and counts stay. What the CRM holds is the CRM's own and not touched. The marker
never reaches it: `mapping/resolving.py` refuses an erased payload.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from xkit_crm.delivery import backends, lanes, tallies, telling
from xkit_crm.exceptions import ConfigurationError, InProgress, UnknownConnection
from xkit_crm.mapping.erased import ERASED, erased
from xkit_crm.models import (
    Attempt,
    Connection,
    EventDefinition,
    Invocation,
    MarkedRow,
    RecordLink,
)
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.providers.base import RecordRef
from xkit_crm.sync.digests import FORGOTTEN
from xkit_crm.sync.links import kept_of, keys_of
from xkit_crm.sync.retarget import NothingToDo

#: Invocations of one transaction.
BATCH = 200
#: What an error and an answer keep: whether it passes by itself, which field, which record.
_KEPT_OF_ERRORS = frozenset({"code", "path", "outcome", "retry_after"})
_KEPT_OF_ANSWERS = frozenset({"type", "id"})


@dataclass(frozen=True, slots=True)
class Erasure:
    """How much was erased: rows that held something, and what was cancelled unsent."""

    invocations: int = 0
    attempts: int = 0
    links: int = 0
    cancelled: int = 0


def erase(
    instance: models.Model,
    *,
    connection: Connection | str | None = None,
    cancel: bool = False,
    dry_run: bool = False,
) -> Erasure:
    """Erase what the log holds of a row, in every connection or in this one.

    Of a row that is deleted by now, give `Model(pk=...)`; where it had several parents with keys of
    their own, each of them. Deletes that wait still go out, without their payload. Creates and
    updates that wait hold what is to be sent, so nothing is erased while there are any, unless
    `cancel`: then they are skipped for good. Nor is anything while triggers have marked the row and
    no worker has looked at it. With `dry_run` it is only counted. Doing it again erases what came
    since.

    Raises `ConfigurationError` for a row without a primary key, `UnknownConnection`, and
    `InProgress` for what waits, is being sent, or may have been written by a try whose outcome
    isn't known.
    """
    if instance.pk is None:
        raise ConfigurationError(
            f"This {instance._meta.verbose_name} has no primary key, so nothing is known of it.",
            hint="Of a row that is deleted, give Model(pk=...) with the key that it had.",
        )
    row = kept_of(instance)
    if connection is not None:
        row &= Q(connection_id=_id_of(connection))
    marks = [
        _marks(content_type, pk)
        for pk, content_types in keys_of(instance).items()
        for content_type in content_types
    ]
    return _erase(_Scope(rows=[row], marks=marks), cancel=cancel, dry_run=dry_run)


def erase_record(
    connection: Connection | str, record_id: str, *, cancel: bool = False, dry_run: bool = False
) -> Erasure:
    """Erase what the log holds of a CRM record, and of the rows that stand for it in this
    connection, or stood for it until they were deleted.

    Otherwise as `erase`. Raises `UnknownRecord` for what is no record id, `UnknownConnection` and
    `InProgress`.
    """
    RecordRef.parse(record_id)
    connection_id = _id_of(connection)
    scope = _Scope(records={connection_id: {record_id}})
    for content_type_id, pk in _rows_of(connection_id, record_id):
        scope.rows.append(
            Q(connection_id=connection_id, content_type_id=content_type_id, object_pk=pk)
        )
        scope.marks.append(_marks(ContentType.objects.get_for_id(content_type_id), pk))
    return _erase(scope, cancel=cancel, dry_run=dry_run)


def _rows_of(connection_id: str, record_id: str) -> set[tuple[int, str]]:
    """The rows that are linked to the record, by content type and key; and those that were, and
    that no link leads anywhere from by now. One that was linked to another record is about that."""
    of_it = {"connection_id": connection_id, "record_id": record_id}
    row = {name: OuterRef(name) for name in ("content_type_id", "object_pk", "connection_id")}
    left = Invocation.objects.filter(
        ~Exists(RecordLink.objects.filter(**row)),
        content_type__isnull=False,
        object_pk__isnull=False,
        **of_it,
    )
    found: set[Any] = set()
    for rows in (RecordLink.objects.filter(**of_it), left):
        found.update(rows.order_by().values_list("content_type_id", "object_pk").distinct())
    return found


def _id_of(connection: Connection | str) -> str:
    """Mistyped, it would be taken for one of which nothing is known."""
    if isinstance(connection, Connection):
        return connection.pk
    if not Connection.objects.filter(pk=connection).exists():
        raise UnknownConnection(f"There is no connection {connection!r}.")
    return connection


def _marks(content_type: ContentType, pk: str) -> Q:
    """The marks that triggers have left of this row."""
    return Q(model=f"{content_type.app_label}.{content_type.model}", object_pk=pk)


# -- what it is about -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Scope:
    """The rows and the records by connection whose data goes."""

    rows: list[Q] = field(default_factory=list)
    records: dict[str, set[str]] = field(default_factory=dict)
    #: The same rows, as triggers mark them.
    marks: list[Q] = field(default_factory=list)

    def links(self) -> models.QuerySet[RecordLink]:
        """The links of its rows and to its records."""
        either = [*self.rows, *(Q(connection_id=c, record_id__in=r) for c, r in self._by())]
        return RecordLink.objects.filter(reduce(or_, either))

    def complete(self) -> None:
        """Add the records that its rows stand for, or stood for."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            for source in (RecordLink.objects, Invocation.objects):
                named = source.filter(row).exclude(record_id="").order_by()
                for name, record_id in named.values_list("connection_id", "record_id").distinct():
                    found[name].add(record_id)
        for name, record_ids in found.items():
            self.records[name] = self.records.get(name, set()) | record_ids

    def invocations(self) -> list[int]:
        """The ids of all that is about it. There is no index on records: a connection's log is
        read through for them, in the database and once."""
        found: set[int] = set()
        for row in self.rows:
            found.update(Invocation.objects.filter(row).order_by().values_list("pk", flat=True))
        for name, record_ids in self._by():
            named = Q(record_id__in=record_ids) | Q(record_key__in=record_ids)
            of_it = Invocation.objects.filter(named, connection_id=name)
            found.update(of_it.order_by().values_list("pk", flat=True))
        return sorted(found)

    def searches(self) -> Iterator[tuple[set[str], list[int]]]:
        """Searches that may have found its records, by connection; who searched named no record."""
        events = EventDefinition.objects.filter(type=EventType.SEARCH)
        event_ids = list(events.values_list("pk", flat=True))
        for name, record_ids in self._by() if event_ids else ():
            asked = Invocation.objects.filter(connection_id=name, event_id__in=event_ids)
            yield record_ids, list(asked.order_by("pk").values_list("pk", flat=True))

    def _by(self) -> Iterable[tuple[str, set[str]]]:
        return self.records.items()


# -- erasing --------------------------------------------------------------------------------------


def _erase(scope: _Scope, *, cancel: bool, dry_run: bool) -> Erasure:
    scope.complete()
    ids = scope.invocations()
    _require_settled(scope, ids, cancel=cancel)
    cancelled = _cancel(ids, dry_run=dry_run)
    invocations = attempts = 0
    left = _sent_or_to_be_sent(dry_run=dry_run)
    for some in _batches(ids):
        counts = _erase_batch(some, _everything, left=left, dry_run=dry_run)
        invocations, attempts = invocations + counts[0], attempts + counts[1]
    for record_ids, searches in scope.searches():
        for some in _batches(searches):
            # One that waits and has found something is to be made again: that fails, as any replay.
            found = partial(_found, record_ids)
            counts = _erase_batch(some, found, left=_BEING_SENT, dry_run=dry_run)
            invocations, attempts = invocations + counts[0], attempts + counts[1]
    links = scope.links().exclude(delivered=FORGOTTEN, written={})
    marked = links.count() if dry_run else links.update(delivered=FORGOTTEN, written={})
    return Erasure(invocations, attempts, marked, cancelled)


def _batches(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]


def _open(ids: list[int]) -> Iterator[models.QuerySet[Invocation]]:
    for some in _batches(ids):
        yield Invocation.objects.filter(
            pk__in=some, status__in=(InvocationStatus.PENDING, InvocationStatus.RUNNING)
        )


def _require_settled(scope: _Scope, ids: list[int], *, cancel: bool) -> None:
    """Raise `InProgress` for what can't be erased now, before anything is."""
    marks = MarkedRow.objects.filter(reduce(or_, scope.marks)).count() if scope.marks else 0
    counts = {
        "written, and not looked at yet": marks,
        "being sent": 0,
        "of unknown outcome": 0,
        "waiting to be sent": 0,
    }
    for some in _open(ids):
        for status, kind, doubtful in some.values_list("status", "event__type", "doubtful"):
            if status == InvocationStatus.RUNNING:
                counts["being sent"] += 1
            elif kind != EventType.DELETE and doubtful:
                counts["of unknown outcome"] += 1
            elif kind != EventType.DELETE and not cancel:
                counts["waiting to be sent"] += 1
    if any(counts.values()):
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        raise InProgress(
            f"Its log can't be erased yet: {told}.",
            hint="Let them be carried out, or cancel what waits to be sent (cancel=True, --cancel),"
            " then erase.",
            retry_after=1 if marks or counts["being sent"] else None,
        )


def _cancel(ids: list[int], *, dry_run: bool) -> int:
    """Skip the creates and updates that wait; `_require_settled` found that it is wanted."""
    note = NothingToDo("It was erased before it was sent.").as_dict()
    cancelled = 0
    for some in _open(ids):
        waiting = some.exclude(event__type=EventType.DELETE)
        if dry_run:
            cancelled += waiting.count()
            continue
        for invocation in waiting:
            using = router.db_for_write(Invocation)
            with transaction.atomic(using=using):
                # A worker may have begun with it since it was read: then it is that one's.
                stopped = Invocation.objects.filter(
                    pk=invocation.pk, status=InvocationStatus.PENDING
                ).update(
                    status=InvocationStatus.SKIPPED, finished_at=timezone.now(), error_detail=note
                )
                if not stopped:
                    raise InProgress(
                        "One of its events is being sent at this moment.",
                        hint="Erase again in a moment; what was cancelled stays so.",
                        retry_after=1,
                    )
                tallies.ended({(invocation.connection_id, InvocationStatus.SKIPPED): 1})
                lanes.release({(invocation.connection_id, invocation.record_key)})
                backends.poke_on_commit([invocation.connection_id], using=using)
                telling.ended_where(pk=invocation.pk)
            cancelled += 1
    return cancelled


_Erase = Callable[[Invocation, list[Attempt]], None]


_BEING_SENT = Q(status=InvocationStatus.RUNNING)


def _sent_or_to_be_sent(*, dry_run: bool) -> Q:
    """What is left as it is: it came, or began, after it was looked whether anything did. Deletes
    that wait go out all the same, without what they hold."""
    if dry_run:  # what waits would have been cancelled by now
        return _BEING_SENT
    deletes = EventDefinition.objects.filter(type=EventType.DELETE)
    return _BEING_SENT | Q(~Q(event__in=deletes), status=InvocationStatus.PENDING)


def _erase_batch(ids: list[int], change: _Erase, *, left: Q, dry_run: bool) -> tuple[int, int]:
    """Erase what these invocations and their attempts hold, but for those that are `left`; gives
    how many held something."""
    using = router.db_for_write(Invocation)
    with transaction.atomic(using=using):
        rows = Invocation.objects.filter(pk__in=ids).exclude(left)
        invocations = list(rows.select_for_update().order_by("pk"))
        tries: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in Attempt.objects.filter(invocation__in=invocations):
            tries[attempt.invocation_id].append(attempt)
        for invocation in invocations:
            change(invocation, tries[invocation.pk])
        attempts = [attempt for some in tries.values() for attempt in some]
        return (
            _write(invocations, _OF_INVOCATIONS, dry_run=dry_run),
            _write(attempts, _OF_ATTEMPTS, dry_run=dry_run),
        )


_OF_INVOCATIONS = ("payload", "folded", "result", "error_detail", "request_digest")
_OF_ATTEMPTS = ("sent", "received", "error")
#: The fields of a row that were changed here.
_CHANGED = "_xkit_erased"


def _set(row: Invocation | Attempt, name: str, value: Any) -> None:
    """Change a field, and note that it was."""
    if getattr(row, name) != value:
        setattr(row, name, value)
        row.__dict__.setdefault(_CHANGED, set()).add(name)


def _write(rows: list[Any], names: tuple[str, ...], *, dry_run: bool) -> int:
    """One UPDATE for each field, of those rows in which it changed; gives how many rows."""
    for name in () if dry_run else names:
        changed = [row for row in rows if name in row.__dict__.get(_CHANGED, ())]
        if changed:
            type(changed[0])._default_manager.bulk_update(changed, [name])
    return sum(_CHANGED in row.__dict__ for row in rows)


def _everything(invocation: Invocation, attempts: list[Attempt]) -> None:
    """Every value that it holds. A key that was used keeps being used: another request with it is
    refused, and so is the same one, which can't be told from it any more.

    A delete that waits goes out with an empty payload: what is not there writes nothing, where the
    customer chose to update the record instead."""
    if invocation.status == InvocationStatus.PENDING:
        _set(invocation, "payload", {})
        _set(invocation, "folded", None)
    else:
        _set(invocation, "payload", erased(invocation.payload))
    if invocation.folded is not None:
        steps = [{**step, "payload": erased(step.get("payload"))} for step in invocation.folded]
        _set(invocation, "folded", steps)
    _set(invocation, "result", _answer(invocation.result))
    _set(invocation, "error_detail", _error(invocation.error_detail))
    _set(invocation, "request_digest", None)
    for attempt in attempts:
        if attempt.sent is not None:
            _set(attempt, "sent", erased(attempt.sent))
        _set(attempt, "received", _answer(attempt.received))
        _set(attempt, "error", _error(attempt.error))


def _found(record_ids: set[str], invocation: Invocation, attempts: list[Attempt]) -> None:
    """What a search told of these records, and what was asked where it told of any."""
    if not record_ids.intersection(_ids_in(invocation.result)):
        return
    _set(invocation, "payload", erased(invocation.payload))
    _set(invocation, "request_digest", None)
    _set(invocation, "result", _answer(invocation.result, only=record_ids))
    _set(invocation, "error_detail", _error(invocation.error_detail))
    for attempt in attempts:
        if attempt.sent is not None:
            _set(attempt, "sent", erased(attempt.sent))
        _set(attempt, "received", _answer(attempt.received, only=record_ids))
        _set(attempt, "error", _error(attempt.error))


def _ids_in(answer: Any) -> set[str]:
    records = answer.get("records") if isinstance(answer, Mapping) else None
    return {str(r["id"]) for r in records or () if isinstance(r, Mapping) and "id" in r}


def _answer(answer: Any, *, only: set[str] | None = None) -> Any:
    """An answer without what it says of the records (of `only` these): which they are stays."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("records"), list):
        return None if answer is None else erased(answer)
    records = [
        {name: value if name in _KEPT_OF_ANSWERS else erased(value) for name, value in r.items()}
        if isinstance(r, Mapping) and (only is None or r.get("id") in only)
        else r
        for r in answer["records"]
    ]
    others = {name: erased(value) for name, value in answer.items() if name != "records"}
    return {**others, "records": records}


def _error(error: Any) -> Any:
    """An error without its words, which may quote a value."""
    if isinstance(error, Mapping):
        if error.get("code") == NothingToDo.code:
            return error  # only ever our own words
        return {k: v if k in _KEPT_OF_ERRORS else _error(v) for k, v in error.items()}
    if isinstance(error, list):
        return [_error(entry) for entry in error]
    return None if error is None else ERASED
