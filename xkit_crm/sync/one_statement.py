"""A save and what it fires in one statement, so that neither needs a transaction around both.

PostgreSQL runs the statement that Django writes the row with as a part of the one that inserts the
invocation: one round trip instead of up to four. What is to be told has to be known before it runs.
So it is done only where all of that is in memory, which is found out by making it: should that ask
for the key that the row has yet to get, or the database for anything, nothing was written, and
`capture.py` opens a transaction as it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from inspect import getattr_static
from types import SimpleNamespace
from typing import Any, Final

from django.db import connections, models, router
from django.db.models.query_utils import DeferredAttribute

from xkit_crm import tracing
from xkit_crm.delivery import backends, cursors, outbox
from xkit_crm.delivery.outbox import Captured
from xkit_crm.models import Invocation
from xkit_crm.sync import firing, gathering, snapshots
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.columns import is_stamp, sets_itself
from xkit_crm.sync.snapshots import Watch

#: What needs more than memory so many times in a row, needs it always.
TRIES = 5
#: The attribute of a row that is about to get its key.
_KEYLESS: Final = "_xkit_keyless"


class NotAlone(Exception):
    """It needs more than memory. Nothing was written."""


class Key(DeferredAttribute):
    """The primary key of a bound model: tells where it is asked for before there is one."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        row: Any = None if instance is None else instance.__dict__.get(_KEYLESS)
        if row is None:
            return super().__get__(instance, cls)
        row.asked = True
        return None


def install(model: type[models.Model]) -> None:
    """Have the model's primary key tell, where the database numbers the rows."""
    pk = model._meta.pk
    # What a product makes of the number is told, and that is known only then.
    is_number = type(pk) in (models.AutoField, models.BigAutoField, models.SmallAutoField)
    if is_number and type(model.__dict__.get(pk.attname)) is DeferredAttribute:
        setattr(model, pk.attname, Key(pk))


def suits(instance: models.Model, watch: Watch, update_fields: Any, *, using: str) -> bool:
    """Whether it may be tried."""
    moment = "on_create" if instance._state.adding else "on_update"
    connection = connections[using]
    return (
        connection.vendor == "postgresql"
        and (connection.in_atomic_block or connection.get_autocommit())
        and router.db_for_write(Invocation) == using
        and len(watch.bindings) == 1
        and watch.missed[moment] < TRIES
        and _suits(type(instance))
        and not snapshots.left_out(instance, watch, update_fields)
        and not snapshots.computed(instance, [f.attname for f in instance._meta.concrete_fields])
        and not gathering.is_gathering(using)
        and not connection.needs_rollback
        and not _has_rules(type(instance), using)
    )


@cache
def _suits(model: type[models.Model]) -> bool:
    concrete: Any = model._meta.concrete_model  # a proxy's fields are all its own
    meta = concrete._meta
    # What a field does as a row is saved is done again in the transaction, and what the database
    # computes is known only then.
    again = any(
        field.generated or (sets_itself(field) and not is_stamp(field))
        for field in meta.concrete_fields
    )
    tells = isinstance(getattr_static(model, meta.pk.attname, None), Key)
    return (
        not again
        and meta.managed
        and not meta.parents
        and meta.pk.column is not None  # several are not told as one
        and not meta.select_on_save
        and not meta.order_with_respect_to
        and (tells or meta.pk is not meta.auto_field)
    )


@cache
def _has_rules(model: type[models.Model], using: str) -> bool:
    """Whether PostgreSQL makes something else of what is written there, which it refuses to do as
    a part of another statement."""
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    asked = "SELECT relhasrules FROM pg_class WHERE oid = to_regclass(%s)"
    return bool(cursors.ask(connection, asked, table))


#: Columns whose values are given as they are, of a type that PostgreSQL takes for theirs.
_PLAIN: Final = frozenset(
    [
        *("AutoField", "BigAutoField", "SmallAutoField", "BooleanField", "CharField", "DateField"),
        *("DateTimeField", "DecimalField", "DurationField", "FileField", "FloatField"),
        *("ForeignKey", "IntegerField", "BigIntegerField", "SmallIntegerField", "JSONField"),
        *("OneToOneField", "PositiveIntegerField", "PositiveBigIntegerField"),
        *("PositiveSmallIntegerField", "SlugField", "TextField", "TimeField", "UUIDField"),
    ]
)
#: What a field has whose values stand in something else, up to Django 6.0 and since.
_MORE_THAN_VALUES: Final = ("get_placeholder", "get_placeholder_sql")


@cache
def _is_plain(model: type[models.Model]) -> bool:
    """Whether a statement that writes the model's rows is one that can be prepared."""
    fields: Any = model._meta.concrete_fields
    return all(
        field.target_field.get_internal_type() in _PLAIN
        if field.is_relation
        else field.get_internal_type() in _PLAIN
        and not any(hasattr(field, name) for name in _MORE_THAN_VALUES)
        for field in fields
    )


def save(
    instance: models.Model,
    watch: Watch,
    write: Callable[[], bool],
    changed: set[str] | None,
    began: Sequence[Binding],
    *,
    using: str,
) -> bool | None:
    """Save the row by `write`, and what that fires; gives what `write` gives. None where that needs
    more than memory: nothing was written."""
    joining = _Joining(instance, watch, changed, began, using)
    try:
        with connections[using].execute_wrapper(joining):
            updated = write()
    except Exception:
        # Of `NotAlone` somebody on the way may have made something else.
        if joining.refused and not joining.written:
            return None
        raise
    if joining.there:
        backends.poke_on_commit(joining.there, using=using)
    return updated


@dataclass(eq=False)
class _Joining:
    """Makes one statement of Django's and the invocation's, as Django runs its own."""

    instance: models.Model
    watch: Watch
    changed: set[str] | None
    began: Sequence[Binding]
    using: str
    #: The connections that exist, and have work by it.
    there: Sequence[str] = ()
    #: Whether what is to be told is being made, and whether that asked for more.
    describing: bool = False
    asked: bool = False
    #: Whether the row is, or was not since that needs more than memory.
    written: bool = False
    refused: bool = False

    def __reduce__(self) -> Any:
        # A copy of the row would ask somebody else.
        self.asked = True
        raise NotAlone

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        try:
            return self._run(execute, sql, params, many, context)
        except NotAlone:
            self.refused = True
            # Who logs statements reads there what was run, and wants a text.
            query = SimpleNamespace(query=f"/* not run */ {sql}".encode())
            with suppress(AttributeError):  # psycopg2's has none
                context["cursor"].cursor._query = query
            raise

    def _run(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if self.written:  # what a product runs after it is its own
            return execute(sql, params, many, context)
        if self.describing:
            # It is asked again in the transaction, and what it does is to be done once.
            self.asked = True
            raise NotAlone
        moment, cursor = self._moment(sql), context["cursor"]
        captured, key = self._captured(moment)
        if captured is None:
            result = execute(sql, params, many, context)
            self.written = moment == "on_create" or cursor.rowcount > 0
            return result
        with tracing.making("capture", 1) as traceparent:
            whole, more = outbox.written_with(
                sql, captured, key=key, using=self.using, traceparent=traceparent
            )
            if _is_plain(type(self.instance)) and (prepared := cursors.prepared(self.using)):
                cursor.cursor.close()
                cursor.cursor = prepared
            result = execute(whole, (*params, *more), many, context)
        self.written = moment == "on_create" or cursor.rowcount > 0
        if row := cursor.fetchone():
            cursor.scroll(0, mode="absolute")  # Django reads it too
            self.there = captured.connection_ids if row[-1] else ()
        return result

    def _captured(self, moment: str) -> tuple[Captured | None, str]:
        """What this statement fires, and the column of the key that the row gets by it."""
        pk = self.instance._meta.pk
        inserts = moment == "on_create"
        fired = self.watch.fired(moment, None if inserts else self.changed, self.began)
        if not fired:
            return None, ""
        numbered = inserts and self.instance.__dict__.get(pk.attname) is None
        captured = self._describe(*fired[0], numbered=numbered)
        if self.asked or any(one.error or len(one.connection_ids) > 1 for one in captured):
            self.watch.missed[moment] += 1
            raise NotAlone
        self.watch.missed[moment] = 0
        return next(iter(captured), None), str(pk.column) if numbered else ""

    def _moment(self, sql: str) -> str:
        table = connections[self.using].ops.quote_name(self.instance._meta.db_table)
        for beginning, moment in (
            ("UPDATE {} SET ", "on_update"),
            ("INSERT INTO {} (", "on_create"),
        ):
            if sql.startswith(beginning.format(table)):
                return moment
        self.watch.missed.update(["on_create", "on_update"])
        raise NotAlone

    def _describe(self, binding: Binding, slug: str, *, numbered: bool) -> list[Captured]:
        """The event, as it can be made now. Where it can't, nothing is left of the attempt."""
        connection, values = connections[self.using], self.instance.__dict__
        attname = self.instance._meta.pk.attname
        row, known, needs_rollback = None, dict(values), connection.needs_rollback
        if numbered:
            row = outbox.keyless(binding.model, crm_object=binding.crm_object)
            del values[attname]
            values[_KEYLESS] = self
        self.describing = True
        try:
            row_of = None if row is None else lambda _: row
            return firing.describe(binding, slug, [self.instance], row_of=row_of)
        except Exception:  # noqa: BLE001 - whatever it is, it is raised again in the transaction
            self.asked = True
            return []
        finally:
            self.describing = False
            if numbered:
                del values[_KEYLESS]
                values[attname] = None
            if self.asked:
                values.clear()
                values.update(known)
                connection.needs_rollback = needs_rollback
