"""Querysets: what goes past `save()` is captured set-wise, with the same rules.

A product puts a `SyncedManager` on a bound model; then `bulk_create`, `bulk_update`, `update` and
`delete` fire too. What changed is told by reading the watched columns of the rows before and after,
under a lock, so it costs a few queries for each thousand rows and none for a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Self, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models, transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL

from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models.base import locking
from xkit_crm.sync import capture, firing, gathering, scopes, snapshots
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.snapshots import SNAPSHOT, Watch, watch_of

_Row = TypeVar("_Row", bound=models.Model)

#: Rows that are read again and described at a time.
CHUNK = 1000
#: Rows that one UPDATE names, where each key is a parameter of its own.
_UPDATED_AT_ONCE = 10_000
#: Rows whose unique values stand in one condition; SQLite allows no deeper ones.
_CONDITIONS = 200


class SyncedQuerySet(models.QuerySet[_Row]):
    """A queryset whose `bulk_create`, `bulk_update`, `update` and `delete` fire as `save()` does.

    For a model that is bound to nothing, and in a `muted()` block, it is Django's own. Use it by
    `SyncedManager`, or as `YourQuerySet.as_manager()` where `YourQuerySet` inherits from it.
    """

    #: Whoever asked for what is done now captures it.
    _is_captured = False
    #: Its rows are about to be deleted.
    _is_deleting = False

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._is_captured, clone._is_deleting = self._is_captured, self._is_deleting
        return clone

    # -- update and bulk_update

    def update(self, **kwargs: Any) -> int:
        """As Django's; fires `on_update` for each row in which something watched changed.

        Raises `ConfigurationError` where it sets the primary key: that makes other rows of them.
        """
        watch, names = self._watched(kwargs)
        if watch is None or capture.is_muted():
            return super().update(**kwargs)
        if self.model._meta.pk.attname in names:
            raise ConfigurationError(
                f"update() sets the primary key of {self.model._meta.label}, and nobody could tell "
                "which CRM record belongs to which row.",
                hint="Save rows with new keys, or do it within xkit_crm.muted().",
            )
        if not watch.fired("on_update", {*names}, watch.conditional):
            return super().update(**kwargs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            before = self._locked(names)
            updated = self._update_locked(list(before), kwargs)
            scopes.current(self.db)  # rows that are loaded from here on may be rolled back
            self._fire_updated(watch, names, before)
        self._result_cache = None
        return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(
        self, objs: Iterable[_Row], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        """As Django's; fires `on_update` for each row in which something watched changed."""
        objs, fields = tuple(objs), tuple(fields)
        watch, names = self._watched(fields)
        if watch is None or not names or any(obj.pk is None for obj in objs):
            return super(SyncedQuerySet, self._quiet()).bulk_update(objs, fields, batch_size)
        self._for_write = True
        written = set(names)
        fires = not capture.is_muted() and watch.fired("on_update", written, watch.conditional)
        # A condition may leave some out; where nobody looks, it could be any of them.
        unreached: Sequence[_Row] = objs if capture.is_muted() and self.query.where else ()
        try:
            with transaction.atomic(using=self.db, savepoint=False):
                before: dict[Any, tuple[Any, ...]] = {}
                if fires:
                    for chunk in _chunks(objs):
                        given = _among(self.model, [obj.pk for obj in chunk], using=self.db)
                        before |= self.filter(given)._locked(names)
                    unreached = [obj for obj in objs if self._key_of(obj) not in before]
                    objs = tuple(obj for obj in objs if self._key_of(obj) in before)
                updated = super(SyncedQuerySet, self._quiet()).bulk_update(objs, fields, batch_size)
                self._fire_updated(watch, names, before)
        except BaseException:
            for obj in (*objs, *unreached):
                snapshots.forget(obj)
            raise
        for obj in objs:
            # What the database computed is not known here: its next save fires.
            known = written.difference(snapshots.computed(obj, names))
            snapshots.drop(obj, watch.generated.keys() & written)
            snapshots.remember(obj, watch, known)
        for obj in unreached:
            snapshots.forget(obj)
        snapshots.hold_until_commit(objs, using=self.db)
        return updated

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def _watched(self, fields: Iterable[str]) -> tuple[Watch | None, list[str]]:
        """What is watched of the model, and the watched columns that change with these fields."""
        watch = None if self._is_captured else watch_of(self.model)
        if watch is None or self.query.is_sliced or self.query.combinator:
            return None, []  # Django refuses the latter
        attnames = set()
        for name in fields:
            try:
                field = self.model._meta.get_field(name)
            except FieldDoesNotExist:
                return None, []  # and this
            attnames.add(getattr(field, "attname", name))
        attnames.update(watch.recomputed(attnames))
        return watch, [name for name in watch.names if name in attnames]

    def _key_of(self, obj: _Row) -> Any:
        """The row's key as the database gives it: one that was given as "7" is 7."""
        return self.model._meta.pk.to_python(obj.pk)

    def _quiet(self) -> Self:
        """The same rows; what is done to them is captured already."""
        rows = self._chain()  # type: ignore[attr-defined]
        rows._is_captured = True
        quiet: Self = rows
        return quiet

    def _locked(self, names: Sequence[str]) -> dict[Any, tuple[Any, ...]]:
        """The values of these columns by primary key; nobody else changes them meanwhile."""
        query = self.query
        if (
            query.distinct
            or query.annotations
            or query.extra
            or query.group_by is not None
            or query.count_active_tables() > 1
        ):
            # Rows that are grouped or joined can't be locked.
            rows: models.QuerySet[_Row] = models.QuerySet(self.model, using=self.db)
            rows = rows.filter(pk__in=self.order_by().values("pk"))
        else:
            rows = models.QuerySet(self.model, query=query.chain(), using=self.db)
        values = locking(rows).order_by("pk").values_list("pk", *names)
        return {pk: tuple(others) for pk, *others in values}

    def _update_locked(self, pks: Sequence[Any], values: Mapping[str, Any]) -> int:
        """Update these rows; others may have committed some since that match too."""
        database = connections[self.db]
        if not database.features.has_select_for_update:
            # Nobody else writes while this transaction is open.
            return super(SyncedQuerySet, self._quiet()).update(**values)
        most = max(len(pks), 1)  # none are updated too, so that Django looks at the values
        size = most if database.vendor == "postgresql" else _UPDATED_AT_ONCE
        updated = 0
        for begin in range(0, most, size):
            rows = self._quiet()
            # They matched; after the first chunk some may not, where a condition is about others.
            rows.query.clear_where()
            chunk = _among(self.model, pks[begin : begin + size], using=self.db)
            updated += super(SyncedQuerySet, rows.filter(chunk)).update(**values)
        return updated

    def _fire_updated(
        self, watch: Watch, names: Sequence[str], before: Mapping[Any, tuple[Any, ...]]
    ) -> None:
        """Fire for those of these rows whose columns have other values now."""
        places = [watch.names.index(name) for name in names]
        bindings = [binding for binding, _ in watch.fired("on_update", {*names}, watch.conditional)]
        for rows in _read_again(self.model, list(before), using=self.db):
            changed = []
            for row in rows:
                now, was = row.__dict__[SNAPSHOT], before[row.pk]
                differing = {
                    name: old
                    for name, place, old in zip(names, places, was, strict=True)
                    if watch.differs(name, now[place], old)
                }
                if differing:
                    changed.append((row, differing))
            for binding in bindings:
                concerned = [
                    one for one in changed if not one[1].keys().isdisjoint(binding.watched)
                ]
                self._fire_changed(binding, concerned)

    def _fire_changed(
        self, binding: Binding, changed: Sequence[tuple[models.Model, Mapping[str, Any]]]
    ) -> None:
        """Fire for these rows, of which these columns had other values before."""
        moved = [(row, was) for row, was in changed if not was.keys().isdisjoint(binding.decisive)]
        before = [snapshots.as_it_was(row, was) for row, was in moved]
        began = firing.began(binding, before) if before else []
        new = {row.pk for (row, _), is_new in zip(moved, began, strict=True) if is_new}
        rows = [row for row, _ in changed]
        for is_new in (True, False):
            slug = binding.event_at("on_update", is_new=is_new)
            self._fire(binding, slug, [row for row in rows if (row.pk in new) is is_new])

    def _fire(self, binding: Binding, slug: str, rows: Sequence[models.Model]) -> None:
        if not slug or not rows:
            return
        gathering.offer(firing.describe(binding, slug, rows), using=self.db)

    # -- bulk_create

    def bulk_create(
        self,
        objs: Iterable[_Row],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[_Row]:
        """As Django's; fires `on_create` for each row, and with `update_conflicts` `on_update` for
        those that were there and in which something watched changed.

        Raises `ConfigurationError` where nobody could tell which rows were written:
        with `ignore_conflicts`, and where the database doesn't give back the keys it makes.
        """
        objs = list(objs)
        create = super(SyncedQuerySet, self._quiet()).bulk_create
        watch = None if self._is_captured else watch_of(self.model)
        if watch is None or not objs:
            return create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )
        self._for_write = True
        fires = not capture.is_muted()
        if fires:
            self._require_known_rows(objs, watch, ignore_conflicts, update_conflicts)
        with transaction.atomic(using=self.db, savepoint=False):
            before: dict[Any, tuple[Any, ...]] = {}
            if fires and update_conflicts:
                before = self._conflicting(objs, unique_fields or (), watch.names)
            create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )
            if update_conflicts and fires:
                self._fire_written(objs, watch, before)
            elif not ignore_conflicts and not update_conflicts:
                self._load_expressions(objs, watch)
                for binding, slug in watch.fired("on_create", None) if fires else ():
                    self._fire(binding, slug, objs)
                for obj in objs:
                    snapshots.remember(obj, watch, None)
        snapshots.hold_until_commit(objs, using=self.db)
        return objs

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _require_known_rows(
        self,
        objs: Sequence[_Row],
        watch: Watch,
        ignore_conflicts: bool,
        update_conflicts: bool,
    ) -> None:
        moments = ("on_create", "on_update") if update_conflicts else ("on_create",)
        if not any(watch.fired(moment, None) for moment in moments):
            return
        features = connections[self.db].features
        gives_keys = features.can_return_rows_from_bulk_insert
        why = ""
        if ignore_conflicts:
            why = "ignore_conflicts doesn't tell which rows were made"
        elif update_conflicts and not (
            gives_keys and features.supports_update_conflicts_with_target
        ):
            why = "the database doesn't tell which rows update_conflicts wrote"
        elif not gives_keys and any(obj.pk is None for obj in objs):
            why = "the database doesn't tell the primary keys it made"
        if why:
            raise ConfigurationError(
                f"bulk_create() of {self.model._meta.label} can't be captured: {why}.",
                hint="Leave out the rows that are there and create the others, save each row, or "
                "do it within xkit_crm.muted().",
            )

    def _conflicting(
        self, objs: Sequence[_Row], unique_fields: Collection[str], names: Sequence[str]
    ) -> dict[Any, tuple[Any, ...]]:
        """The rows that are there already and will be updated, with the values of these columns."""
        opts = self.model._meta
        fields: list[Any] = [
            opts.get_field(opts.pk.name if name == "pk" else name) for name in unique_fields
        ]
        found: dict[Any, tuple[Any, ...]] = {}
        for chunk in _chunks(objs, _CONDITIONS):
            keys = [[getattr(obj, field.attname) for field in fields] for obj in chunk]
            conditions = [
                Q(**dict(zip((field.attname for field in fields), key, strict=True)))
                for key in keys
                if key and None not in key
            ]
            if conditions:
                rows: SyncedQuerySet[_Row] = SyncedQuerySet(self.model, using=self.db)
                found |= rows.filter(reduce(or_, conditions))._locked(names)
        return found

    def _fire_written(
        self, objs: Sequence[_Row], watch: Watch, before: Mapping[Any, tuple[Any, ...]]
    ) -> None:
        """Fire `on_create` for what was not there before, and `on_update` for what changed."""
        pks = list(map(self._key_of, objs))
        self._fire_updated(watch, watch.names, {pk: before[pk] for pk in pks if pk in before})
        made = [pk for pk in pks if pk not in before]
        for rows in _read_again(self.model, made, using=self.db):
            for binding, slug in watch.fired("on_create", None):
                self._fire(binding, slug, rows)

    def _load_expressions(self, objs: Sequence[_Row], watch: Watch) -> None:
        """Read back what the database computed, for all rows at once."""
        computed = {
            self._key_of(obj): (obj, names)
            for obj in objs
            if (names := snapshots.computed(obj, watch.names))
        }
        for rows in _read_again(self.model, list(computed), using=self.db):
            for row in rows:
                obj, names = computed[row.pk]
                for name in names:
                    setattr(obj, name, getattr(row, name))

    # -- delete

    def delete(self) -> tuple[int, dict[str, int]]:
        """As Django's; fires `on_delete` for each row, with one look for all at what they need."""
        rows = self._chain()  # type: ignore[attr-defined]
        rows._is_deleting = True
        deleted: tuple[int, dict[str, int]] = super(SyncedQuerySet, rows).delete()
        self._result_cache = None
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _fetch_all(self) -> None:
        is_news = self._result_cache is None
        super()._fetch_all()
        rows = self._result_cache
        if is_news and self._is_deleting and rows and len(rows) > 1 and not capture.is_muted():
            watch = watch_of(self.model)
            for binding, slug in watch.fired("on_delete", None) if watch else ():
                firing.fetch_relations(binding, slug, rows)


#: The manager of a bound model whose bulk operations fire: `objects = xkit_crm.SyncedManager()`.
SyncedManager = models.Manager.from_queryset(SyncedQuerySet, class_name="SyncedManager")


def _chunks(items: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _among(model: type[models.Model], pks: Iterable[Any], *, using: str) -> Q:
    """Rows with these keys. On PostgreSQL they are one parameter, however many there are."""
    database = connections[using]
    field: Any = model._meta.pk
    if database.vendor != "postgresql":
        return Q(pk__in=list(pks))
    while field.remote_field is not None:
        field = field.target_field
    keys = [field.get_db_prep_value(pk, database) for pk in pks]
    return Q(pk__in=RawSQL(f"SELECT unnest(%s::{field.rel_db_type(database)}[])", [keys]))  # noqa: S611


def _read_again(model: type[_Row], pks: Sequence[Any], *, using: str) -> Iterator[list[_Row]]:
    """These rows as they are now, some at a time, in the order of their keys."""
    for chunk in _chunks(pks):
        rows = snapshots.as_they_are(model, using=using).filter(_among(model, chunk, using=using))
        yield list(rows.order_by("pk"))
