"""Capture: a save or delete of a bound model becomes invocations, in the same transaction.

Three hooks are put on the class of a bound model, and none on any other:

- `from_db` keeps what was loaded of the watched columns, so that a save can tell a change without
  a query;
- `refresh_from_db` brings that up to date;
- `_save_table` is where Django writes the row, inside whatever transaction there is. Django sends
  `post_save` only after it has left its own transaction, so a receiver would write the invocation
  in a second one, and a crash in between would lose it. Here the row and the invocation are
  written under one `atomic`, which is opened only where something watched changed.

Deletes use `pre_delete`, which Django sends inside the deleting transaction while the row and its
relations can still be read.
"""

from __future__ import annotations

import copy
import enum
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, router, transaction
from django.db.models.fields.files import FieldFile
from django.db.models.signals import pre_delete

from xkit_crm import catalogue
from xkit_crm.conf import settings
from xkit_crm.delivery import backends, outbox
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.sync import payloads
from xkit_crm.sync.bindings import Binding, bindings_for


class _Missing(enum.Enum):
    """Stands for a deferred column; an enum, since snapshots are pickled with their instance."""

    NOT_LOADED = "not loaded"


_NOT_LOADED: Final = _Missing.NOT_LOADED
_muted: ContextVar[bool] = ContextVar("xkit_crm_muted", default=False)
#: The attribute that holds a row's watched columns as the database has them.
SNAPSHOT = "_xkit_snapshot"
#: What hears of the commit, while what wrote the row may still be rolled back.
UNCOMMITTED = "_xkit_uncommitted"
#: Fields whose values may be changed in place; of others, keeping a reference is keeping the value.
_MUTABLE = frozenset({"JSONField", "ArrayField", "HStoreField", "FileField"})


@contextmanager
def muted() -> Iterator[None]:
    """Saves and deletes in this block (and thread or task) fire nothing."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


# -- what is watched ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Watch:
    """What a class's snapshot holds: the columns of all its bindings, and the primary key."""

    bindings: tuple[Binding, ...]
    names: tuple[str, ...]
    field_names: tuple[str, ...]
    #: Columns whose value may be changed in place, so that a copy has to be kept.
    mutable: frozenset[str]

    def take(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """The watched values of an instance's `__dict__`; a deferred column is not loaded."""
        if not self.mutable:
            return tuple([values.get(name, _NOT_LOADED) for name in self.names])
        return tuple(
            _copy(value) if name in self.mutable else value
            for name, value in ((name, values.get(name, _NOT_LOADED)) for name in self.names)
        )

    def changed(
        self, before: tuple[Any, ...], values: dict[str, Any], update_fields: Any
    ) -> set[str]:
        """The watched columns that this save would write and that differ."""
        return {
            name
            for name, field_name, old in zip(self.names, self.field_names, before, strict=True)
            if (update_fields is None or name in update_fields or field_name in update_fields)
            and (new := values.get(name, _NOT_LOADED)) is not _NOT_LOADED
            and (old is _NOT_LOADED or new != old)
        }


_watches: dict[type[models.Model], _Watch] = {}


def _watch(cls: type[models.Model]) -> _Watch | None:
    bindings = bindings_for(cls)
    found = _watches.get(cls)
    if found is not None and found.bindings is bindings:
        return found
    if not bindings:
        return None
    pk = cls._meta.pk
    watched = {name for binding in bindings for name in binding.watched} | {pk.attname}
    fields = [f for f in cls._meta.concrete_fields if f.attname in watched]
    found = _watches[cls] = _Watch(
        bindings=bindings,
        names=tuple(f.attname for f in fields),
        field_names=tuple(f.name for f in fields),
        mutable=frozenset(f.attname for f in fields if _is_mutable(f)),
    )
    return found


def _copy(value: Any) -> Any:
    # A file knows its row, which is no value: what the column holds is its name.
    return value.name if isinstance(value, FieldFile) else copy.deepcopy(value)


def _is_mutable(field: models.Field) -> bool:
    return any(base.__name__ in _MUTABLE for base in type(field).__mro__)


# -- hooks ----------------------------------------------------------------------------------------


def install(model: type[models.Model]) -> None:
    """Put the hooks on a bound model; doing it twice does nothing."""
    for cls in _same_table(model):
        pre_delete.connect(_before_delete, sender=cls, dispatch_uid="xkit_crm.capture")
    hooked: Any = model
    if getattr(hooked, "_xkit_captured", False):
        return
    hooked._xkit_captured = True
    hooked.from_db = classmethod(_from_db(hooked.from_db.__func__))
    hooked.refresh_from_db = _refresh_from_db(hooked.refresh_from_db)
    hooked._save_table = _save_table(hooked._save_table)


def _same_table(model: type[models.Model]) -> list[type[models.Model]]:
    """The model and its proxies: Django sends each one's signals apart."""
    proxies = [cls for cls in apps.get_models() if cls._meta.proxy and issubclass(cls, model)]
    return [
        model,
        *(cls for cls in proxies if cls._meta.concrete_model is model._meta.concrete_model),
    ]


def _from_db(original: Callable[..., Any]) -> Callable[..., Any]:
    def from_db(cls: type[models.Model], *args: Any, **kwargs: Any) -> Any:
        instance = original(cls, *args, **kwargs)
        watch = _watch(cls)
        if watch is not None:
            values = instance.__dict__
            values[SNAPSHOT] = watch.take(values)
        return instance

    return from_db


def _refresh_from_db(original: Callable[..., None]) -> Callable[..., None]:
    def refresh_from_db(
        self: models.Model, using: str | None = None, fields: Any = None, **kwargs: Any
    ) -> None:
        original(self, using=using, fields=fields, **kwargs)
        watch = _watch(type(self))
        if watch is not None:
            _remember(self, watch, None if fields is None else set(fields))

    return refresh_from_db


def _save_table(original: Callable[..., bool]) -> Callable[..., bool]:
    # Django's own name; `test_capture_is_still_called_by_django` fails should it ever move.
    def _save_table(
        self: models.Model,
        raw: bool = False,
        cls: type[models.Model] | None = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        save = partial(original, self, raw, cls, force_insert, force_update, using, update_fields)
        watch = _watch(type(self))
        # A row of an inherited model is written table by table; its own table comes last.
        if watch is None or cls is not self._meta.concrete_model:
            return save()
        using = using or router.db_for_write(type(self), instance=self)
        if raw or _muted.get():
            updated = save()
            _remember(self, watch, update_fields)
            _hold_until_commit(self, using=using)
            return updated
        changed = _changed(self, watch, update_fields)
        if changed is not None and not changed:
            return save()
        # In a transaction there is nothing to open, only to be marked should this fail.
        inside = connections[using].in_atomic_block
        unit = transaction.mark_for_rollback_on_error if inside else transaction.atomic
        try:
            with unit(using=using):
                updated = save()
                _load_expressions(self, watch)
                fired_for = changed if updated else None
                _fire(self, watch, fired_for, using=using, created=not updated)
        except BaseException:
            self.__dict__[SNAPSHOT] = None
            raise
        _remember(self, watch, update_fields)
        _hold_until_commit(self, using=using)
        return updated

    return _save_table


def _changed(instance: models.Model, watch: _Watch, update_fields: Any) -> set[str] | None:
    """The watched columns that changed; None where that can't be told, so all may have."""
    if instance._state.adding:
        return None
    values = instance.__dict__
    before = _known(values)
    if before is None or len(before) != len(watch.names):
        before = (_NOT_LOADED,) * len(watch.names)
    if before == tuple([values.get(name, _NOT_LOADED) for name in watch.names]):
        return set()
    changed = watch.changed(before, values, update_fields)
    # With another key it is another row that is written.
    pk = instance._meta.pk.attname
    another = pk in changed and before[watch.names.index(pk)] is not _NOT_LOADED
    return None if another else changed


# -- what may still be rolled back ----------------------------------------------------------------


class _Commit:
    """Run at commit: from then on what was written is what the database has.

    Django drops it when the transaction or savepoint it was registered in is rolled back. Nobody
    else holds it, so that it is there exactly as long as what was written may hold.
    """

    __slots__ = ("__weakref__", "savepoints", "values")

    def __init__(self, values: dict[str, Any], savepoints: tuple[Any, ...]) -> None:
        self.values, self.savepoints = values, savepoints

    def __call__(self) -> None:
        self.values.pop(UNCOMMITTED, None)


class _Pending:
    """A weak reference to a commit; in a pickled row, which can't hear of it, to nothing."""

    __slots__ = ("commit",)

    def __init__(self, commit: Callable[[], _Commit | None] = lambda: None) -> None:
        self.commit = commit

    def __reduce__(self) -> Any:
        return _Pending, ()


def _known(values: dict[str, Any]) -> tuple[Any, ...] | None:
    """The snapshot of what the database has; None where a rollback made it unknown."""
    pending: tuple[_Pending, ...] = values.get(UNCOMMITTED, ())
    alive = tuple(p for p in pending if p.commit() is not None)
    if len(alive) < len(pending):
        values[SNAPSHOT], values[UNCOMMITTED] = None, alive
    before: tuple[Any, ...] | None = values.get(SNAPSHOT)
    return before


def _hold_until_commit(instance: models.Model, *, using: str) -> None:
    """Notice should what was just written be rolled back; once for each savepoint."""
    database, values = connections[using], instance.__dict__
    if not database.in_atomic_block:
        return
    pending: tuple[_Pending, ...] = values.get(UNCOMMITTED, ())
    savepoints = tuple(database.savepoint_ids)
    last = pending[-1].commit() if pending else None
    if last is None or last.savepoints != savepoints:
        commit = _Commit(values, savepoints)
        values[UNCOMMITTED] = (*pending, _Pending(weakref.ref(commit)))
        transaction.on_commit(commit, using=using)


def _load_expressions(instance: models.Model, watch: _Watch) -> None:
    """Read back what the database computed, such as F("count") + 1."""
    values = instance.__dict__
    computed = [
        field_name
        for name, field_name in zip(watch.names, watch.field_names, strict=True)
        if hasattr(values.get(name), "resolve_expression")
    ]
    if computed:
        instance.refresh_from_db(fields=computed)


def _remember(instance: models.Model, watch: _Watch, written: Any) -> None:
    """Keep the watched values as what the database has now; `written` limits them to fields."""
    values = instance.__dict__
    now, before = watch.take(values), _known(values)
    if written is not None:
        if before is None or len(before) != len(now):
            before = (_NOT_LOADED,) * len(now)
        now = tuple(
            new if name in written or field_name in written else old
            for name, field_name, new, old in zip(
                watch.names, watch.field_names, now, before, strict=True
            )
        )
    values[SNAPSHOT] = now


# -- firing ---------------------------------------------------------------------------------------


def _fire(
    instance: models.Model, watch: _Watch, changed: set[str] | None, *, using: str, created: bool
) -> None:
    for binding in watch.bindings:
        event_slug = binding.on_create if created else binding.on_update
        if event_slug and (changed is None or changed.intersection(binding.watched)):
            capture(binding, event_slug, instance, using=using)


def _before_delete(
    *, sender: type[models.Model], instance: models.Model, using: str, **_: object
) -> None:
    # Deleting a row of an inherited model sends the signal for its parents too, each with the
    # bindings of its own table.
    for binding in bindings_for(sender):
        if binding.model._meta.concrete_model is not sender._meta.concrete_model:
            continue
        if binding.on_delete and not _muted.get():
            capture(binding, binding.on_delete, instance, using=using)
        elif not binding.on_delete:
            RecordLink.objects.filter(
                content_type=ContentType.objects.get_for_model(binding.model),
                object_pk=str(instance.pk),
                crm_object__slug=binding.crm_object,
            ).delete()


def capture(binding: Binding, event_slug: str, instance: models.Model, *, using: str) -> None:
    """Make the invocations of one event of one row, one for each of its connections.

    One INSERT for each connection, none where there is no connection or where an operator switched
    the event off. Raises `PayloadInvalid`
    (with `INVALID_PAYLOAD` "record" it makes a failed invocation instead) and `UnknownEvent`.
    """
    if catalogue.is_switched_off(binding.crm_object, event_slug):
        return
    connection_ids = binding.connection_ids(instance)
    if not connection_ids:
        return
    event = catalogue.event(binding.crm_object, event_slug)
    payload, problems = payloads.build(event, binding.payload, instance)
    error = None
    if problems:
        error = PayloadInvalid(
            f"{instance._meta.label} {instance.pk} gives an invalid payload for {event.slug}.",
            hint=f"Correct the row, or the payload of {binding.origin}.",
            errors=problems,
        )
        if settings.INVALID_PAYLOAD == "raise":
            raise error
    row = outbox.Row.of(binding.model, instance.pk, crm_object=binding.crm_object)
    home = router.db_for_write(Invocation)

    def put() -> None:
        there = outbox.put_captured(
            event.id, payload, connection_ids, row=row, using=home, error=error
        )
        if there:
            backends.poke_on_commit(there, using=home)

    if home == using:
        put()
    else:
        # No transaction spans two databases; check W003 says so. Nothing may leave before the row
        # is committed, so the invocation is written right after.
        transaction.on_commit(put, using=using)
