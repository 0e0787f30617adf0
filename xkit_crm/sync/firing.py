"""Firing: what happened to rows is described as events, and put into the outbox.

`capture.py` describes one row at a time, `querysets.py` many at once, with the same rules. Doesn't
know how a change was noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db import models, router, transaction

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.conf import settings
from xkit_crm.delivery import backends, outbox
from xkit_crm.delivery.outbox import Captured
from xkit_crm.exceptions import PayloadInvalid, Problem
from xkit_crm.models import Invocation
from xkit_crm.sync import echo, payloads, walking
from xkit_crm.sync.bindings import Binding


def describe(
    binding: Binding, event_slug: str, instances: Sequence[models.Model]
) -> list[Captured]:
    """The same event of each of these rows, with its payload and connections.

    None of a row that goes to no connection, nor where an operator switched the event off. What
    the rows point to is read for all of them at once. Raises `PayloadInvalid` (with
    `INVALID_PAYLOAD` "record" it gives a failed event instead) and `UnknownEvent`.
    """
    if not instances or catalogue.is_switched_off(binding.crm_object, event_slug):
        return []
    if len(instances) > 1:
        fetch_relations(binding, event_slug, instances)
    event: Event | None = None
    found = []
    for instance in instances:
        connection_ids = _connection_ids(binding, instance)
        if not connection_ids:
            continue
        if event is None:
            event = catalogue.event(binding.crm_object, event_slug)
            row_of = outbox.rows_of(binding.model, crm_object=binding.crm_object)
        payload, problems = payloads.build(event, binding.payload, instance)
        error = _error(binding, event, instance, problems) if problems else None
        found.append(Captured(event.id, payload, connection_ids, row_of(instance.pk), error))
    return found


def _error(
    binding: Binding, event: Event, instance: models.Model, problems: list[Problem]
) -> PayloadInvalid:
    error = PayloadInvalid(
        f"{instance._meta.label} {instance.pk} gives an invalid payload for {event.slug}.",
        hint=f"Correct the row, or the payload of {binding.origin}.",
        errors=problems,
    )
    if settings.INVALID_PAYLOAD == "raise":
        raise error
    return error


def _connection_ids(binding: Binding, instance: models.Model) -> list[str]:
    return echo.without_origin(binding.connection_ids(instance))


def fetch_relations(binding: Binding, event_slug: str, instances: Sequence[models.Model]) -> None:
    """Have on all of these rows what the event's payload and connections are read from."""

    def read(instance: models.Model) -> None:
        if _connection_ids(binding, instance):
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
