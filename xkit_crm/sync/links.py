"""Record links made, read and taken away by hand: which CRM record a row stands for."""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction

from xkit_crm import catalogue, signals
from xkit_crm.delivery.outbox import Row
from xkit_crm.exceptions import ConfigurationError, UnknownConnection
from xkit_crm.models import Connection, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.sync.bindings import bindings_for, key_of, model_of
from xkit_crm.sync.digests import FORGOTTEN


def link(
    instance: models.Model,
    connection: Connection | str,
    record_id: str,
    *,
    crm_object: str | None = None,
) -> RecordLink:
    """Say that the row stands for this CRM record: from now on it is updated, not created.

    `crm_object` is needed where the row's model is bound to none or to several. Linking again
    replaces the record, for what waits too. Raises `UnknownConnection`, `UnknownObject`,
    `UnknownRecord` (for an id that isn't one) and `ConfigurationError`.
    """
    RecordRef.parse(record_id)
    connection_id = connection.pk if isinstance(connection, Connection) else connection
    if not Connection.objects.filter(pk=connection_id).exists():
        raise UnknownConnection(f"There is no connection {connection_id!r}.")
    slug = crm_object or _only_crm_object(instance)
    model = model_of(instance, slug)
    row = Row.of(model, key_of(instance, model), crm_object=slug)
    using = router.db_for_write(RecordLink)
    with transaction.atomic(using=using):
        made, created = RecordLink.objects.select_for_update().get_or_create(
            content_type_id=row.content_type_id,
            object_pk=row.pk,
            connection_id=connection_id,
            crm_object_id=catalogue.crm_object(slug).id,
            defaults={"record_id": record_id},
        )
        if made.record_id != record_id:
            # What was written to the old record says nothing of this one.
            made.record_id, made.written = record_id, {}
            made.delivered = FORGOTTEN if made.delivered == FORGOTTEN else {}
            made.save()
        signals.send_on_commit(
            signals.record_linked, RecordLink, using=using, link=made, created=created
        )
    return made


def unlink(link: RecordLink) -> bool:
    """Forget which record the row stands for. The record stays in the CRM; the row's next change,
    or one that waits, makes another one unless it is linked before.

    False where the link was taken away or led to another record by then.
    """
    deleted, _ = RecordLink.objects.filter(pk=link.pk, record_id=link.record_id).delete()
    return bool(deleted)


def links(instance: models.Model) -> models.QuerySet[RecordLink]:
    """Every record link of a row, in every connection."""
    return RecordLink.objects.filter(kept_of(instance)).select_related("connection", "crm_object")


def kept_of(instance: models.Model) -> models.Q:
    """What finds the links and invocations of a row."""
    found = models.Q()
    for key, content_types in keys_of(instance).items():
        found |= models.Q(content_type__in=content_types, object_pk=key)
    return found


def keys_of(instance: models.Model) -> dict[str, list[ContentType]]:
    """The keys by which links and invocations of a row are kept, each with its content types: its
    model's own, and those of the models that it inherits from."""
    bases = [base for base in type(instance).__mro__ if _is_concrete(base)]
    found: dict[str, list[ContentType]] = {}
    for base, content_type in ContentType.objects.get_for_models(*bases).items():
        # As the database has it: a row named by "007" is row 7.
        key = str(base._meta.pk.to_python(key_of(instance, base)))
        found.setdefault(key, []).append(content_type)
    return found


def _only_crm_object(instance: models.Model) -> str:
    """The slug of the CRM object that the row's model is bound to."""
    slugs = {binding.crm_object for binding in bindings_for(type(instance))}
    if len(slugs) == 1:
        return slugs.pop()
    raise ConfigurationError(
        f"{instance._meta.label} is bound to {'several' if slugs else 'no'} CRM objects.",
        hint="Say which one: xkit_crm.link(..., crm_object=...).",
    )


def _is_concrete(cls: type) -> bool:
    return (
        issubclass(cls, models.Model)
        and hasattr(cls, "_meta")
        and not (cls._meta.abstract or cls._meta.proxy)
    )
