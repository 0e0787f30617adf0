"""What a binding can read of a model: the paths that are offered to an operator, by their types.

The admin asks it for its pickers. A path that is not offered may still be typed: whether it leads
anywhere is what `payloads.py` tells. Reads classes only, and no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from xkit_crm import schema
from xkit_crm.sync.kinds import UNKNOWN, Kind, kind_of, kind_of_attribute

_CONNECTION: Final = re.compile("connection|crm", re.IGNORECASE)
#: How many relations a path that is offered goes through.
DEPTH: Final = 2
#: Paths that are offered of one model; more help nobody to find one.
MAX_PATHS: Final = 400


@dataclass(frozen=True, slots=True)
class Readable:
    """One path: what it is called, under which heading, and what it gives."""

    path: str
    label: str
    group: str
    kind: Kind
    choices: tuple[tuple[str, str], ...] = ()
    #: Whether a connection's id may be there: its text, or a row that may be named like it.
    holds_connection: bool = False


def bindable_models() -> list[type[models.Model]]:
    """The models that an operator may bind, by the names of their apps: those of the product and
    of what it installed, but for Django's own and ours."""
    found = [
        model
        for model in apps.get_models()
        if not (model._meta.proxy or model._meta.swapped)
        and getattr(model._meta.pk, "column", None) is not None
        and (model is get_user_model() or not _is_internal(model))
    ]
    return sorted(found, key=lambda model: (app_name(model), model_name(model)))


def _is_internal(model: type[models.Model]) -> bool:
    config = apps.get_app_config(model._meta.app_label)
    return config.name.partition(".")[0] == "xkit_crm" or config.name.startswith("django.contrib.")


def app_name(model: type[models.Model]) -> str:
    """What people call the model's app."""
    return str(capfirst(apps.get_app_config(model._meta.app_label).verbose_name))


def model_name(model: type[models.Model]) -> str:
    """What people call the model."""
    return str(capfirst(model._meta.verbose_name))


def paths_of(model: type[models.Model]) -> list[Readable]:
    """Every path that is offered of a model: its own, then those through its relations."""
    found: list[Readable] = []
    for one in _paths(model, "", "", DEPTH):
        found.append(one)
        if len(found) == MAX_PATHS:
            break
    return found


def connection_paths(paths: Iterable[Readable]) -> list[Readable]:
    """Those where a connection's id may be; first, under a heading of their own, those that are
    called like one."""
    found = [one for one in paths if one.holds_connection]
    likely = [one for one in found if _is_called_like_one(one)]
    named = [
        replace(
            one, group=_("Likely"), label=f"{one.group}: {one.label}" if one.group else one.label
        )
        for one in likely
    ]
    return named + [one for one in found if one not in likely]


def likely_connection(paths: Iterable[Readable]) -> str:
    """The nearest path that is called like a connection's; empty where none is."""
    likely = [one.path for one in paths if one.holds_connection and _is_called_like_one(one)]
    return min(likely, key=lambda path: path.count("."), default="")


def _is_called_like_one(one: Readable) -> bool:
    return _CONNECTION.search(one.path.rpartition(".")[2]) is not None


def proposed(key: str, description: Mapping[str, Any], paths: Iterable[Readable]) -> str:
    """The model's own path that is called like a payload key, where there is one; else nothing."""
    called = {key.lower(), schema.label_for(key, description).lower()}
    for one in paths:
        own = not {".", " "} & set(one.path)
        if own and one.kind.fits(description) and called & {one.path.lower(), one.label.lower()}:
            return one.path
    return ""


# -- walking --------------------------------------------------------------------------------------


def _paths(model: type[models.Model], before: str, group: str, depth: int) -> Iterator[Readable]:
    relations: list[Any] = []
    for field in _fields(model):
        if field.is_relation and field.related_model is not None:
            relations.append(field)
        if (found := _of_field(field, before, group)) is not None:
            yield found
    computed = capfirst(_("computed"))
    yield from _computed(model, before, f"{group} › {computed}" if group else computed)
    if depth:
        for field in relations:
            name = _name_of(field)
            below = f"{group} › {name}" if group else name
            yield from _paths(field.related_model, f"{before}{field.name}.", below, depth - 1)


def _fields(model: type[models.Model]) -> Iterator[Any]:
    """The columns and the relations to one row; what a model inherits is its own."""
    parents = set(model._meta.parents.values())
    fields: list[Any] = list(model._meta.get_fields())
    for field in fields:
        to_many = field.one_to_many or field.many_to_many
        inherited = field in parents or any(
            getattr(one, "parent_link", False) for one in (field, field.remote_field)
        )
        # A generic relation may lead anywhere, and the hash of a password is nobody's business.
        nowhere = field.is_relation and field.related_model is None
        if not (to_many or inherited or nowhere or field.name == "password"):
            yield field


def _of_field(field: Any, before: str, group: str) -> Readable | None:
    if not field.concrete:
        return None  # a relation back to one row: only what is behind it can be read
    target = field
    while target.is_relation:
        target = target.target_field
    kind = kind_of(target)
    if kind is None:
        return None
    choices = tuple((str(value), str(label)) for value, label in field.flatchoices)
    name = _name_of(field)
    return Readable(
        f"{before}{field.name}",
        _("%(relation)s: its id") % {"relation": name} if field.is_relation else name,
        group,
        kind,
        choices,
        holds_connection=_holds_connection(field, target, kind),
    )


def _name_of(field: Any) -> str:
    name = getattr(field, "verbose_name", None) or field.related_model._meta.verbose_name
    return str(capfirst(str(name)))


def _holds_connection(field: Any, target: models.Field, kind: Kind) -> bool:
    if field.is_relation:
        return bool(field.related_model._meta.label == "xkit_crm.Connection")
    if field.flatchoices or kind.type not in ("string", "integer"):
        return False
    if isinstance(target, models.UUIDField):
        return True
    if kind.type == "integer":
        return bool(field.primary_key) or field.name.endswith("_id")
    is_key = isinstance(target, models.CharField) and kind.format == ""
    return is_key and not isinstance(target, models.SlugField | models.FileField)


# -- what is computed -----------------------------------------------------------------------------


def _computed(model: type[models.Model], before: str, group: str) -> Iterator[Readable]:
    """Properties, and methods that read: `get_status_display`, `is_overdue`."""
    seen: set[str] = set()
    for cls in model.__mro__:
        if cls.__module__.startswith("django."):
            continue  # what a user is to Django, such as a hash for its sessions
        for name, attribute in vars(cls).items():
            if name in seen or name.startswith("_") or name in ("pk", "objects"):
                continue
            seen.add(name)
            kind = kind_of_attribute(name, attribute)
            if kind is not None:
                label = str(capfirst(schema.label_for(name.removeprefix("get_"))))
                may_hold = kind in (UNKNOWN, Kind("string")) and not name.endswith("_display")
                yield Readable(f"{before}{name}", label, group, kind, (), holds_connection=may_hold)
