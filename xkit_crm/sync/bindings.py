"""Bindings: how one Django model feeds a CRM object.

Engineers write a `ModelSync` in their app's `crm.py`; operators make `ModelBinding` rows in the
admin. Both become immutable `Binding`s in the registry here. `capture.py` asks it on every save,
so its answers are kept per class.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from django.db import connections, models, router

from xkit_crm.exceptions import ConfigurationError
from xkit_crm.sync.binding import MOMENTS as MOMENTS  # where those who ask for bindings look
from xkit_crm.sync.binding import Binding as Binding
from xkit_crm.sync.binding import compiled
from xkit_crm.sync.payloads import attribute

logger = logging.getLogger(__name__)


class ModelSync:
    """What an engineer writes in `crm.py`; register it with `@xkit_crm.register(Model)`.

    `payload` gives each payload key an attribute path (`owner.email` or `owner__email`); a method
    `get_<key>(self, instance)` computes one. A key `address.city` fills a part of an object. Each
    event takes the keys that its schema has. What is watched is derived from the paths. A method
    or property may read anything, so with one every column is watched, unless `watch` names the
    fields that matter. What `get_connections` reads is watched only where `watch` names it. Columns
    that Django sets on every save (`auto_now`) fire nothing by themselves.

    With a `condition`, rules such as `{"path": "status", "operator": "is", "value": "sent"}`, only
    rows of which all hold are synced; `is_synced(self, instance)` decides it in Python instead.

    With `by_triggers` nothing is captured as the product saves: the model's triggers mark the row
    (`triggers.capture_triggers`), and the worker tells of it a moment later. A save costs less. On
    other databases than PostgreSQL it is captured as ever.
    """

    crm_object: ClassVar[str] = ""
    on_create: ClassVar[str] = ""
    on_update: ClassVar[str] = ""
    on_delete: ClassVar[str] = ""
    payload: ClassVar[Mapping[str, str]] = {}
    watch: ClassVar[Sequence[str] | None] = None
    condition: ClassVar[Sequence[Mapping[str, Any]]] = ()
    by_triggers: ClassVar[bool] = False

    def is_synced(self, instance: Any) -> bool:
        """Whether the row is synced at all, besides what `condition` says."""
        return True

    def get_connections(self, instance: Any) -> Any:
        """The connections that the row goes to: ids or `Connection`s; None is left out."""
        raise ConfigurationError(
            f"{type(self).__qualname__} doesn't say which connections a row goes to.",
            hint="Define get_connections(self, instance) and return a list of connection ids.",
        )


_bindings: dict[type[models.Model], tuple[Binding, ...]] = {}
_from_rows: dict[type[models.Model], tuple[Binding, ...]] = {}
_by_class: dict[type[models.Model], tuple[Binding, ...]] = {}
_captured: dict[type[models.Model], tuple[Binding, ...]] = {}
_has_rows = False
_rows_stamp: object = None
_rows_looked_at = 0.0


def register(*models_: type[models.Model]) -> Callable[[type[ModelSync]], type[ModelSync]]:
    """Class decorator: bind the models by this `ModelSync`.

    Raises `ConfigurationError` for an abstract model, where nothing would ever be fired, and where
    the condition is no list of rules.
    """

    def decorate(sync: type[ModelSync]) -> type[ModelSync]:
        for model in models_:
            _add(_bindings, _from_class(model, sync))
        return sync

    return decorate


def unregister(*models_: type[models.Model]) -> None:
    """Take back every binding that code made for these models."""
    for model in models_:
        if _bindings.pop(model, None) is None:
            raise ConfigurationError(
                f"{model._meta.label} is not registered.",
                hint="Bindings made in the admin are switched off there.",
            )
    _forget_classes()


def registered() -> tuple[Binding, ...]:
    """Every binding in force, from code and from the admin."""
    return tuple(b for model in {**_bindings, **_from_rows} for b in _bindings_of(model))


def firing(crm_object: str, event_slug: str) -> tuple[Binding, ...]:
    """The bindings in force that fire an event."""
    return tuple(
        binding
        for binding in registered()
        if binding.crm_object == crm_object and event_slug in binding.events.values()
    )


def from_code() -> tuple[Binding, ...]:
    """Every binding that engineers made, in the order of their registration."""
    return tuple(binding for found in _bindings.values() for binding in found)


def source_of(binding: Binding) -> str:
    """The file and line of the class that made the binding, as far as they are known."""
    sync = type(getattr(binding.get_connections, "__self__", None))
    try:
        file, (_lines, number) = inspect.getsourcefile(sync), inspect.getsourcelines(sync)
    except (OSError, TypeError):
        return ""
    roots = [root for root in sys.path if root and str(file).startswith(f"{root.rstrip('/')}/")]
    shown = Path(str(file)).relative_to(max(roots, key=len)) if roots else Path(str(file))
    return f"{shown}:{number}"


def others(crm_object: str, model: type[models.Model]) -> tuple[Binding, ...]:
    """Bindings to this CRM object under which a row of the model falls too, or one that is also a
    row of it. Not those that the admin made of the very model: there is one at most."""
    return tuple(
        binding
        for binding in registered()
        if binding.crm_object == crm_object
        and (issubclass(model, binding.model) or issubclass(binding.model, model))
        and not (binding.model is model and binding in _from_rows.get(model, ()))
    )


def inherited(binding: Binding) -> list[models.Field]:
    """The watched columns that are in a table of what the model inherits from: saving that alone
    doesn't touch a row of the model."""
    model = binding.model
    return [
        column
        for column in model._meta.concrete_fields
        if column.attname in binding.watched
        and column.model is not model._meta.concrete_model
        and not column.primary_key
    ]


def bindings_for(cls: type[models.Model]) -> tuple[Binding, ...]:
    """The bindings that a row of this class falls under: its own, and those of what it is."""
    found = _by_class.get(cls)
    if found is None:
        found = _by_class[cls] = tuple(
            binding for base in cls.__mro__ for binding in _bindings_of(base)
        )
    return found


def captured_for(cls: type[models.Model]) -> tuple[Binding, ...]:
    """The bindings that a save or delete of such a row is captured for: all, or none where triggers
    tell of its rows."""
    found = _captured.get(cls)
    if found is None:
        found = _captured[cls] = () if are_told_by_triggers(cls) else bindings_for(cls)
    return found


def are_told_by_triggers(cls: type[models.Model]) -> bool:
    """Whether rows of this class are left to their triggers, by any of its bindings: where one is
    captured, they take the row for told of. Only PostgreSQL has them."""
    if not any(binding.by_triggers for binding in bindings_for(cls)):
        return False
    return connections[router.db_for_write(cls)].vendor == "postgresql"


def _forget_classes() -> None:
    _by_class.clear()
    _captured.clear()


def _bindings_of(model: type[models.Model]) -> tuple[Binding, ...]:
    """Those of this very model. Code goes before the admin, so that nothing fires twice."""
    from_code = _bindings.get(model, ())
    taken = {binding.crm_object for binding in from_code}
    from_rows = (b for b in _from_rows.get(model, ()) if b.crm_object not in taken)
    return (*from_code, *from_rows)


def model_of(instance: models.Model, crm_object: str) -> type[models.Model]:
    """The model that the row's links and invocations are kept under: the one that is bound.

    A row of a proxy or an inheriting model is a row of that model too.
    """
    bound = (b.model for b in bindings_for(type(instance)) if b.crm_object == crm_object)
    return next(bound, type(instance))


def key_of(instance: models.Model, model: type[models.Model]) -> Any:
    """The primary key of the model's row that the instance is: its own, or that of one it inherits
    from. A second parent has another, and so has one that an own key stands beside."""
    if has_key_of(type(instance), model):
        return instance.pk
    return getattr(instance, model._meta.pk.attname)


def has_key_of(model: type[models.Model], above: type[models.Model]) -> bool:
    """Whether rows of the model have the keys of the rows that they are of this other model."""
    field: Any = model._meta.pk
    while field != above._meta.pk and getattr(field.remote_field, "parent_link", False):
        field = field.target_field
    return bool(field == above._meta.pk)


def _add(table: dict[type[models.Model], tuple[Binding, ...]], binding: Binding) -> None:
    from xkit_crm.sync import capture

    others = tuple(b for b in table.get(binding.model, ()) if b.crm_object != binding.crm_object)
    table[binding.model] = (*others, binding)
    _forget_classes()
    capture.install(binding.model)


def _from_class(model: type[models.Model], sync_class: type[ModelSync]) -> Binding:
    sync, origin = sync_class(), f"{sync_class.__module__}.{sync_class.__qualname__}"
    if model._meta.abstract:
        raise ConfigurationError(
            f"{model.__name__} is abstract, so it has no rows to sync.",
            hint="Register the models that inherit from it.",
        )
    if not sync.crm_object or not (sync.on_create or sync.on_update or sync.on_delete):
        raise ConfigurationError(
            f"{origin} would never fire anything.",
            hint="Set crm_object and at least one of on_create, on_update and on_delete.",
        )
    computed = {
        name.removeprefix("get_"): getattr(sync, name)
        for name in dir(sync)
        if name.startswith("get_") and name != "get_connections"
    }
    paths = {key: path for key, path in sync.payload.items() if key not in computed}
    getters = {key: attribute(path, model) for key, path in paths.items()} | computed
    decides = type(sync).is_synced is not ModelSync.is_synced
    return compiled(
        model,
        crm_object=sync.crm_object,
        events={moment: getattr(sync, moment) for moment in MOMENTS},
        getters=getters,
        paths=paths,
        get_connections=sync.get_connections,
        origin=origin,
        condition=sync.condition,
        is_synced=sync.is_synced if decides else None,
        watch=sync.watch,
        watch_all=bool(computed),
        by_triggers=sync.by_triggers,
    )


# -- bindings made in the admin ------------------------------------------------------------------


def rows_database() -> str:
    """The database whose `ModelBinding` rows are in force."""
    from xkit_crm.models import ModelBinding

    return str(router.db_for_read(ModelBinding))


def load_rows() -> None:
    """Put the active `ModelBinding` rows into force, in place of those loaded before."""
    global _from_rows, _has_rows, _rows_stamp, _rows_looked_at
    from xkit_crm.models import ModelBinding
    from xkit_crm.sync.model_bindings import from_row

    stamp = _stamp_of_rows()
    rows = ModelBinding.objects.filter(active=True).select_related(
        "model", "crm_object", "on_create", "on_update", "on_delete"
    )
    loaded: dict[type[models.Model], tuple[Binding, ...]] = {}
    for row in rows:
        model = row.model.model_class()
        if model is None:
            continue
        try:
            made = from_row(model, row)
        except ConfigurationError as error:
            # Its model was changed since, or it was written past every check: the product's saves
            # and the other bindings must go on.
            logger.error("A binding of the admin is left out: %s", error)
        else:
            _add(loaded, made)
    # All at once, so that no save meanwhile finds a model unbound.
    _from_rows, _has_rows = loaded, bool(rows)
    _rows_stamp, _rows_looked_at = stamp, time.monotonic()
    _forget_classes()


def has_rows() -> bool:
    """Whether there were any the last time, be it that they were left out."""
    return _has_rows


def refresh_rows_if_stale(*, interval: float | None) -> None:
    """Load the rows again where another process changed them; looks every few seconds only."""
    global _rows_looked_at
    if interval is None or time.monotonic() - _rows_looked_at < interval:
        return
    _rows_looked_at = time.monotonic()
    if _stamp_of_rows() != _rows_stamp:
        load_rows()


def _stamp_of_rows() -> object:
    from xkit_crm.models import EventDefinition, ModelBinding

    newest, count = models.Max("updated_at"), models.Count("id")
    return [model.objects.aggregate(newest, count) for model in (ModelBinding, EventDefinition)]
