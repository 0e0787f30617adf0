"""One binding, made of paths and rules once, so that a save only calls functions.

`bindings.py` makes one of what engineers write, `model_bindings.py` of what operators do. Knows
neither where it came from nor what else is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from xkit_crm.exceptions import ConfigurationError
from xkit_crm.sync import conditions
from xkit_crm.sync.columns import is_stamp, sources_of
from xkit_crm.sync.payloads import Getter, first_name, whole_of

#: The moments at which a binding fires, with the type that its event must have.
MOMENTS: Final = {"on_create": "create", "on_update": "update", "on_delete": "delete"}


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
    #: The rules of its condition, as far as they are declared.
    rules: tuple[conditions.Rule, ...] = ()
    #: Whether a row is synced at all; None: every row is.
    is_synced: Callable[[Any], bool] | None = None
    #: The watched columns whose change may change that.
    decisive: frozenset[str] = frozenset()
    #: Whether it is left to the model's triggers to tell of its rows.
    by_triggers: bool = False

    @property
    def events(self) -> dict[str, str]:
        """The slugs of its events, by their moments."""
        return {moment: slug for moment in MOMENTS if (slug := getattr(self, moment))}

    def event_at(self, moment: str, *, is_new: bool = False) -> str:
        """The slug of the event at this moment. A row that begins to meet the condition is new to
        every CRM, though it was there before."""
        if is_new and moment == "on_update":
            return self.on_create or self.on_update
        return str(getattr(self, moment))

    def takes(self, instance: models.Model) -> bool:
        """Whether this row meets the condition."""
        return self.is_synced is None or bool(self.is_synced(instance))

    def connection_ids(self, instance: models.Model) -> list[str]:
        """The connections this row goes to, each once: none where it is not synced."""
        return self.connections_of(instance) if self.takes(instance) else []

    def connections_of(self, instance: models.Model) -> list[str]:
        """The connections that the row belongs to, whether it is synced or not, each once."""
        given = self.get_connections(instance)
        if isinstance(given, str) or not isinstance(given, Iterable):
            given = [given]
        ids = (str(getattr(item, "pk", item)) for item in given if item)
        return list(dict.fromkeys(ids))


def compiled(
    model: type[models.Model],
    *,
    crm_object: str,
    events: Mapping[str, str],
    getters: Mapping[str, Getter],
    paths: Mapping[str, str],
    get_connections: Callable[[Any], Any],
    origin: str,
    condition: object = (),
    is_synced: Callable[[Any], bool] | None = None,
    also_read: Sequence[str] = (),
    watch: Sequence[str] | None = None,
    watch_all: bool = False,
    by_triggers: bool = False,
) -> Binding:
    """One binding, with what it watches: the columns behind its paths, its condition and the paths
    in `also_read`. Raises `ConfigurationError` where the condition is no list of rules, or where a
    key is filled twice: as a whole and by a part."""
    for key in getters:
        if whole := whole_of(key, getters):
            raise ConfigurationError(
                f"{origin} fills {key} twice: {key} is a part of {whole}.",
                hint="Fill an object as a whole, or each of its parts.",
            )
    rules = conditions.read(condition, model)
    checks = [*(rule.holds for rule in rules), *([is_synced] if is_synced else [])]
    decided_by = [rule.path for rule in rules]
    watched = _watched(
        model,
        [*paths.values(), *also_read, *decided_by],
        watch=watch,
        watch_all=watch_all or is_synced is not None,
    )
    decisive = _watched(
        model, decided_by, watch=watch if is_synced else None, watch_all=is_synced is not None
    )
    return Binding(
        model=model,
        crm_object=crm_object,
        on_create=events["on_create"],
        on_update=events["on_update"],
        on_delete=events["on_delete"],
        payload=tuple(getters.items()),
        paths=paths,
        watched=watched,
        get_connections=get_connections,
        origin=origin,
        rules=rules,
        is_synced=(lambda row: all(check(row) for check in checks)) if checks else None,
        decisive=frozenset(decisive).intersection(watched),
        by_triggers=by_triggers,
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
        if path == "pk":
            continue  # what it is called by never changes
        try:
            field = model._meta.get_field(first_name(path))
        except FieldDoesNotExist:
            watch_all = True
            continue
        attname = getattr(field, "attname", None)
        if attname in columns:
            found.add(attname)
            if isinstance(field, models.GeneratedField):
                found |= sources_of(field)
        else:
            watch_all = True
    if watch_all and watch is None:
        found = columns
    stamps = {f.attname for f in model._meta.concrete_fields if is_stamp(f)}
    pk = model._meta.pk
    return tuple(sorted(found - stamps - {pk.attname if pk else ""}))
