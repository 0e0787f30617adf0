"""Firing: what happened to rows is described as events, and put into the outbox.

`capture.py` describes one row at a time, `querysets.py` many at once, with the same rules. Doesn't
know how a change was noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from django.db import models, router, transaction

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.conf import settings
from xkit_crm.delivery import backends, outbox
from xkit_crm.delivery.outbox import Captured, Row
from xkit_crm.exceptions import PayloadInvalid, Problem
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.sync import echo, payloads, walking
from xkit_crm.sync.bindings import Binding, key_of

logger = logging.getLogger(__name__)


def describe(
    binding: Binding,
    event_slug: str,
    instances: Sequence[models.Model],
    *,
    row_of: Callable[[models.Model], Row] | None = None,
) -> list[Captured]:
    """The same event of each of these rows, with its payload and connections.

    None of a row that goes to no connection, nor where an operator switched the event off. The
    deletion of a row that doesn't meet the binding's condition is told where the row is known. What
    the rows point to is read for all of them at once. `row_of` names a row, by its primary key
    unless it is given. Raises `PayloadInvalid` (with `INVALID_PAYLOAD` "record" it gives a failed
    event instead) and `UnknownEvent`.
    """
    if not instances or catalogue.is_switched_off(binding.crm_object, event_slug):
        return []
    if len(instances) > 1:
        fetch_relations(binding, event_slug, instances)
    event: Event | None = None
    found = []
    for instance in instances:
        taken = binding.takes(instance)
        if not taken and event_slug != binding.on_delete:
            continue
        ids = binding.connections_of(instance) if taken else _known_connections(binding, instance)
        connection_ids = echo.without_origin(ids)
        if not connection_ids:
            continue
        if event is None:
            event = catalogue.event(binding.crm_object, event_slug)
            name = row_of or _named(binding)
        if taken:
            payload, problems = payloads.build(event, binding.payload, instance)
        else:
            payload, problems = walking.payload_of(binding, event, instance)
        error = None
        if problems:
            error = _error(binding, event, instance, problems, raises=taken)
        row = name(instance)
        found.append(Captured(event.id, payload, connection_ids, row, error, if_known=not taken))
    return found


def _named(binding: Binding) -> Callable[[models.Model], Row]:
    row_of = outbox.rows_of(binding.model, crm_object=binding.crm_object)
    return lambda instance: row_of(key_of(instance, binding.model))


def _known_connections(binding: Binding, instance: models.Model) -> list[str]:
    """Where a row that doesn't meet the condition belongs. It may be as unfinished as it likes, so
    that what can't be told of it stops no deletion."""
    ids = walking.connections_of(binding, instance)
    if isinstance(ids, Problem):
        label = binding.model._meta.label
        logger.warning("The deletion of %s %s is told to nobody: %s", label, instance.pk, ids)
        return []
    return ids


def began(binding: Binding, before: Sequence[models.Model]) -> list[bool]:
    """Whether each of these rows, given as they were, did not meet the binding's condition, so that
    meeting it now makes them new to every CRM."""

    def took(row: models.Model) -> bool:
        try:
            return binding.takes(row)
        except Exception:  # noqa: BLE001 - a row of which that couldn't even be told was in no CRM
            return False

    if len(before) > 1:
        paths = [rule.path for rule in binding.rules]
        walking.Relations(binding, paths).fetch(before, binding.takes)
    return [not took(row) for row in before]


def _error(
    binding: Binding,
    event: Event,
    instance: models.Model,
    problems: list[Problem],
    *,
    raises: bool,
) -> PayloadInvalid:
    error = PayloadInvalid(
        f"{instance._meta.label} {instance.pk} gives an invalid payload for {event.slug}.",
        hint=f"Correct the row, or the payload of {binding.origin}.",
        errors=problems,
    )
    if raises and settings.INVALID_PAYLOAD == "raise":
        raise error
    return error


def fetch_relations(binding: Binding, event_slug: str, instances: Sequence[models.Model]) -> None:
    """Have on all of these rows what the event's payload and connections are read from."""

    def read(instance: models.Model) -> None:
        binding.takes(instance)
        if echo.without_origin(binding.connections_of(instance)):
            event = catalogue.event(binding.crm_object, event_slug)
            payloads.build(event, binding.payload, instance)

    walking.Relations(binding).fetch(instances, read)


def put(captured: Sequence[Captured], *, using: str) -> None:
    """Put what happened in the database `using` into the outbox, in the same transaction.

    Where the outbox is in another database no transaction spans both (check W003 says so). Nothing
    may leave before the rows are committed, so it is written right after.
    """
    if not captured:
        return
    home = router.db_for_write(Invocation)
    if home == using:
        _put(captured, home)
    else:
        transaction.on_commit(partial(_put_at_once, captured, home), using=using)


def _put_at_once(captured: Sequence[Captured], home: str) -> None:
    with transaction.atomic(using=home):
        _put(captured, home)


def _put(captured: Sequence[Captured], home: str) -> None:
    if any(item.if_known for item in captured):
        captured = _known(captured, home)
    if not captured:
        return
    if len(captured) == 1 and len(captured[0].connection_ids) == 1:
        (only,) = captured
        there = outbox.put_captured(
            only.event_id,
            only.payload,
            only.connection_ids,
            row=only.row,
            using=home,
            error=only.error,
        )
    else:
        there = outbox.put_many(captured, using=home)
    if there:
        backends.poke_on_commit(there, using=home)


def _known(captured: Sequence[Captured], home: str) -> list[Captured]:
    """Without what is of interest only where the row is known, and is of a row that no connection
    of it has a record of, nor is to get one. Two queries."""
    asked = [item for item in captured if item.if_known]
    told = {item.row.key for item in captured if not item.if_known}
    connection_ids = {name for item in asked for name in item.connection_ids}
    crm_objects = {
        event_id: event.crm_object_id
        for event_id, event in catalogue.definitions({item.event_id for item in asked}).items()
    }
    links = set(
        RecordLink.objects.using(home)
        .filter(
            content_type_id__in={item.row.content_type_id for item in asked},
            object_pk__in={item.row.pk for item in asked},
            connection_id__in=connection_ids,
        )
        .values_list("content_type_id", "object_pk", "crm_object_id")
    )
    told |= set(
        Invocation.objects.using(home)
        .open()
        .filter(connection_id__in=connection_ids, record_key__in={item.row.key for item in asked})
        .values_list("record_key", flat=True)
    )
    return [
        item
        for item in captured
        if item.row.key in told
        or (item.row.content_type_id, item.row.pk, crm_objects.get(item.event_id)) in links
    ]
