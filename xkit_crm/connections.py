"""What happens to a connection: it is made, mapped by default, and changes its status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import router, transaction

from xkit_crm import catalogue, signals
from xkit_crm.delivery import backends
from xkit_crm.exceptions import ConfigurationError, Problem
from xkit_crm.mapping.suggestions import propose
from xkit_crm.models import Connection, EventAction, ObjectMapping
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider
from xkit_crm.providers.registry import provider_class, provider_for

logger = logging.getLogger(__name__)


def connect(
    id: str,  # noqa: A002 - the connection's own word for it
    *,
    provider: str,
    context: str = "",
    credentials: Mapping[str, Any] | None = None,
) -> Connection:
    """Make (or authorise again) a connection, enabled and with the proposed mapping.

    What the customer has mapped already stays. Raises `ConfigurationError` for an id or provider
    that can't be, and the provider's `CRMError` where the CRM refuses the credentials; nothing is
    stored then.
    """
    provider_class(provider)
    using = router.db_for_write(Connection)

    def make() -> Connection:
        connection = Connection.objects.filter(pk=id).first() or Connection(pk=id)
        old_status = connection.status
        connection.provider, connection.context = provider, context or connection.context
        if credentials is not None:
            connection.credentials = credentials
        connection.status, connection.status_reason = ConnectionStatus.ENABLED, ""
        _require_valid(connection)
        adapter = provider_for(connection)
        descriptions.forget(adapter)
        descriptions.objects(adapter)  # the CRM says no here where the credentials are wrong
        with transaction.atomic(using=using):
            connection.save()
            propose_mapping(connection, adapter)
            _announce(connection, old_status, using=using)
        return connection

    return again_on_conflict(make)


def _require_valid(connection: Connection) -> None:
    try:
        connection.full_clean(validate_unique=False)
    except ValidationError as error:
        raise ConfigurationError(
            "The connection can't be made.",
            errors=[
                Problem(name, message)
                for name, messages in error.message_dict.items()
                for message in messages
            ],
        ) from error


def propose_mapping(connection: Connection, provider: Provider | None = None) -> None:
    """Map what the customer hasn't decided yet, from labels and aliases."""
    provider = provider or provider_for(connection)
    remote = [
        (remote_object, tuple(descriptions.fields(provider, remote_object.name).values()))
        for remote_object in descriptions.objects(provider)
    ]
    mappings = {mapping.crm_object_id: mapping for mapping in connection.mappings.all()}
    decided = set(
        EventAction.objects.filter(mapping__connection=connection).values_list(
            "event_id", flat=True
        )
    )
    for crm_object in catalogue.objects().values():
        mapping = mappings.get(crm_object.id)
        if mapping is not None and not mapping.remote_object:
            continue  # opted out
        proposal = propose(
            crm_object.slug,
            crm_object.label,
            crm_object.fields,
            {
                event.slug: {"type": str(event.type), "payloadSchema": event.payload_schema}
                for event in crm_object.events.values()
            },
            [pair for pair in remote if mapping is None or pair[0].name == mapping.remote_object],
        )
        if proposal is None:
            logger.info("No remote object of %s fits %s.", connection.pk, crm_object.slug)
            continue
        if mapping is None:
            mapping = ObjectMapping.objects.create(
                connection=connection, crm_object_id=crm_object.id, **proposal.object_map
            )
        EventAction.objects.bulk_create(
            EventAction(
                mapping=mapping,
                event_id=crm_object.events[slug].id,
                action=action["action"],
                workflow=action.get("workflow", ""),
                transformations=action["transformations"],
            )
            for slug, action in proposal.actions.items()
            if crm_object.events[slug].id not in decided
        )


def set_status(connection: Connection, status: ConnectionStatus, reason: str = "") -> None:
    """Change the status, and tell `connection_status_changed` once it is committed."""
    old_status = connection.status
    connection.status, connection.status_reason = status, reason
    using = router.db_for_write(Connection)
    with transaction.atomic(using=using):
        connection.save(update_fields=["status", "status_reason", "updated_at"])
        _announce(connection, old_status, using=using)


def break_off(connection: Connection, reason: str) -> None:
    """The CRM refused the credentials: it is errored until it is connected again.

    Not where somebody has changed the connection since it was read: then other credentials may
    have been refused than those that it has now.
    """
    using = router.db_for_write(Connection)
    as_read = Connection.objects.using(using).filter(
        pk=connection.pk, updated_at=connection.updated_at
    )
    with transaction.atomic(using=using):
        # Locked: who connects at this very moment has changed it before, or comes after.
        if as_read.select_for_update().first() is not None:
            set_status(connection, ConnectionStatus.ERRORED, reason)


def _announce(connection: Connection, old_status: str, *, using: str) -> None:
    if connection.is_enabled:
        backends.poke_on_commit([connection.pk], using=using)
    if connection.status != old_status:
        signals.send_on_commit(
            signals.connection_status_changed,
            Connection,
            using=using,
            connection=connection,
            old_status=old_status,
            new_status=connection.status,
            reason=connection.status_reason,
        )
