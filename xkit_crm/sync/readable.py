"""What a binding can read of a model: the paths that are offered to an operator, by their types.

The admin asks it for its pickers. A path that is not offered may still be typed: whether it leads
anywhere is what `payloads.py` tells. Reads classes only, and no row.
"""

from __future__ import annotations

import datetime as dt
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property as functools_cached
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from xkit_crm import schema

_CONNECTION: Final = re.compile("connection|crm", re.IGNORECASE)
#: How many relations a path that is offered goes through.
DEPTH: Final = 2
#: Paths that are offered of one model; more help nobody to find one.
MAX_PATHS: Final = 400


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of JSON value a path gives: a type and format as a payload schema has them.
    Without a type nobody can tell."""

    type: str = ""
    format: str = ""

    def fits(self, description: Mapping[str, Any]) -> bool:
        """Whether such a value can be right for a payload key of this description."""
        wanted, as_format = description.get("type", ""), description.get("format", "text")
        if not self.type:
            return True
        if self.type == "json":
            return wanted in ("object", "array")
        if wanted == "number":
            return self.type in ("number", "integer")
        if wanted != "string" or as_format == "text":
            return bool(self.type == wanted)
        # A plain text may hold an address; no text is a moment.
        may_be_text = as_format in ("email", "uri", "uuid")
        return self.type == "string" and (
            self.format == as_format or (may_be_text and self.format == "")
        )


UNKNOWN: Final = Kind()


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


#: The first that fits is taken: a datetime is a date to Django, and an address a text.
_KINDS: Final[tuple[tuple[type[models.Field], Kind | None], ...]] = (
    (models.BinaryField, None),
    (models.EmailField, Kind("string", "email")),
    (models.URLField, Kind("string", "uri")),
    (models.UUIDField, Kind("string", "uuid")),
    (models.DateTimeField, Kind("string", "datetime")),
    (models.DateField, Kind("string", "date")),
    (models.TimeField, Kind("string", "time")),
    (models.DurationField, Kind("string", "duration")),
    (models.BooleanField, Kind("boolean")),
    (models.IntegerField, Kind("integer")),
    (models.FloatField, Kind("number")),
    (models.DecimalField, Kind("number")),
    (models.JSONField, Kind("json")),
    (models.TextField, Kind("string", "text")),
    (models.CharField, Kind("string")),
    (models.GenericIPAddressField, Kind("string")),
    (models.FileField, Kind("string")),
)


def kind_of(field: models.Field) -> Kind | None:
    """What a column gives; None where JSON can't hold it."""
    if isinstance(field, models.GeneratedField):
        return kind_of(field.output_field)  # type: ignore[arg-type]
    for cls, kind in _KINDS:
        if isinstance(field, cls):
            return kind
    is_array = any(base.__name__ == "ArrayField" for base in type(field).__mro__)
    return Kind("array") if is_array else UNKNOWN


# -- what is computed -----------------------------------------------------------------------------

#: Methods are offered whose names say that they only read.
_READS: Final = ("get_", "is_", "has_")
#: Those that Django makes for each date go to other rows.
_ELSEWHERE: Final = ("get_next_by_", "get_previous_by_")

_ANNOTATED: Final[tuple[tuple[type, Kind], ...]] = (
    (bool, Kind("boolean")),
    (int, Kind("integer")),
    (float, Kind("number")),
    (Decimal, Kind("number")),
    (dt.datetime, Kind("string", "datetime")),
    (dt.date, Kind("string", "date")),
    (dt.time, Kind("string", "time")),
    (dt.timedelta, Kind("string", "duration")),
    (UUID, Kind("string", "uuid")),
    (str, Kind("string")),
    (Mapping, Kind("object")),
    (Sequence, Kind("array")),
    (set, Kind("array")),
)


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
            kind = _kind_of_attribute(name, attribute)
            if kind is not None:
                label = str(capfirst(schema.label_for(name.removeprefix("get_"))))
                may_hold = kind in (UNKNOWN, Kind("string")) and not name.endswith("_display")
                yield Readable(f"{before}{name}", label, group, kind, (), holds_connection=may_hold)


def _kind_of_attribute(name: str, attribute: Any) -> Kind | None:
    """What is computed there; None where nothing is that could be offered."""
    if isinstance(attribute, property):
        return _returned_by(attribute.fget)
    if isinstance(attribute, cached_property | functools_cached):
        return _returned_by(attribute.func)
    if not name.startswith(_READS) or name.startswith(_ELSEWHERE):
        return None
    if getattr(attribute, "alters_data", False):
        return None
    if hasattr(attribute, "keywords") and name.endswith("_display"):
        return Kind("string")  # Django's own, for a column with choices
    if not inspect.isfunction(attribute):
        return None
    _self, *others = inspect.signature(attribute).parameters.values()
    needs_more = any(
        one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in others
    )
    return None if needs_more else _returned_by(attribute)


def _returned_by(function: Any) -> Kind:
    """What its annotation says that it returns."""
    try:
        returned = typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 - it evaluates the product's own annotations
        return UNKNOWN
    if typing.get_origin(returned) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(returned) if one is not type(None)]
        returned = others[0] if len(others) == 1 else None
    cls = typing.get_origin(returned) or returned
    if not isinstance(cls, type):
        return UNKNOWN
    return next((kind for base, kind in _ANNOTATED if issubclass(cls, base)), UNKNOWN)
