"""Bindings and mappings: whether they fit the models, and the definitions in the database."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Tags, register
from django.db import connections, models, router

from xkit_crm.checks.messages import error, warning
from xkit_crm.exceptions import UnknownObject, XkitError

if TYPE_CHECKING:
    from xkit_crm.sync.bindings import Binding


@register("xkit_crm")
def check_bindings(**_: object) -> list[CheckMessage]:
    """Every binding from code can work."""
    from xkit_crm.sync.bindings import registered

    found = [message for binding in registered() for message in mistakes_of(binding)]
    for model in dict.fromkeys(binding.model for binding in registered()):
        found += _not_captured_set_wise(model)
    return found


def mistakes_of(binding: Binding) -> Iterator[CheckMessage]:
    """What is wrong with a binding, as far as the models tell."""
    from xkit_crm.models import Invocation
    from xkit_crm.sync import conditions
    from xkit_crm.sync.bindings import ModelSync
    from xkit_crm.sync.payloads import path_problem

    sync = getattr(binding.get_connections, "__self__", None)
    if getattr(type(sync), "get_connections", None) is ModelSync.get_connections:
        yield error(
            "E010",
            f"{binding.origin} doesn't say which connections a row goes to.",
            "Define get_connections(self, instance).",
        )
    yield from _unfit_model(binding)
    for key, path in binding.paths.items():
        if problem := path_problem(path, binding.model):
            yield error(
                "E013",
                f"{binding.origin} can't fill {key}: {problem}.",
                f"Correct the path {path!r}.",
            )
    for wrong in conditions.problems([rule.as_data() for rule in binding.rules], binding.model):
        yield error(
            "E021",
            f"The condition of {binding.origin} can't be asked: {wrong}.",
            "Correct that rule.",
        )
    if untold := _untold(binding):
        why, hint = untold
        yield error("E011", f"The rows of {binding.origin} are left to triggers, but {why}.", hint)
    if _database(binding.model) != router.db_for_write(Invocation):
        yield warning(
            "W003",
            f"{binding.model._meta.label} is stored in another database than the outbox, "
            "so its events can't be captured in the same transaction.",
            "Route the xkit_crm app to the database of the bound models. Until then a "
            "crash between the two commits loses an event.",
        )


def _unfit_model(binding: Binding) -> Iterator[CheckMessage]:
    """Where changes of the model's rows would be missed, or told twice."""
    from xkit_crm.sync.bindings import inherited, others

    model, label = binding.model, binding.model._meta.label
    if model._meta.proxy:
        of: Any = model._meta.concrete_model
        concrete = of._meta.label
        yield error(
            "E024",
            f"{binding.origin} is bound to the proxy {label}: a row that is saved or deleted as "
            f"{concrete} fires nothing.",
            f"Register {concrete}, by which rows of its proxies fire too; a condition says which.",
        )
        return
    if getattr(model._meta.pk, "column", None) is None:
        yield error(
            "E025",
            f"{label} has a composite primary key, by which no record can be linked.",
            "Bind a model whose primary key is one column.",
        )
    for other in others(binding.crm_object, model):
        if other.model is not model and issubclass(model, other.model):
            yield error(
                "E026",
                f"A row of {label} is one of {other.model._meta.label} too, and both are bound to "
                f"{binding.crm_object}, by {binding.origin} and {other.origin}: it is told twice.",
                "Bind one of them, with a condition where it is to sync some rows only.",
            )
    if columns := inherited(binding):
        parents = ", ".join(dict.fromkeys(column.model._meta.label for column in columns))
        names = ", ".join(column.name for column in columns)
        yield warning(
            "W027",
            f"{binding.origin} reads columns of {parents} ({names}): a row of {label} that is "
            f"saved as one of {parents} fires nothing.",
            f"Bind {parents}, by which rows of {label} fire too, or save through {label} only and "
            "silence this check.",
        )


def _untold(binding: Binding) -> tuple[str, str] | None:
    """Why triggers wouldn't tell of all that the product saves, and what to do about it."""
    from xkit_crm.conf import settings
    from xkit_crm.sync import triggers
    from xkit_crm.sync.bindings import are_told_by_triggers

    model, label = binding.model, binding.model._meta.label
    if not are_told_by_triggers(model):
        return None
    if not triggers.are_on(model):
        hint = "Add triggers = capture_triggers(...) to its Meta, and run makemigrations."
        return f"{label} has none", hint
    if left_out := triggers.left_out(model, binding.watched):
        hint = "Name them to capture_triggers(), and run makemigrations."
        return f"those of {label} leave out {', '.join(left_out)}", hint
    if settings.DELIVERY == "immediate":
        return "with DELIVERY = 'immediate' nobody looks at what they marked", "Run a worker."
    return None


def _not_captured_set_wise(model: type[models.Model]) -> Iterator[CheckMessage]:
    """Bulk operations go past Django's own hooks, so they fire by the model's manager only."""
    from xkit_crm.sync.bindings import are_told_by_triggers
    from xkit_crm.sync.querysets import SyncedQuerySet

    if model.__module__.startswith("django.") or are_told_by_triggers(model):
        return  # whose managers nobody can change; whose triggers see everything
    if not isinstance(model._default_manager.get_queryset(), SyncedQuerySet):
        yield warning(
            "W018",
            f"bulk_create(), bulk_update() and update() of {model._meta.label} fire nothing.",
            "Add objects = xkit_crm.SyncedManager() to the model, or let its queryset inherit from "
            "xkit_crm.SyncedQuerySet. Where nothing of the kind is done to it, silence this check.",
        )


@register(Tags.database)
def check_definitions(*, databases: Any = None, **_: object) -> list[CheckMessage]:
    """Every binding names events that are defined (only with `check --database`).

    Warnings, not errors: `migrate` runs these checks too, and a deployment migrates before it
    loads the definitions that its new code needs.
    """
    from xkit_crm.models import CRMObject
    from xkit_crm.sync.bindings import from_code

    database = router.db_for_read(CRMObject)
    if database not in (databases or ()) or not _is_migrated(database, CRMObject):
        return []
    found = [message for binding in from_code() for message in misnamed_by(binding)]
    return [*found, *_broken_rows()]


def misnamed_by(binding: Binding) -> Iterator[CheckMessage]:
    """Where a binding doesn't fit the events that are defined."""
    from xkit_crm import catalogue
    from xkit_crm.sync.bindings import MOMENTS
    from xkit_crm.sync.payloads import unfilled

    yield from _keys_of_no_event(binding)
    for moment, slug in binding.events.items():
        if catalogue.is_switched_off(binding.crm_object, slug):
            continue
        try:
            event = catalogue.known_event(binding.crm_object, slug)
        except XkitError as raised:
            yield warning("W011", f"{binding.origin}: {raised.message}", raised.hint)
            if isinstance(raised, UnknownObject):
                return  # it has no other event either
            continue
        if event.type != MOMENTS[moment]:
            yield warning(
                "W014",
                f"{binding.origin}: {slug} is {event.type}, so it can't be {moment}.",
                f"Name an event of type {MOMENTS[moment]}.",
            )
        if absent := sorted(unfilled(event.payload_schema, {key for key, _ in binding.payload})):
            yield warning(
                "W012",
                f"{binding.origin} doesn't fill what {slug} requires: {', '.join(absent)}.",
                "Add the keys to its payload.",
            )


def _broken_rows() -> Iterator[CheckMessage]:
    """Bindings of the admin that can't be in force, since their model or events were changed."""
    from xkit_crm.models import ModelBinding
    from xkit_crm.sync.model_bindings import problems_of

    rows = ModelBinding.objects.filter(active=True)
    for row in rows.select_related("model", "crm_object", "on_create", "on_update", "on_delete"):
        if problems := list(problems_of(row)):
            yield warning(
                "W022",
                f"The model binding {row} is broken: {'; '.join(map(str, problems))}.",
                "Mend it in the admin under Bindings, or switch it off there.",
            )


def _keys_of_no_event(binding: Binding) -> Iterator[CheckMessage]:
    """A misspelt payload key is in the schema of no event, so it would never be sent."""
    from xkit_crm import catalogue
    from xkit_crm.mapping.fitting import described

    crm_object = catalogue.objects().get(binding.crm_object)
    slugs = binding.events.values()
    if crm_object is None or not all(slug in crm_object.events for slug in slugs):
        return  # told otherwise, or switched off
    schemas = [crm_object.events[slug].payload_schema for slug in slugs]
    known = {key for schema in schemas for key in schema}
    for key, _ in binding.payload:
        if not any(described(schema, key) for schema in schemas):
            near = get_close_matches(key, known, n=1)
            yield warning(
                "W015",
                f"{binding.origin}: the payload key {key} is in none of its events.",
                f"Did you mean {near[0]}?" if near else "Take it out, or add it to a schema.",
            )


@register(Tags.database)
def check_mappings(*, databases: Any = None, **_: object) -> list[CheckMessage]:
    """Every customer has decided what the product defines (only with `check --database`).

    What the database alone tells: no CRM is called, so that a deployment never waits for one.
    `xkit_check_mappings` asks the CRMs too.
    """
    from xkit_crm.models import EventAction

    database = router.db_for_read(EventAction)
    if database not in (databases or ()) or not _is_migrated(database, EventAction):
        return []
    found: dict[str, set[str]] = {}
    for connection_id, problem in _undecided():
        found.setdefault(problem, set()).add(connection_id)
    return [
        warning(
            "W019",
            f"{problem} in {len(ids)} connection(s): {', '.join(sorted(ids)[:5])}"
            + (", …" if len(ids) > 5 else "."),
            "manage.py xkit_check_mappings says what each of them misses.",
        )
        for problem, ids in sorted(found.items())
    ]


def _undecided() -> Iterator[tuple[str, str]]:
    """Connection ids, and what is undecided there. Two queries."""
    from xkit_crm import catalogue
    from xkit_crm.mapping.transformations import check_action, unknown_keys
    from xkit_crm.models import EventAction, ObjectMapping
    from xkit_crm.models.connection import ConnectionStatus

    events = {
        event.id: event
        for crm_object in catalogue.objects().values()
        for event in crm_object.events.values()
    }
    decided: dict[int, set[int]] = {}
    actions = EventAction.objects.filter(mapping__connection__status=ConnectionStatus.ENABLED)
    for mapping_id, connection_id, event_id, action, rows in actions.values_list(
        "mapping_id", "mapping__connection_id", "event_id", "action", "transformations"
    ).iterator():
        decided.setdefault(mapping_id, set()).add(event_id)
        data = {"action": action, "workflow": "-", "transformations": rows}
        if (event := events.get(event_id)) is None or action == "noop" or check_action(data):
            continue
        for problem in unknown_keys(data, event.payload_schema):
            yield connection_id, f"{event.crm_object}.{event.slug}: {problem.error}"
    mapped = ObjectMapping.objects.filter(connection__status=ConnectionStatus.ENABLED)
    for mapping_id, connection_id, slug in (
        mapped.exclude(remote_object="")
        .values_list("pk", "connection_id", "crm_object__slug")
        .iterator()
    ):
        crm_object = catalogue.objects().get(slug)
        for event in crm_object.events.values() if crm_object else ():
            if event.id not in decided.get(mapping_id, ()):
                yield connection_id, f"{slug}.{event.slug} has no action"


def _is_migrated(database: str, model: type[models.Model]) -> bool:
    """Whether the table is there: the first `migrate` runs these checks before it makes it."""
    return model._meta.db_table in connections[database].introspection.table_names()


def _database(model: type[models.Model]) -> str:
    return str(router.db_for_write(model))
