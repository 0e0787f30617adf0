"""Record links made and read by the product: which CRM record a row stands for."""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.db import models, router

from xkit_crm import catalogue, signals
from xkit_crm.delivery.outbox import Row
from xkit_crm.exceptions import ConfigurationError, UnknownConnection
from xkit_crm.models import Connection, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.sync.bindings import bindings_for, model_of


def link(
    instance: models.Model,
    connection: Connection | str,
    record_id: str,
    *,
    crm_object: str | None = None,
) -> RecordLink:
    """Say that the row stands for this CRM record: from now on it is updated, not created.

    `crm_object` is needed where the row's model is bound to none or to several. Linking again
    replaces the record. Raises `UnknownConnection`, `UnknownObject`, `UnknownRecord` (for an id
    that isn't one) and `ConfigurationError`.
    """
    RecordRef.parse(record_id)
    connection_id = connection.pk if isinstance(connection, Connection) else connection
    if not Connection.objects.filter(pk=connection_id).exists():
        raise UnknownConnection(f"There is no connection {connection_id!r}.")
    slug = crm_object or _only_crm_object(instance)
    row = Row.of(model_of(instance, slug), instance.pk, crm_object=slug)
    made, created = RecordLink.objects.update_or_create(
        content_type_id=row.content_type_id,
        object_pk=row.pk,
        connection_id=connection_id,
        crm_object_id=catalogue.crm_object(slug).id,
        defaults={"record_id": record_id},
    )
    signals.send_on_commit(
        signals.record_linked,
        RecordLink,
        using=router.db_for_write(RecordLink),
        link=made,
        created=created,
    )
    return made


def links(instance: models.Model) -> models.QuerySet[RecordLink]:
    """Every record link of a row, in every connection."""
    content_types = ContentType.objects.get_for_models(
        *(base for base in type(instance).__mro__ if _is_concrete(base))
    )
    return RecordLink.objects.filter(
        content_type__in=content_types.values(), object_pk=str(instance.pk)
    ).select_related("connection", "crm_object")


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
    return issubclass(cls, models.Model) and hasattr(cls, "_meta") and not cls._meta.abstract
