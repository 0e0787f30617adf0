"""Which event fits a row when its turn comes.

What a row needs is known only when its invocation is carried out: a row that was linked by hand
is updated though it was captured as new, and a row that the CRM doesn't know yet is created though
it was captured as changed. `delivery/pipeline.py` asks here before anything else.
"""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.db import models

from xkit_crm import catalogue
from xkit_crm.exceptions import PayloadInvalid, UnknownRecord, XkitError
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Source
from xkit_crm.sync import payloads, walking
from xkit_crm.sync.bindings import MOMENTS, Binding, bindings_for


class NothingToDo(XkitError):
    """There is nothing in the CRM that this could be done to, and that is right."""

    code = "nothing_to_do"


def retarget(invocation: Invocation, link: RecordLink | None) -> None:
    """Name the record of a local row's invocation, and change its event where another fits.

    `link` is the row's in this connection, where it has one.

    Raises `NothingToDo` where the row never reached the CRM, `UnknownRecord` where its record
    can't be known.
    """
    if not invocation.object_pk:
        return
    instance = None
    if invocation.source == Source.MODEL:
        # Nobody named a record: it is the row's, which may be another one than at the last try.
        invocation.record_id = ""
        if invocation.renew:
            instance = _bring_up_to_date(invocation)
    if invocation.record_id:
        return
    event_type = invocation.event.type
    if link is not None:
        if event_type == EventType.CREATE:
            _become(invocation, "on_update", instance or _row(invocation))
        invocation.record_id = link.record_id
    elif event_type == EventType.DELETE:
        raise NothingToDo("The row was never in this CRM, so nothing had to be deleted.")
    elif event_type == EventType.UPDATE:
        _refuse_after_workflow(invocation)
        _become(invocation, "on_create", instance or _row(invocation))


def _bring_up_to_date(invocation: Invocation) -> models.Model | None:
    """A replayed change writes the row as it is now: others may have been written since. Gives the
    row, where it was read."""
    if invocation.event.type == EventType.DELETE:
        return None
    moment = next((m for m, kind in MOMENTS.items() if kind == invocation.event.type), "")
    instance = _row(invocation)
    if instance is None:
        raise NothingToDo("The row was deleted since, so there is nothing to be written of it.")
    binding = _binding(invocation, instance)
    if binding is not None and moment and getattr(binding, moment) == invocation.event.slug:
        _become(invocation, moment, instance)
        # What joined it was of the row as well, and the row as it is now says it all.
        invocation.folded = None
    return instance


def _refuse_after_workflow(invocation: Invocation) -> None:
    """A create that was handed to a workflow made a record that we don't know; don't make two."""
    handed_over = Invocation.objects.filter(
        content_type_id=invocation.content_type_id,
        object_pk=invocation.object_pk,
        connection_id=invocation.connection_id,
        event__type=EventType.CREATE,
        event__crm_object_id=invocation.event.crm_object_id,
        status=InvocationStatus.DEFERRED,
    )
    if handed_over.exists():
        raise UnknownRecord(
            "The CRM's workflow was asked to create this record and didn't say which one it made.",
            hint="Link the row to its record with xkit_crm.link() or in the admin, then replay.",
        )


def _row(invocation: Invocation) -> models.Model | None:
    """The row that it is about, as it is now; None where it is gone."""
    assert invocation.content_type_id is not None, "it is about a row"
    content_type = ContentType.objects.get_for_id(invocation.content_type_id)
    model = content_type.model_class()
    return walking.stored(model).filter(pk=invocation.object_pk).first() if model else None


def _become(invocation: Invocation, moment: str, instance: models.Model | None) -> None:
    """Turn it into the binding's event for `moment`, with the payload of its row."""
    binding = _binding(invocation, instance)
    slug = getattr(binding, moment) if binding else ""
    if instance is None or binding is None or not slug:
        raise NothingToDo(
            f"The row has {'a' if moment == 'on_update' else 'no'} record in this CRM, and "
            + ("it was deleted since." if instance is None else f"nothing is bound to {moment}."),
        )
    if not binding.takes(instance):
        raise NothingToDo(
            "The row doesn't meet the condition of its binding any more, so nothing is written of "
            "it as it is now."
        )
    if invocation.connection_id not in binding.connections_of(instance):
        raise NothingToDo(
            "The row belongs to another connection by now, so nothing is written here of it as it "
            "is now."
        )
    event = catalogue.event(binding.crm_object, slug)
    payload, problems = payloads.build(event, binding.payload, instance)
    if problems:
        raise PayloadInvalid(
            f"{instance._meta.label} {instance.pk} gives an invalid payload for {event.slug}.",
            hint=f"Correct the row, or the payload of {binding.origin}.",
            errors=problems,
        )
    invocation.event = event.definition
    invocation.payload = payload


def _binding(invocation: Invocation, instance: models.Model | None) -> Binding | None:
    if instance is None:
        return None
    slug = invocation.event.crm_object.slug
    return next((b for b in bindings_for(type(instance)) if b.crm_object == slug), None)
