"""Capture: a save or delete of a bound model becomes invocations, in the same transaction.

Three hooks are put on the class of a bound model, and none on any other:

- `from_db` keeps what was loaded of the watched columns, so that a save can tell a change without
  a query;
- `refresh_from_db` brings that up to date;
- `_save_table` is where Django writes the row, inside whatever transaction there is. Django sends
  `post_save` only after it has left its own transaction, so a receiver would write the invocation
  in a second one, and a crash in between would lose it. Here the row and the invocation are
  written under one `atomic`, which is opened only where something watched changed; on PostgreSQL
  mostly in one statement (`one_statement.py`).

Deletes use `pre_delete` and `post_delete`, which Django sends inside the deleting transaction: the
first while the row and its relations can still be read. What goes past `save()` is captured by
`querysets.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections, models, router, transaction
from django.db.models.signals import post_delete, pre_delete

from xkit_crm.sync import echo, firing, gathering, one_statement, scopes, snapshots
from xkit_crm.sync.bindings import Binding, captured_for
from xkit_crm.sync.gathering import Deletes
from xkit_crm.sync.snapshots import SNAPSHOT, UNCOMMITTED, Watch, watch_of

_muted: ContextVar[bool] = ContextVar("xkit_crm_muted", default=False)


@contextmanager
def muted() -> Iterator[None]:
    """Saves and deletes in this block (and thread or task) fire nothing."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def is_muted() -> bool:
    """Whether a `muted()` block is around."""
    return _muted.get()


# -- hooks ----------------------------------------------------------------------------------------


def install(model: type[models.Model]) -> None:
    """Put the hooks on a bound model; doing it twice does nothing."""
    for cls in _same_table(model):
        pre_delete.connect(_before_delete, sender=cls, dispatch_uid="xkit_crm.capture")
        post_delete.connect(_after_delete, sender=cls, dispatch_uid="xkit_crm.capture")
    one_statement.install(model)
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
        watch = watch_of(cls)
        if watch is not None:
            values = instance.__dict__
            values[SNAPSHOT] = watch.take(values)
            scope = scopes.last(instance._state.db)
            if scope is not None:
                values[UNCOMMITTED] = (scope,)
        return instance

    return from_db


def _refresh_from_db(original: Callable[..., None]) -> Callable[..., None]:
    def refresh_from_db(
        self: models.Model, using: str | None = None, fields: Any = None, **kwargs: Any
    ) -> None:
        original(self, using=using, fields=fields, **kwargs)
        watch = watch_of(type(self))
        if watch is not None:
            snapshots.remember(self, watch, None if fields is None else set(fields))
            database = self._state.db
            if database is not None and scopes.last(database) is not None:
                snapshots.hold_until_commit((self,), using=database)

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
        watch = watch_of(type(self))
        # A row of an inherited model is written table by table; its own table comes last.
        if watch is None or cls is not self._meta.concrete_model:
            return save()
        using = using or router.db_for_write(type(self), instance=self)
        if raw or _muted.get():
            updated = save()
            if updated:
                snapshots.drop(self, watch.generated)
            snapshots.remember_saved(self, watch, update_fields, using=using)
            return updated
        changed = snapshots.changed(self, watch, update_fields)
        # With `select_on_save` an UPDATE that reaches no row says nothing.
        unsure = force_insert or self._meta.select_on_save or watch.set_by_saving
        if changed is not None and not changed and not unsure:
            only_update = force_update or not update_fields
            try:
                return original(self, raw, cls, False, only_update, using, update_fields)
            except DatabaseError as error:
                # What the database itself refused has a cause.
                if force_update or update_fields or error.__cause__ is not None:
                    raise
            changed = None  # the row is gone, and Django makes it again
        return _save_captured(self, watch, save, changed, update_fields, using=using)

    return _save_table


def _save_captured(
    instance: models.Model,
    watch: Watch,
    save: Callable[[], bool],
    changed: set[str] | None,
    update_fields: Any,
    *,
    using: str,
) -> bool:
    """Save the row, and put what that fires: both or neither."""
    may_change = None if changed is None else changed | watch.set_by_saving
    began = _began(instance, watch, may_change) if watch.conditional else ()
    try:
        updated = None
        if one_statement.suits(instance, watch, update_fields, using=using):
            updated = one_statement.save(instance, watch, save, changed, began, using=using)
        if updated is None:
            updated = _save_in_transaction(
                instance, watch, save, changed, began, update_fields, using=using
            )
    except BaseException:
        snapshots.forget(instance)
        raise
    snapshots.remember_saved(instance, watch, update_fields, using=using)
    return updated


def _save_in_transaction(
    instance: models.Model,
    watch: Watch,
    save: Callable[[], bool],
    changed: set[str] | None,
    began: Sequence[Binding],
    update_fields: Any,
    *,
    using: str,
) -> bool:
    """Save the row, and then put what that fires."""
    # In a transaction there is nothing to open, only to be marked should this fail.
    inside = connections[using].in_atomic_block
    unit = transaction.mark_for_rollback_on_error if inside else transaction.atomic
    with unit(using=using):
        updated = save()
        if watch.set_by_saving and changed is not None:
            changed = snapshots.changed(instance, watch, update_fields)
        computed = snapshots.computed(instance, watch.written(update_fields))
        # Django leaves generated columns as they were before an UPDATE.
        again = watch.recomputed(changed) if updated else []
        snapshots.read_back(instance, [*computed, *again], using=using)
        fired_for = changed if updated else None
        moment = "on_update" if updated else "on_create"
        if fired := watch.fired(moment, fired_for, began):
            row = snapshots.as_written(instance, watch, update_fields, using=using)
            for binding, slug in fired:
                capture(binding, slug, row, using=using)
    return updated


def _began(instance: models.Model, watch: Watch, changed: set[str] | None) -> list[Binding]:
    """The bindings whose condition the row doesn't meet as the database still has it.

    Where nobody can tell what row is written over, those that fire nothing else but its creation:
    of others, the delivery makes of a change whatever is due.
    """
    if changed is None:
        return [binding for binding in watch.conditional if not binding.on_update]
    found = []
    for binding in watch.conditional:
        if names := changed & binding.decisive:
            was = snapshots.as_it_was(instance, snapshots.before(instance, watch, names))
            found += [binding] if firing.began(binding, [was])[0] else []
    return found


# -- firing ---------------------------------------------------------------------------------------


def _before_delete(
    *,
    sender: type[models.Model],
    instance: models.Model,
    using: str,
    origin: object = None,
    **_: object,
) -> None:
    deletes = Deletes.of(using)
    watch = watch_of(sender)
    row = snapshots.as_known(instance, watch) if watch is not None else instance
    # Deleting a row of an inherited model sends the signal for its parents too, each with the
    # bindings of its own table.
    for binding in captured_for(sender):
        if binding.model._meta.concrete_model is not sender._meta.concrete_model:
            continue
        if binding.on_delete and not _muted.get():
            deletes.add(deletes.describe(binding, row, origin=origin))
            # Where the record went first, nothing is left to be told, now or later.
            if origins := echo.origins():
                deletes.unlink(binding, instance.pk, connection_ids=origins)
        elif not binding.on_delete:
            deletes.unlink(binding, instance.pk)
    # Somebody sends the signal by hand, and may never send the other one.
    if origin is None:
        deletes.flush()


def _after_delete(*, using: str, **_: object) -> None:
    Deletes.of(using).flush()


def capture(binding: Binding, event_slug: str, instance: models.Model, *, using: str) -> None:
    """Make the invocations of one event of one row, one for each of its connections.

    One INSERT for each connection, none where there is no connection or where an operator switched
    the event off; within `bulk()` they are made with the others of the block. Raises
    `PayloadInvalid` (with `INVALID_PAYLOAD` "record" it makes a failed invocation instead) and
    `UnknownEvent`.
    """
    gathering.offer(firing.describe(binding, event_slug, [instance]), using=using)
