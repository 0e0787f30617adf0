"""Walk the rows of a bound model: page by page, with what is known of each in the CRMs.

`backfill.py` and `reconcile.py` go by it. A page costs the same few queries whatever is in it, and
only one page is in memory. What is written for a row is made from the row as it is under a lock:
a save that comes between would otherwise be overwritten by what was read before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models, router, transaction
from django.db.models import Q, prefetch_related_objects

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.delivery.outbox import Row
from xkit_crm.exceptions import ConfigurationError, Problem
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.base import locking
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import OPEN_STATUSES, InvocationStatus
from xkit_crm.sync import payloads
from xkit_crm.sync.bindings import Binding, bindings_for, has_key_of, key_of
from xkit_crm.sync.payloads import names

BATCH_SIZE: Final = 500
#: How far relations are followed that a binding reads: `document.workspace.owner`.
_DEPTH = 3

_Row = TypeVar("_Row", bound=models.Model)

#: A row's primary key as text, and a connection's id.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of some rows in some connections, before anything is done."""

    links: Mapping[Place, RecordLink]
    #: Something is under way: waiting, running, or waiting for a person.
    open: Set[Place]
    #: A create failed for good; it can be replayed.
    failed: Set[Place]
    #: A create was given to the CRM's workflow engine, which didn't say what it made.
    handed_over: Set[Place]


# -- rows -----------------------------------------------------------------------------------------


def pages(rows: models.QuerySet[_Row], size: int) -> Iterator[list[_Row]]:
    """All rows in the order of their primary keys, `size` at a time."""
    if size < 1:
        raise ConfigurationError("The batch size has to be 1 or more.")
    rows = rows.order_by("pk")
    page = list(rows[:size])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:size]) if len(page) == size else []


def walked(given: type[models.Model] | models.QuerySet[Any]) -> models.QuerySet[Any]:
    """The rows of a queryset, or all of a model: in the database that is written, unless the
    queryset names another one. Which rows are in a slice is asked now."""
    rows: Any = given if isinstance(given, models.QuerySet) else given._default_manager.all()
    found: models.QuerySet[Any] = rows if rows._db else rows.using(router.db_for_write(rows.model))
    if found.query.is_sliced:
        pks = list(found.values_list("pk", flat=True))
        found = found.model._base_manager.using(found.db).filter(pk__in=pks)
    return found


def stored(model: type[models.Model]) -> models.QuerySet[Any]:
    """The model's rows, hidden by the default manager or not, in the database that is written: a
    replica may lag behind, and lack rows or have them as they were."""
    return model._base_manager.using(router.db_for_write(model))


def same_rows(binding: Binding, rows: Sequence[models.Model], *, using: str) -> list[models.Model]:
    """The binding's rows that these are too, of a model that its own inherits from or of one that
    inherits from it."""
    if not rows:
        return []
    model = type(rows[0])
    above = binding.model if issubclass(model, binding.model) else model
    keys = [key_of(row, above) for row in rows]
    named = {f"{above._meta.pk.name}__in": keys}
    return list(binding.model._base_manager.using(using).filter(**named))


def gone_too(binding: Binding, model: type[models.Model], gone: Collection[str]) -> set[str]:
    """The keys of those of the binding's rows that are gone with these of the other model. Where
    the two have keys of their own nobody can tell, and a parent's row may have stayed."""
    alike = has_key_of(model, binding.model) or has_key_of(binding.model, model)
    return set(gone) - existing(binding, gone) if alike else set()


def locked(binding: Binding, pks: Collection[Any], *, using: str) -> list[models.Model]:
    """These rows as they are now, for the rest of the transaction; those that are gone are left
    out."""
    manager = binding.model._base_manager.using(using)
    return list(locking(manager.filter(pk__in=pks).order_by("pk")))


@contextmanager
def writing(binding: Binding) -> Iterator[tuple[str, str]]:
    """One transaction for the rows and for what is written of them; gives both databases.

    Where a router puts them apart it is two, and the rows stay locked until the other is over.
    """
    theirs, home = router.db_for_write(binding.model), router.db_for_write(Invocation)
    inner = nullcontext() if home == theirs else transaction.atomic(using=home)
    with transaction.atomic(using=theirs), inner:
        yield theirs, home


def existing(binding: Binding, pks: Collection[str]) -> set[str]:
    """Which of these primary keys (as text) have a row, hidden by the default manager or not."""
    there = stored(binding.model).filter(pk__in=pks).values_list("pk", flat=True)
    return {str(pk) for pk in there}


def row_of(binding: Binding, instance: models.Model) -> Row:
    """The row in the terms of the outbox."""
    return Row.of(binding.model, key_of(instance, binding.model), crm_object=binding.crm_object)


def row_with(rows: models.QuerySet[_Row], key: str) -> _Row | None:
    """The row of this key, as somebody typed it; None where it is none, or no key of the model."""
    try:
        return None if "\x00" in key else rows.filter(pk=key).first()
    except (TypeError, ValueError, OverflowError, ValidationError):
        return None


def name_of(row: models.Model) -> str:
    """What the row is called: by the product's code, or by its key where that fails."""
    by_key = f"{row._meta.verbose_name} {row.pk}"
    try:
        return str(row) or by_key
    except Exception:  # noqa: BLE001 - it runs the product's code, on any row there is
        return by_key


class Relations:
    """Reads for a whole page at once what its rows point to, instead of row by row.

    Which relations: those on the paths of the payload and the condition (or on those that are
    given), and those that the first row of a page that is synced was seen to read, be it in
    `get_connections` or in a computed key.
    """

    def __init__(self, binding: Binding, paths: Sequence[str] | None = None) -> None:
        self._binding = binding
        if paths is None:
            paths = [*binding.paths.values(), *(rule.path for rule in binding.rules)]
        self._names = {name for path in paths for name in _relations(binding.model, path)}

    def fetch(self, page: Sequence[models.Model], read: Callable[[Any], object]) -> None:
        """Have on every row of the page what `read` will ask of it."""
        if not page:
            return
        prefetch_related_objects(page, *sorted(self._names))
        self._learn(page, page[0], self._binding.takes)
        synced = (row for row in page if not is_left_out(self._binding, row))
        self._learn(page, next(synced, page[0]), read)

    def _learn(
        self, page: Sequence[models.Model], row: models.Model, read: Callable[[Any], object]
    ) -> None:
        """Have on the page what this row was seen to read."""
        try:
            read(row)
        except Exception:  # noqa: BLE001 - the row is reported when its turn comes
            return
        seen = _read_by(row, _DEPTH) - self._names
        if seen:
            self._names |= seen
            prefetch_related_objects(page, *sorted(seen))


def _relations(model: type[models.Model], path: str) -> Iterator[str]:
    """The relations that a payload path goes through: `owner`, `owner__team`."""
    reached, walked = model, ""
    for step in names(path):
        try:
            field: Any = reached._meta.get_field(step)
        except FieldDoesNotExist:
            return
        if not _leads_to_one(field) or _accessor(field) != step:
            return
        walked += f"__{step}" if walked else step
        yield walked
        reached = field.related_model


def _leads_to_one(field: Any) -> bool:
    """Whether it leads to one row at most: by a column of its own table, or of the other one's."""
    if not field.is_relation or field.many_to_many:
        return False
    return bool(field.concrete or (field.auto_created and field.one_to_one))


def _accessor(field: Any) -> str:
    """The attribute of a row that gives what the relation leads to."""
    return str(field.name if field.concrete else field.get_accessor_name())


def _read_by(instance: models.Model, depth: int, origin: models.Model | None = None) -> set[str]:
    """The relations that were followed from this row already, but for the way back."""
    found: set[str] = set()
    opts = instance._meta
    for field in (*opts.concrete_fields, *opts.related_objects):
        relation: Any = field
        if not _leads_to_one(field) or not relation.is_cached(instance):
            continue
        related = relation.get_cached_value(instance)
        if related is not None and related is origin:
            continue
        name = _accessor(field)
        found.add(name)
        if related is not None and depth > 1:
            found |= {f"{name}__{behind}" for behind in _read_by(related, depth - 1, instance)}
    return found


# -- what is known of them ------------------------------------------------------------------------


def standing(
    binding: Binding, pks: Collection[str], connection_ids: Collection[str] | None
) -> Standing:
    """What is known of these rows, in two queries. `connection_ids` None: in every connection."""
    content_type = ContentType.objects.get_for_model(binding.model)
    crm_object_id = catalogue.crm_object(binding.crm_object).id
    where: dict[str, Any] = {"content_type": content_type, "object_pk__in": pks}
    if connection_ids is not None:
        where["connection_id__in"] = connection_ids
    home = router.db_for_write(Invocation)
    links = RecordLink.objects.using(home).filter(**where, crm_object_id=crm_object_id)
    found: dict[str, set[Place]] = {"open": set(), "failed": set(), "handed_over": set()}
    ended = Q(
        event__type=EventType.CREATE,
        status__in=[InvocationStatus.FAILED, InvocationStatus.DEFERRED],
    )
    invocations = (
        Invocation.objects.using(home)
        .filter(Q(status__in=OPEN_STATUSES) | ended, **where, event__crm_object_id=crm_object_id)
        .order_by()
        .values_list("object_pk", "connection_id", "status")
    )
    for pk, connection_id, status in invocations:
        kind = {
            InvocationStatus.FAILED.value: "failed",
            InvocationStatus.DEFERRED.value: "handed_over",
        }.get(status, "open")
        found[kind].add((str(pk), connection_id))
    return Standing(
        links={(link.object_pk, link.connection_id): link for link in links.order_by()},
        **found,
    )


# -- what is bound --------------------------------------------------------------------------------


def bindings_of(model: type[models.Model], crm_object: str | None = None) -> list[Binding]:
    """The bindings to walk this model by; raises `ConfigurationError` where there are none."""
    bound = bindings_for(model)
    own = [b for b in bound if b.model is model and crm_object in (None, b.crm_object)]
    if own:
        return own
    label = model._meta.label
    if not bound:
        raise ConfigurationError(
            f"{label} is bound to no CRM object.",
            hint="Register it in its app's crm.py, or add a model binding in the admin.",
        )
    above = sorted({b.model._meta.label for b in bound if b.model is not model})
    if above and not any(b.model is model for b in bound):
        raise ConfigurationError(
            f"The rows of {label} are synced as rows of {', '.join(above)}.",
            hint=f"Run it for {above[0]}.",
        )
    slugs = ", ".join(sorted(b.crm_object for b in bound))
    raise ConfigurationError(
        f"{label} is not bound to the CRM object {crm_object!r}.", hint=f"It is bound to: {slugs}."
    )


def event_of(binding: Binding, moment: str) -> Event | None:
    """The binding's event of this moment (`on_create`, ...); None where nothing is fired.

    Raises `UnknownEvent` where it is not defined.
    """
    slug = getattr(binding, moment)
    if not slug or catalogue.is_switched_off(binding.crm_object, slug):
        return None
    return catalogue.event(binding.crm_object, slug)


def payload_of(
    binding: Binding, event: Event, instance: models.Model
) -> tuple[dict[str, Any], list[Problem]]:
    """The row's payload for the event and what is wrong with it; a row that can't even be read is
    a problem too, and stops no other."""
    try:
        return payloads.build(event, binding.payload, instance)
    except Exception as error:  # noqa: BLE001 - it runs the product's code, on any row there is
        return {}, [Problem("", f"can't be read: {type(error).__name__}: {error}")]


def read_all(binding: Binding, instance: models.Model, *events: Event | None) -> None:
    """Read whatever these events will be made of, so that it can be read for a page at once."""
    if is_left_out(binding, instance):
        return
    connections_of(binding, instance)
    for event in events:
        if event is not None:
            payload_of(binding, event, instance)


def is_left_out(binding: Binding, instance: models.Model) -> bool:
    """Whether the row is known not to meet the binding's condition."""
    try:
        return not binding.takes(instance)
    except Exception:  # noqa: BLE001 - it runs the product's code, on any row there is
        return False


def connection_ids_of(binding: Binding, instance: models.Model) -> list[str] | Problem:
    """The connections the row goes to, none where it is not synced; or why nobody can tell."""
    try:
        if not binding.takes(instance):
            return []
    except Exception as error:  # noqa: BLE001 - it runs the product's code, on any row there is
        return Problem("", f"the condition fails: {type(error).__name__}: {error}")
    return connections_of(binding, instance)


def connections_of(binding: Binding, instance: models.Model) -> list[str] | Problem:
    """The connections the row belongs to, whether it is synced or not; or why nobody can tell."""
    try:
        return binding.connections_of(instance)
    except Exception as error:  # noqa: BLE001 - it runs the product's code, on any row there is
        return Problem("", f"get_connections fails: {type(error).__name__}: {error}")
