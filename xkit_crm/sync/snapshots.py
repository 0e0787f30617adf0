"""Snapshots: what the database has of a row's watched columns, kept with the row in memory.

So `capture.py` and `querysets.py` tell what a save changes without a query. A snapshot of what was
written in a transaction counts for as long as that is not rolled back (`scopes.py`). Knows nothing
of payloads and invocations.
"""

from __future__ import annotations

import copy
import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from django.db import connections, models

from xkit_crm.sync import scopes
from xkit_crm.sync.bindings import Binding, captured_for
from xkit_crm.sync.columns import sets_itself, sources_of
from xkit_crm.sync.scopes import Scope
from xkit_crm.sync.values import is_simple, kept, same

_Row = TypeVar("_Row", bound=models.Model)


class _Missing(enum.Enum):
    """Stands for a deferred column; an enum, since snapshots are pickled with their instance."""

    NOT_LOADED = "not loaded"


_NOT_LOADED: Final = _Missing.NOT_LOADED
#: The attribute that holds a row's watched columns as the database has them.
SNAPSHOT: Final = "_xkit_snapshot"
#: The attribute that holds the scopes in which the row was written, while they may be rolled back.
UNCOMMITTED: Final = "_xkit_uncommitted"


@dataclass(frozen=True, slots=True)
class Watch:
    """What a class's snapshot holds: the columns of all its bindings, and the primary key."""

    bindings: tuple[Binding, ...]
    names: tuple[str, ...]
    field_names: tuple[str, ...]
    #: Columns whose value may be changed in place, or isn't told apart by `==`.
    intricate: frozenset[str]
    #: Columns that only the database writes, each with those that it computes it of.
    generated: Mapping[str, frozenset[str]]
    #: Columns that their field may change as the row is saved.
    set_by_saving: frozenset[str]
    #: The bindings that sync some rows only.
    conditional: tuple[Binding, ...]
    #: How often in a row what is fired had to be made after the row, by moment.
    missed: Counter[str] = field(default_factory=Counter, compare=False)

    def take(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """The watched values of an instance's `__dict__`; a deferred column is not loaded."""
        if not self.intricate:
            return tuple([values.get(name, _NOT_LOADED) for name in self.names])
        return tuple(
            [
                kept(value) if name in self.intricate else value
                for name, value in [(name, values.get(name, _NOT_LOADED)) for name in self.names]
            ]
        )

    def is_taken(self, before: tuple[Any, ...], values: dict[str, Any]) -> bool:
        """Whether an instance's `__dict__` has nothing else than this snapshot. Only where a plain
        comparison tells: it costs next to nothing."""
        return not self.intricate and before == tuple(
            [values.get(name, _NOT_LOADED) for name in self.names]
        )

    def differs(self, name: str, one: Any, other: Any) -> bool:
        """Whether the column would hold something else."""
        return not same(one, other) if name in self.intricate else bool(one != other)

    def written(self, update_fields: Any) -> list[str]:
        """The watched columns that a save of these fields writes (None: of all fields)."""
        if update_fields is None:
            return [*self.names]
        return [
            name
            for name, field_name in zip(self.names, self.field_names, strict=True)
            if name in update_fields or field_name in update_fields
        ]

    def changed(
        self, before: tuple[Any, ...], values: dict[str, Any], update_fields: Any
    ) -> set[str]:
        """The watched columns that this save would write and that differ."""
        return {
            name
            for name, field_name, old in zip(self.names, self.field_names, before, strict=True)
            if (new := values.get(name, _NOT_LOADED)) is not old
            and new is not _NOT_LOADED
            and (update_fields is None or name in update_fields or field_name in update_fields)
            and name not in self.generated
            and (old is _NOT_LOADED or self.differs(name, new, old))
        }

    def recomputed(self, changed: Collection[str] | None) -> list[str]:
        """The generated columns that may change with these (None: with any)."""
        return [
            name
            for name, sources in self.generated.items()
            if changed is None or not sources.isdisjoint(changed)
        ]

    def fired(
        self, moment: str, changed: set[str] | None, began: Sequence[Binding] = ()
    ) -> list[tuple[Binding, str]]:
        """The bindings that fire at this moment (`on_create`, `on_update`) when these columns
        changed (None: all may have), each with the slug of its event. `began`: those whose
        condition the row did not meet before."""
        return [
            (binding, slug)
            for binding in self.bindings
            if (slug := binding.event_at(moment, is_new=binding in began))
            and (changed is None or changed.intersection(binding.watched))
        ]


_watches: dict[type[models.Model], Watch] = {}


def watch_of(cls: type[models.Model]) -> Watch | None:
    """What is watched of a class's rows; None where nothing is captured."""
    bindings = captured_for(cls)
    found = _watches.get(cls)
    if found is not None and found.bindings is bindings:
        return found
    if not bindings:
        return None
    pk = cls._meta.pk
    watched = {name for binding in bindings for name in binding.watched} | {pk.attname}
    fields = [f for f in cls._meta.concrete_fields if f.attname in watched]
    found = _watches[cls] = Watch(
        bindings=bindings,
        names=tuple(f.attname for f in fields),
        field_names=tuple(f.name for f in fields),
        intricate=frozenset(f.attname for f in fields if not is_simple(f)),
        generated={
            f.attname: sources_of(f) for f in fields if isinstance(f, models.GeneratedField)
        },
        set_by_saving=frozenset(f.attname for f in fields if f is not pk and sets_itself(f)),
        conditional=tuple(binding for binding in bindings if binding.is_synced is not None),
    )
    return found


def changed(instance: models.Model, watch: Watch, update_fields: Any) -> set[str] | None:
    """The watched columns that differ from the database's; None where that can't be told, so all
    may. `update_fields` None: of all columns."""
    if instance._state.adding:
        return None
    values = instance.__dict__
    before = _known(values)
    if before is None or len(before) != len(watch.names):
        before = (_NOT_LOADED,) * len(watch.names)
    if watch.is_taken(before, values):
        return set()
    differing = watch.changed(before, values, update_fields)
    # With another key it is another row that is written.
    pk = instance._meta.pk.attname
    another = pk in differing and before[watch.names.index(pk)] is not _NOT_LOADED
    return None if another else differing


def as_it_was(instance: models.Model, before: Mapping[str, Any]) -> models.Model:
    """The row with these columns as they were, to be looked at and thrown away. What is not known
    of them is read from the database when it is asked for: nothing may have been written yet."""
    was = type(instance).__new__(type(instance))
    was.__dict__.update(instance.__dict__)
    was._state = copy.copy(instance._state)
    was._state.fields_cache = dict(instance._state.fields_cache)
    for name, value in before.items():
        if value is _NOT_LOADED:
            was.__dict__.pop(name, None)
        else:
            setattr(was, name, value)  # which drops what a changed relation had read
    return was


def as_known(instance: models.Model, watch: Watch) -> models.Model:
    """The row without what was changed in memory and not saved, as far as that is watched."""
    if SNAPSHOT not in instance.__dict__:
        return instance  # never loaded or saved: nothing else is known of it
    unsaved = (changed(instance, watch, None) or set()) - {instance._meta.pk.attname}
    return as_it_was(instance, before(instance, watch, unsaved)) if unsaved else instance


def as_written(instance: models.Model, watch: Watch, written: Any, *, using: str) -> models.Model:
    """The row as the database has it after a save that wrote these fields (None: all of them).

    What such a save leaves out may be otherwise in memory: not saved yet, or long since changed by
    somebody else. That costs one query, in which nobody can be writing the row.
    """
    unwritten = left_out(instance, watch, written)
    if not unwritten:
        return instance
    there = _stored(instance, unwritten, using=using)
    values = instance.__dict__
    differing = {
        name: value
        for name, value in there.items()
        if watch.differs(name, values.get(name, _NOT_LOADED), value)
    }
    return as_it_was(instance, differing) if differing else instance


def left_out(instance: models.Model, watch: Watch, written: Any) -> set[str]:
    """The watched columns that a save of these fields (None: of all) doesn't write."""
    if written is None:
        return set()
    return set(watch.names).difference(watch.written(written), [instance._meta.pk.attname])


def read_back(instance: models.Model, names: Collection[str], *, using: str) -> None:
    """Set these columns of the row to what the database has now: one query, none for none."""
    if names:
        for name, value in _stored(instance, names, using=using).items():
            setattr(instance, name, value)


def _stored(instance: models.Model, names: Collection[str], *, using: str) -> dict[str, Any]:
    """What the database has of these columns, of a row that was just written there."""
    return as_they_are(type(instance), using=using).values(*names).get(pk=instance.pk)


def as_they_are(model: type[_Row], *, using: str) -> models.QuerySet[_Row]:
    """All rows of the model, whatever its managers hide, to read some that this transaction has
    locked."""
    rows: models.QuerySet[_Row] = models.QuerySet(model, using=using)
    # With REPEATABLE READ, MariaDB shows a plain read what was there as the transaction began.
    return rows.select_for_update() if connections[using].vendor == "mysql" else rows


def before(instance: models.Model, watch: Watch, names: Collection[str]) -> dict[str, Any]:
    """What the database has of these watched columns, as far as it is known."""
    known = _known(instance.__dict__)
    if known is None or len(known) != len(watch.names):
        return dict.fromkeys(names, _NOT_LOADED)
    return {name: old for name, old in zip(watch.names, known, strict=True) if name in names}


def _known(values: dict[str, Any]) -> tuple[Any, ...] | None:
    """The snapshot of what the database has; None where a rollback made it unknown."""
    pending: tuple[Scope, ...] = values.get(UNCOMMITTED, ())
    if pending:
        if any(scope.rolled_back for scope in pending):
            values[SNAPSHOT] = None
        values[UNCOMMITTED] = tuple(
            [scope for scope in pending if not (scope.committed or scope.rolled_back)]
        )
    before: tuple[Any, ...] | None = values.get(SNAPSHOT)
    return before


def hold_until_commit(instances: Iterable[models.Model], *, using: str) -> None:
    """Notice should what was just written of these rows be rolled back."""
    scope = scopes.current(using)
    if scope is None and connections[using].get_autocommit():
        return
    for instance in instances:
        if scope is None:
            forget(instance)  # with autocommit off, nobody tells of a rollback outside of `atomic`
            continue
        values = instance.__dict__
        pending: tuple[Scope, ...] = values.get(UNCOMMITTED, ())
        if not pending or pending[-1] is not scope:
            values[UNCOMMITTED] = (*pending, scope)


def computed(instance: models.Model, names: Iterable[str]) -> list[str]:
    """Those of these columns whose value only the database knows, such as F("count") + 1."""
    values = instance.__dict__
    return [name for name in names if hasattr(values.get(name), "resolve_expression")]


def remember(instance: models.Model, watch: Watch, written: Any) -> None:
    """Keep the watched values as what the database has now; `written` limits them to fields."""
    values = instance.__dict__
    now, before = watch.take(values), _known(values)
    if written is not None:
        if before is None or len(before) != len(now):
            before = (_NOT_LOADED,) * len(now)
        written = {*written, *watch.generated}
        now = tuple(
            new if name in written or field_name in written else old
            for name, field_name, new, old in zip(
                watch.names, watch.field_names, now, before, strict=True
            )
        )
    values[SNAPSHOT] = now


def remember_saved(instance: models.Model, watch: Watch, written: Any, *, using: str) -> None:
    """`remember`, until what was just saved is rolled back."""
    remember(instance, watch, written)
    hold_until_commit((instance,), using=using)


def drop(instance: models.Model, names: Iterable[str]) -> None:
    """Have these columns read from the database when they are asked for next."""
    for name in names:
        instance.__dict__.pop(name, None)


def forget(instance: models.Model) -> None:
    """Nobody knows any more what the database has of the row."""
    instance.__dict__[SNAPSHOT] = None
