"""Putting a mapping in force: rows that `delivery/` reads, kept as versions, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone

from xkit_crm import catalogue
from xkit_crm.delivery import backends
from xkit_crm.delivery.rows import found_by
from xkit_crm.exceptions import MappingIncomplete
from xkit_crm.mappings.drafts import end_draft
from xkit_crm.mappings.reading import Document, in_force, require_valid
from xkit_crm.models import Connection, EventAction, Invocation, MappingVersion, ObjectMapping
from xkit_crm.models.base import again_on_conflict, locking
from xkit_crm.models.invocation import NEVER, InvocationStatus
from xkit_crm.providers import descriptions


def put_in_force(
    connection: Connection, document: Document, *, author: str = "", crm_was_asked: bool = False
) -> MappingVersion | None:
    """Carry out this mapping from now on, and let what waited for it go; gives the new version,
    None where nothing has changed. Whoever carries it out asks the CRM anew what it says of itself,
    unless it was asked just now.

    Objects and events that the document doesn't name stay as they are, and so does a draft with
    other decisions. What was in force before and is no version yet becomes one, so that one can go
    back to it. Raises `MappingInvalid`.
    """
    require_valid(document)
    return again_on_conflict(partial(_put_in_force, connection, document, author, crm_was_asked))


def _put_in_force(
    connection: Connection, document: Document, author: str, crm_was_asked: bool
) -> MappingVersion | None:
    with transaction.atomic(using=router.db_for_write(MappingVersion)):
        lock(connection)
        before = in_force(connection)
        if before:
            # Rows that were written past the versions are in none of them, and would be lost.
            _keep(connection, before)
        for slug, given in document.items():
            _write(connection, slug, given)
        end_draft(connection, document, before=before)
        return _record(connection, author, crm_was_asked)


def _write(connection: Connection, slug: str, given: Mapping[str, Any]) -> None:
    crm_object = catalogue.crm_object(slug)
    mapping = ObjectMapping.objects.filter(
        connection=connection, crm_object_id=crm_object.id
    ).first()
    if mapping is None:
        if "remote_object" not in given:
            return  # not decided yet, so there is nothing that its events could do
        mapping = ObjectMapping(connection=connection, crm_object_id=crm_object.id)
    remote_object = given.get("remote_object", mapping.remote_object)
    # Fields of another object feed nothing.
    kept = mapping.fields if remote_object == mapping.remote_object else {}
    mapping.remote_object, mapping.fields = remote_object, given.get("fields", kept)
    mapping.save()
    for name, action in given.get("events", {}).items():
        EventAction.objects.update_or_create(
            mapping=mapping,
            event_id=crm_object.events[name].id,
            defaults={
                "action": action["action"],
                "workflow": action.get("workflow") or "",
                "transformations": action.get("transformations") or [],
                "ignored": action.get("ignored") or [],
            },
        )


def record(
    connection: Connection, *, author: str = "", crm_was_asked: bool = False
) -> MappingVersion | None:
    """Keep what the rows say now as a new version, where it isn't the last one, and let go what
    waited for it. Whoever writes rows by themselves, as the admin does, calls this."""
    return again_on_conflict(partial(_record, connection, author, crm_was_asked))


def _record(connection: Connection, author: str, crm_was_asked: bool) -> MappingVersion | None:
    with transaction.atomic(using=router.db_for_write(MappingVersion)):
        lock(connection)  # so that versions come one by one
        made = _keep(connection, in_force(connection), author=author)
        if not crm_was_asked:
            # A worker may remember the CRM as it was before the customer made a field for this.
            descriptions.forget(connection)
        release(connection.pk)
    return made


def _keep(connection: Connection, document: Document, *, author: str = "") -> MappingVersion | None:
    """Make this document, which is in force, a version where it isn't the last one."""
    last = MappingVersion.objects.filter(connection=connection).first()
    number, made = last.number if last else 0, None
    if last is None or last.document != document:
        number += 1
        made = MappingVersion.objects.create(
            connection=connection, number=number, document=document, author=author[:255]
        )
    Connection.objects.filter(pk=connection.pk).update(mapping_version=number)
    connection.mapping_version = number
    return made


def lock(connection: Connection) -> int | None:
    """Let whoever else decides for this connection wait until the transaction is over; gives the
    number of the version in force, None where the connection is gone."""
    using = router.db_for_write(MappingVersion)
    row = Connection.objects.using(using).filter(pk=connection.pk)
    if not connections[using].features.has_select_for_update:
        row.update(mapping_version=F("mapping_version"))  # its first write locks it all
    return locking(row).values_list("mapping_version", flat=True).first()


def release(connection_id: str) -> int:
    """Let the invocations go on that waited for the customer to decide, and those that stand behind
    them; gives how many there were."""
    using, now = router.db_for_write(Invocation), timezone.now()
    with transaction.atomic(using=using), found_by("xkit_invocation_due_idx", Invocation):
        # What was never tried and isn't due stands behind another of its record. It is looked at
        # once too often where that one waits for something else.
        released = Invocation.objects.filter(
            connection_id=connection_id,
            status=InvocationStatus.PENDING,
            due_at__gt=now,
            due_at__lt=NEVER,
            error_code__in=(MappingIncomplete.code, ""),
        ).update(due_at=now)
        if released:
            backends.poke_on_commit([connection_id], using=using)
    return released
