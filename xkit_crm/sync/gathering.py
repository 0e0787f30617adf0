"""Gathering: events of many rows are collected in memory and put into the outbox together.

`xkit_crm.bulk()` gathers what is saved and deleted in its block; a delete gathers what it takes
with it. What was captured in a savepoint that is rolled back is dropped, and what was captured
outside of it and written inside is written again. `capture.py` brings the events here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import connections, models, router, transaction

from xkit_crm import catalogue
from xkit_crm.delivery.outbox import CHUNK, Captured, rows_of
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.sync import echo, firing, scopes
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.scopes import Scope


@dataclass(frozen=True, slots=True)
class _Item:
    """One event, or the end of a row's record links, and the scope it stands or falls with."""

    what: Captured | _Unlinked
    scope: Scope | None
    #: Whether the row ends with it, and the connections that know already.
    ends: bool = False
    untold: frozenset[str] = frozenset()

    @property
    def holds(self) -> bool:
        return self.scope is None or not self.scope.rolled_back

    def is_within(self, savepoints: tuple[str, ...]) -> bool:
        """Whether a rollback to the last of these savepoints would take it back too."""
        own = self.scope.savepoints if self.scope is not None else ()
        return own[: len(savepoints)] == savepoints


@dataclass(frozen=True, slots=True)
class _Unlinked:
    """A row that is deleted, and that these connections aren't told of (None: no connection)."""

    content_type_id: int
    pk: str
    crm_object: str
    connection_ids: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Early:
    """What was written in savepoints that are still open, and was captured outside of them: a
    rollback to there takes it back, though its rows stay."""

    items: list[_Item]
    scope: Scope
    savepoints: tuple[str, ...]

    def but_for_ended(self, open_now: tuple[str, ...]) -> _Early:
        """The same, without what stands and falls with the savepoints that are open now."""
        left = tuple([name for name in self.savepoints if name in open_now])
        if left == self.savepoints:
            return self
        items = [item for item in self.items if not item.is_within(left)]
        return _Early(items, self.scope, left)


class Gather:
    """What was captured in one database connection's transaction and is not written yet."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.database = connections[using]
        self._items: list[_Item] = []
        #: Where the last event of each record stands.
        self._last: dict[str, int] = {}
        self._early: list[_Early] = []
        self.closed = False

    def add(self, what: Captured | _Unlinked, *, ends: bool = False) -> None:
        """Keep it. Where the record's last event says the same with an older payload, and to the
        same connections, this one takes its place."""
        self._take_back()
        item = _Item(what, scopes.current(self.using), ends, echo.origins())
        _put(self._items, self._last, item, in_scope=True)

    @property
    def is_full(self) -> bool:
        return len(self._items) >= CHUNK

    def flush(self) -> None:
        """Write it all."""
        self._take_back()
        items = [item for item in self._items if item.holds]
        self._items, self._last = [], {}
        if not items:
            return
        savepoints, scope = scopes.savepoints_of(self.database), scopes.current(self.using)
        outside = [item for item in items if not item.is_within(savepoints)]
        if scope is not None and outside:
            self._early.append(_Early(outside, scope, savepoints))
        # None of them can be taken back by itself any more.
        last: dict[str, int] = {}
        held: list[_Item] = []
        for item in items:
            _put(held, last, item, in_scope=False)
        unlinked: dict[tuple[int, str, frozenset[str] | None], list[str]] = {}
        captured = []
        for item in _to_all_linked(held):
            if isinstance(item.what, Captured):
                captured.append(item.what)
            else:
                row = item.what
                kind = (row.content_type_id, row.crm_object, row.connection_ids)
                unlinked.setdefault(kind, []).append(row.pk)
        firing.put(captured, using=self.using)
        for (content_type_id, crm_object, connection_ids), pks in unlinked.items():
            links = RecordLink.objects.filter(
                content_type_id=content_type_id, crm_object__slug=crm_object
            )
            if connection_ids is not None:
                links = links.filter(connection_id__in=connection_ids)
            for begin in range(0, len(pks), CHUNK):
                links.filter(object_pk__in=pks[begin : begin + CHUNK]).delete()

    def _take_back(self) -> None:
        """Have what a rollback took that was captured outside of it written again, before what came
        since."""
        if not self._early:
            return
        open_now = scopes.savepoints_of(self.database)
        lost = [item for one in self._early if one.scope.rolled_back for item in one.items]
        early = [one.but_for_ended(open_now) for one in self._early if not one.scope.rolled_back]
        self._early = [one for one in early if one.items]
        if lost:
            items, self._items, self._last = [*lost, *self._items], [], {}
            for item in items:
                _put(self._items, self._last, item, in_scope=True)


def _put(items: list[_Item], last: dict[str, int], item: _Item, *, in_scope: bool) -> None:
    """Add it, or have it take the place of the record's last event; `last` says where that is.
    `in_scope`: what was captured outside of a savepoint counts again when that is rolled back."""
    if isinstance(item.what, Captured):
        place = last.get(item.what.row.key)
        if place is not None and _replaces(item, items[place], in_scope=in_scope):
            items[place] = item
            return
        last[item.what.row.key] = len(items)
    items.append(item)


def _replaces(item: _Item, before: _Item, *, in_scope: bool) -> bool:
    """Whether it says the same with a newer payload."""
    new, old = item.what, before.what
    return (
        isinstance(new, Captured)
        and isinstance(old, Captured)
        and (before.scope is item.scope or not in_scope)
        and new.event_id == old.event_id
        and new.error is None
        and old.error is None
        and new.connection_ids == old.connection_ids
    )


def _to_all_linked(items: Sequence[_Item]) -> list[_Item]:
    """The same, but deletions go to each connection that has a record of the row: it may have been
    another customer's. One query for many rows, none without deletions."""
    links = _links([item.what for item in items if isinstance(item.what, Captured) and item.ends])
    found = []
    for item in items:
        if isinstance(item.what, Captured) and item.ends:
            names = [*item.what.connection_ids, *links.get(item.what.row.key, ())]
            told = [name for name in dict.fromkeys(names) if name not in item.untold]
            item = replace(item, what=replace(item.what, connection_ids=told))
        found.append(item)
    return found


def _links(deleted: Sequence[Captured]) -> dict[str, list[str]]:
    """The connections that have records of these rows, by the rows' keys."""
    crm_objects = catalogue.definitions({one.event_id for one in deleted}) if deleted else {}
    keys = {
        (one.row.content_type_id, one.row.pk, crm_objects[one.event_id].crm_object_id): one.row.key
        for one in deleted
    }
    found: dict[str, list[str]] = {}
    for begin in range(0, len(deleted), CHUNK):
        rows = [one.row for one in deleted[begin : begin + CHUNK]]
        links = RecordLink.objects.filter(
            content_type_id__in={row.content_type_id for row in rows},
            object_pk__in={row.pk for row in rows},
        )
        columns = ("content_type_id", "object_pk", "crm_object_id", "connection_id")
        for *row, name in links.order_by("connection_id").values_list(*columns):
            if key := keys.get((row[0], row[1], row[2])):
                found.setdefault(key, []).append(name)
    return found


# -- a block of the product's ---------------------------------------------------------------------

_gathering: ContextVar[Gather | None] = ContextVar("xkit_crm_gathering", default=None)


@contextmanager
def bulk() -> Iterator[None]:
    """Saves and deletes in this block are captured together, with one INSERT for many of them.

    The block is a transaction (inside another one, a savepoint): with an exception nothing of it
    stays. Several updates of one row give one event, with the last payload. Written are 500 events
    at a time, and the rest at the end. A block within another one is part of it. It holds for this
    thread, not for those it starts.
    """
    home = router.db_for_write(Invocation)
    with transaction.atomic(using=home):
        if _gather_of(home) is not None:
            yield
            return
        gather = Gather(home)
        token = _gathering.set(gather)
        try:
            yield
        finally:
            _gathering.reset(token)
            gather.closed = True
        # Where an error was swallowed the transaction can only be rolled back.
        if not gather.database.needs_rollback:
            gather.flush()


def _gather_of(using: str) -> Gather | None:
    """That of the block, where it is open and for this database connection: what was started with
    a copy of the context may have a transaction of its own, or go on after the block."""
    gather = _gathering.get()
    if gather is None or gather.closed or gather.using != using:
        return None
    return gather if gather.database is connections[using] else None


def is_gathering(using: str) -> bool:
    """Whether a `bulk()` block is around, for this database connection."""
    return _gather_of(using) is not None


def offer(captured: Sequence[Captured], *, using: str) -> None:
    """Put these events, at once or with the rest of the block."""
    gather = _gather_of(using)
    if gather is None:
        firing.put(captured, using=using)
        return
    for item in captured:
        gather.add(item)
    if gather.is_full:
        gather.flush()


# -- a delete -------------------------------------------------------------------------------------

#: Where a database connection keeps what its deletes have captured.
_DELETES: Final = "_xkit_deletes"


class Deletes:
    """What one `delete()` takes with it.

    Django tells of every row before it deletes the first of them, and of each again when it is
    gone. What the rows say and point to can be read only before; it is written at the first that
    is gone.
    """

    @staticmethod
    def of(using: str) -> Deletes:
        """The one of this thread's connection to the database."""
        values = connections[using].__dict__
        found: Deletes = values.get(_DELETES) or values.setdefault(_DELETES, Deletes(using))
        return found

    def __init__(self, using: str) -> None:
        self._gather = Gather(using)
        self._origin: object = None
        self._related: dict[tuple[models.Field, Any], models.Model] = {}

    def describe(
        self, binding: Binding, instance: models.Model, *, origin: object
    ) -> list[Captured]:
        """The row's deletion. What it points to is read once for all rows that point to it."""
        if origin is not self._origin:
            self._origin, self._related = origin, {}
        relations: list[Any] = [f for f in instance._meta.concrete_fields if f.is_relation]
        for field in relations:
            key = (field, instance.__dict__.get(field.attname))
            if key in self._related and not field.is_cached(instance):
                field.set_cached_value(instance, self._related[key])
        found = firing.describe(binding, binding.on_delete, [instance])
        for field in relations:
            if field.is_cached(instance) and (related := field.get_cached_value(instance)):
                self._related[field, instance.__dict__.get(field.attname)] = related
        return found

    def add(self, captured: Sequence[Captured]) -> None:
        """Put these events with what else is deleted, or with the rest of a block."""
        gather = _gather_of(self._gather.using) or self._gather
        for item in captured:
            gather.add(item, ends=True)

    def unlink(
        self, binding: Binding, pk: Any, *, connection_ids: frozenset[str] | None = None
    ) -> None:
        """Take away the record links of a row to connections that aren't told of its deletion
        (None: to all)."""
        row = rows_of(binding.model, crm_object=binding.crm_object)(pk)
        self._gather.add(_Unlinked(row.content_type_id, row.pk, binding.crm_object, connection_ids))

    def flush(self) -> None:
        """Write what was captured; does nothing where that was done."""
        self._origin, self._related = None, {}
        self._gather.flush()
