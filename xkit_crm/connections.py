"""What happens to a connection: it is made, mapped by default, and changes its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.db.models import F

from xkit_crm import mappings, notifications, signals
from xkit_crm.delivery import backends, lanes
from xkit_crm.exceptions import ConfigurationError, Problem, UnknownConnection
from xkit_crm.models import Connection, ObjectMapping
from xkit_crm.models.base import again_on_conflict
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider
from xkit_crm.providers.registry import provider_class, provider_for
from xkit_crm.redaction import redact


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
    return _authorise(id, provider, context, credentials, ConnectionStatus.ENABLED, propose=True)


def authorise(
    id: str,  # noqa: A002 - the connection's own word for it
    *,
    provider: str,
    context: str = "",
    credentials: Mapping[str, Any] | None = None,
) -> Connection:
    """The same, and leave its mapping to the customer: without one in force it is pending.

    Raises what `connect` raises, and `UnknownConnection` for a connection of another context.
    """
    if Connection.objects.filter(pk=id).exclude(context=context).exists():
        raise UnknownConnection(f"The context {context!r} has no connection {id!r}.")
    # What was mapped to another CRM says nothing of this one.
    mapped = ObjectMapping.objects.filter(connection_id=id, connection__provider=provider).exists()
    status = ConnectionStatus.ENABLED if mapped else ConnectionStatus.PENDING
    return _authorise(id, provider, context, credentials, status)


def _authorise(
    id: str,  # noqa: A002
    provider: str,
    context: str,
    credentials: Mapping[str, Any] | None,
    status: ConnectionStatus,
    *,
    propose: bool = False,
) -> Connection:
    provider_class(provider)
    using = router.db_for_write(Connection)
    rows = Connection.objects.using(using).filter(pk=id)
    names = ["provider", "status", "status_reason", "description_key", "updated_at"]
    names += ["context"] if context else []
    names += ["credentials_cipher"] if credentials is not None else []

    def make() -> Connection:
        nonlocal credentials
        connection = rows.first() or Connection(pk=id)
        is_new, old_status = connection._state.adding, connection.status
        connection.provider, connection.context = provider, context or connection.context
        if credentials is not None:
            connection.credentials = credentials
        connection.status, connection.status_reason = status, ""
        _require_valid(connection)
        # Whoever asks meanwhile asks as whom it was connected before: not under the same key.
        descriptions.ask_anew(connection)
        adapter = provider_for(connection, given=credentials is not None)
        descriptions.objects(adapter)  # the CRM says no here where the credentials are wrong
        if credentials is not None:
            # Renewed, perhaps, which may be done once: where this begins again, it is with these.
            credentials = connection.credentials
        if not is_new and not rows.exists():
            return make()  # it was deleted meanwhile
        with transaction.atomic(using=using):
            # What was changed while the CRM was asked stays, but for what this is about.
            connection.save(force_insert=is_new, update_fields=None if is_new else names)
            if not is_new:
                lanes.resume(id)  # it has just answered
            if propose:
                propose_mapping(connection, adapter)
            _announce(connection, old_status, using=using)
        return connection

    return again_on_conflict(make)


def look_anew(connection: Connection) -> None:
    """Go by nothing that was learned of the CRM before: the connection leads to another account,
    and what that one is like, and what its limits are, nobody knows yet."""
    descriptions.forget(connection)
    lanes.resume(connection.pk)


def id_problems(id: str, *, path: str) -> list[Problem]:  # noqa: A002
    """Why there can be no connection of this id; none where there can."""
    try:
        Connection._meta.get_field("id").run_validators(id)
    except ValidationError as error:
        return [Problem(path, message) for message in error.messages]
    return []


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
    """Map what the customer hasn't decided yet, from labels and aliases, and put it in force."""
    provider = provider or provider_for(connection)
    decided = mappings.in_force(connection)
    proposed = mappings.with_proposals(provider, decided)
    for slug, given in decided.items():
        # What is decided is not touched, even where it wouldn't be taken today.
        events = proposed[slug].get("events", {}).items()
        proposed[slug]["events"] = {n: a for n, a in events if n not in given["events"]}
    mappings.put_in_force(connection, proposed, crm_was_asked=True)


def disconnect(connection: Connection, reason: str) -> None:
    """Forget the credentials and call the CRM no more; its mapping stays, and what waits waits."""
    connection.credentials = {}
    set_status(connection, ConnectionStatus.DISABLED, reason, changed=["credentials_cipher"])


def set_status(
    connection: Connection,
    status: ConnectionStatus,
    reason: str = "",
    *,
    changed: Sequence[str] = (),
) -> None:
    """Change the status, and what else has `changed`, and tell `connection_status_changed` once it
    is committed. What a CRM says in the reason is stored without the connection's secrets."""
    old_status = connection.status
    connection.status, connection.status_reason = status, redacted(connection, reason)
    using = router.db_for_write(Connection)

    def store() -> None:
        with transaction.atomic(using=using):
            connection.save(update_fields=["status", "status_reason", "updated_at", *changed])
            _announce(connection, old_status, using=using)

    again_on_conflict(store)


def redacted(connection: Connection, text: str) -> str:
    """The text without any secret of the connection."""
    try:
        credentials = connection.credentials
    except ConfigurationError:  # nobody can read them any more
        return text
    found: str = redact(text, credentials)
    return found


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
        # Written to before anything is read, so that it is locked, on SQLite too: who connects at
        # this very moment has changed it before, or comes after.
        if as_read.update(updated_at=F("updated_at")):
            set_status(connection, ConnectionStatus.ERRORED, reason)


def _announce(connection: Connection, old_status: str, *, using: str) -> None:
    if connection.is_enabled:
        backends.poke_on_commit([connection.pk], using=using)
    if connection.status != old_status:
        notifications.notify(connection)
        signals.send_on_commit(
            signals.connection_status_changed,
            Connection,
            using=using,
            connection=connection,
            old_status=old_status,
            new_status=connection.status,
            reason=connection.status_reason,
        )
