"""Bindings: how one Django model feeds a CRM object.

Engineers write a `ModelSync` in their app's `crm.py`; operators make `ModelBinding` rows in the
admin. Both become immutable `Binding`s in the registry here. `capture.py` asks it on every save,
so its answers are kept per class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import FieldDoesNotExist
from django.db import models, router

from xkit_crm.exceptions import ConfigurationError, Problem
from xkit_crm.sync.payloads import Getter, attribute, first_name, path_problem

if TYPE_CHECKING:
    from xkit_crm.models import EventDefinition, ModelBinding


#: The moments at which a binding fires, with the type that its event must have.
MOMENTS = {"on_create": "create", "on_update": "update", "on_delete": "delete"}


@dataclass(frozen=True, slots=True)
class Binding:
    """One model, one CRM object. Event slugs are empty where nothing is fired."""

    model: type[models.Model]
    crm_object: str
    on_create: str
    on_update: str
    on_delete: str
    payload: tuple[tuple[str, Getter], ...]
    #: The attribute paths behind the payload, by key; a computed key has none.
    paths: Mapping[str, str]
    #: Columns whose change fires `on_update`, by attribute name.
    watched: tuple[str, ...]
    get_connections: Callable[[Any], Any]
    #: Where it comes from: the dotted path of its class, or the admin.
    origin: str

    def connection_ids(self, instance: models.Model) -> list[str]:
        """The connections this row goes to, each once."""
        given = self.get_connections(instance)
        if isinstance(given, str) or not isinstance(given, Iterable):
            given = [given]
        ids = (str(getattr(item, "pk", item)) for item in given if item)
        return list(dict.fromkeys(ids))


class ModelSync:
    """What an engineer writes in `crm.py`; register it with `@xkit_crm.register(Model)`.

    `payload` gives each payload key an attribute path (`owner.email` or `owner__email`); a method
    `get_<key>(self, instance)` computes one. Each event takes the keys that its schema has. What
    is watched is derived from the paths. A method or property may read anything, so with one every
    column is watched, unless `watch` names the fields that matter. Columns that Django sets on
    every save (`auto_now`) fire nothing by themselves.
    """

    crm_object: ClassVar[str] = ""
    on_create: ClassVar[str] = ""
    on_update: ClassVar[str] = ""
    on_delete: ClassVar[str] = ""
    payload: ClassVar[Mapping[str, str]] = {}
    watch: ClassVar[Sequence[str] | None] = None

    def get_connections(self, instance: Any) -> Any:
        """The connections that the row goes to: ids or `Connection`s; None is left out."""
        raise ConfigurationError(
            f"{type(self).__qualname__} doesn't say which connections a row goes to.",
            hint="Define get_connections(self, instance) and return a list of connection ids.",
        )


_bindings: dict[type[models.Model], tuple[Binding, ...]] = {}
_from_rows: dict[type[models.Model], tuple[Binding, ...]] = {}
_by_class: dict[type[models.Model], tuple[Binding, ...]] = {}
_rows_stamp: object = None
_rows_looked_at = 0.0


def register(*models_: type[models.Model]) -> Callable[[type[ModelSync]], type[ModelSync]]:
    """Class decorator: bind the models by this `ModelSync`.

    Raises `ConfigurationError` for an abstract model, or where nothing would ever be fired.
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
    _by_class.clear()


def registered() -> tuple[Binding, ...]:
    """Every binding in force, from code and from the admin."""
    return tuple(b for model in {**_bindings, **_from_rows} for b in _bindings_of(model))


def from_code() -> tuple[Binding, ...]:
    """Those that engineers wrote."""
    return tuple(binding for bound in _bindings.values() for binding in bound)


def bindings_for(cls: type[models.Model]) -> tuple[Binding, ...]:
    """The bindings that a row of this class falls under: its own, and those of what it is."""
    found = _by_class.get(cls)
    if found is None:
        found = _by_class[cls] = tuple(
            binding for base in cls.__mro__ for binding in _bindings_of(base)
        )
    return found


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


def _add(table: dict[type[models.Model], tuple[Binding, ...]], binding: Binding) -> None:
    from xkit_crm.sync import capture

    others = tuple(b for b in table.get(binding.model, ()) if b.crm_object != binding.crm_object)
    table[binding.model] = (*others, binding)
    _by_class.clear()
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
    return Binding(
        model=model,
        crm_object=sync.crm_object,
        on_create=sync.on_create,
        on_update=sync.on_update,
        on_delete=sync.on_delete,
        payload=tuple(getters.items()),
        paths=paths,
        watched=_watched(model, list(paths.values()), watch=sync.watch, watch_all=bool(computed)),
        get_connections=sync.get_connections,
        origin=origin,
    )


def _watched(
    model: type[models.Model],
    paths: Sequence[str],
    *,
    watch: Sequence[str] | None,
    watch_all: bool,
) -> tuple[str, ...]:
    columns = {f.attname for f in model._meta.concrete_fields}
    found: set[str] = set()
    for path in (*paths, *(watch or ())):
        try:
            field = model._meta.get_field(first_name(path))
        except FieldDoesNotExist:
            watch_all = True
            continue
        attname = getattr(field, "attname", None)
        if attname in columns and not getattr(field, "generated", False):
            found.add(attname)
        else:
            watch_all = True
    if watch_all and watch is None:
        found = columns
    automatic = {f.attname for f in model._meta.concrete_fields if getattr(f, "auto_now", False)}
    pk = model._meta.pk
    return tuple(sorted(found - automatic - {pk.attname if pk else ""}))


# -- bindings made in the admin ------------------------------------------------------------------


def rows_database() -> str:
    """The database whose `ModelBinding` rows are in force."""
    from xkit_crm.models import ModelBinding

    return str(router.db_for_read(ModelBinding))


def load_rows() -> None:
    """Put the active `ModelBinding` rows into force, in place of those loaded before."""
    global _from_rows, _rows_stamp, _rows_looked_at
    from xkit_crm.models import ModelBinding

    stamp = _stamp_of_rows()
    rows = ModelBinding.objects.filter(active=True).select_related(
        "model", "crm_object", "on_create", "on_update", "on_delete"
    )
    loaded: dict[type[models.Model], tuple[Binding, ...]] = {}
    for row in rows:
        model = row.model.model_class()
        if model is not None:
            _add(loaded, _from_row(model, row))
    # All at once, so that no save meanwhile finds a model unbound.
    _from_rows, _rows_stamp, _rows_looked_at = loaded, stamp, time.monotonic()
    _by_class.clear()


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


def problems_of(row: ModelBinding) -> Iterator[Problem]:
    """What would fail when a row is saved: `payload.owner`, `on_create`, `connection_path`, ..."""
    model = row.model.model_class()
    if model is None:
        yield Problem("model", "its app is not installed any more")
        return
    events = {m: getattr(row, m) for m in MOMENTS if getattr(row, f"{m}_id")}
    if not events:
        yield Problem("on_create", "choose at least one event, or the binding never fires")
    for binding in _bindings.get(model, ()):
        if binding.crm_object == row.crm_object.slug:
            yield Problem("crm_object", f"the model is bound to it by {binding.origin} already")
    yield from _event_problems(row, events)
    yield from _payload_problems(row, model, events)
    if row.connection_path and (problem := path_problem(row.connection_path, model)):
        yield Problem("connection_path", problem)


def _event_problems(row: ModelBinding, events: Mapping[str, EventDefinition]) -> Iterator[Problem]:
    for moment, event in events.items():
        if event.crm_object_id != row.crm_object_id:
            yield Problem(moment, f"{event.slug} belongs to another CRM object")
        elif event.type != MOMENTS[moment]:
            yield Problem(moment, f"{event.slug} is for {event.type}, not for {MOMENTS[moment]}")
        required = {k for k, d in event.payload_schema.items() if d.get("required")}
        for key in sorted(required - set(row.payload)):
            yield Problem(f"payload.{key}", f"is required by {event.slug}")


def _payload_problems(
    row: ModelBinding, model: type[models.Model], events: Mapping[str, EventDefinition]
) -> Iterator[Problem]:
    known = {key for event in events.values() for key in event.payload_schema}
    for key, path in row.payload.items():
        if events and key not in known:
            yield Problem(f"payload.{key}", "is in the schema of none of these events")
        if not isinstance(path, str):
            yield Problem(f"payload.{key}", "is no attribute path")
        elif problem := path_problem(path, model):
            yield Problem(f"payload.{key}", problem)


def _from_row(model: type[models.Model], row: ModelBinding) -> Binding:
    paths = [*row.payload.values(), row.connection_path]
    return Binding(
        model=model,
        crm_object=row.crm_object.slug,
        on_create=row.on_create.slug if row.on_create else "",
        on_update=row.on_update.slug if row.on_update else "",
        on_delete=row.on_delete.slug if row.on_delete else "",
        payload=tuple((key, attribute(path, model)) for key, path in row.payload.items()),
        paths=row.payload,
        watched=_watched(model, paths, watch=None, watch_all=False),
        get_connections=attribute(row.connection_path, model),
        origin=f"admin: {row}",
    )
