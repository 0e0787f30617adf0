"""What each CRM says of itself, remembered for a while.

Mapping needs the types of remote fields for every write, and asking the CRM each time would cost
a call of the customer's quota. So descriptions are kept in Django's cache for as long as the
provider says (`description_ttl`). The key of them is kept with the connection, where every process
sees that it has changed, whatever cache it has.
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from time import time
from typing import TypeVar, cast
from uuid import uuid4

from django.core.cache import cache
from django.db import router

from xkit_crm import logs
from xkit_crm.exceptions import CRMError, XkitError
from xkit_crm.models import Connection
from xkit_crm.providers.base import Provider, RemoteField, RemoteObject, Workflow
from xkit_crm.redaction import redact

logger = logging.getLogger(__name__)

#: Seconds that a process keeps at hand what the cache told it: a worker asks in each turn.
HOLD = 5.0

_Description = TypeVar("_Description")
_Answer = TypeVar("_Answer")


def objects(provider: Provider) -> Sequence[RemoteObject]:
    """Every object of the CRM."""
    return remembered(provider, "objects", provider.describe_objects)


def fields(provider: Provider, remote_object: str) -> dict[str, RemoteField]:
    """The fields of a remote object by name, as `mapping/` wants them."""
    described = remembered(
        provider, f"fields {remote_object}", lambda: provider.describe_fields(remote_object)
    )
    return {field.name: field for field in described}


def workflows(provider: Provider) -> Sequence[Workflow]:
    """Every native workflow that an event can be handed to."""
    return remembered(provider, "workflows", provider.list_workflows)


def workflow(provider: Provider, name: str) -> Workflow | None:
    """The native workflow of this name; None where the CRM has none (any more)."""
    return next((found for found in workflows(provider) if found.name == name), None)


def ask_anew(connection: Connection) -> None:
    """Ask the CRM again from now on; every process does once the connection is saved."""
    connection.description_key = uuid4().hex


def forget(connection: Connection) -> None:
    """Have every process ask the CRM again from now on."""
    ask_anew(connection)
    key = {"description_key": connection.description_key}
    Connection.objects.using(router.db_for_write(Connection)).filter(pk=connection.pk).update(**key)


def remembered(
    provider: Provider, what: str, describe: Callable[[], Sequence[_Description]]
) -> Sequence[_Description]:
    """What `describe` gives, asked for once. For what else an adapter is told of its CRM, too."""
    if what not in provider.described:
        provider.described[what] = _cached(provider, what, describe)
    found: Sequence[_Description] = provider.described[what]
    return found


def _cached(
    provider: Provider, what: str, describe: Callable[[], Sequence[_Description]]
) -> Sequence[_Description]:
    seconds = provider.description_ttl.total_seconds()
    if not seconds:
        return understood(provider, describe)
    key = _key(provider, what)
    try:
        return cast("Sequence[_Description]", _held(key, int(time() // HOLD)))
    except LookupError:
        pass
    except Exception as raised:  # noqa: BLE001 - each cache has its own; without one it is slower
        logger.warning("The cache doesn't answer: %r", raised)
    found = tuple(understood(provider, describe))
    with suppress(Exception):
        cache.set(key, found, timeout=seconds)
    return found


@lru_cache(maxsize=100)
def _held(key: str, moment: int) -> object:
    """What the cache has, asked once in each moment; raises `LookupError` where it has nothing."""
    found = cache.get(key)
    if found is None:
        raise LookupError(key)
    return found


def understood(provider: Provider, ask: Callable[[], _Answer]) -> _Answer:
    """What it gives; where an answer makes no sense to the adapter, that is told as the CRM's."""
    try:
        return ask()
    except XkitError:
        raise
    except Exception as raised:
        told = redact(traceback.format_exc(), provider.access.credentials)
        logger.error(
            "What %s says of itself can't be understood.\n%s",
            provider.label,
            told,
            extra=logs.of(provider.access.connection_id),
        )
        raise CRMError(
            f"{provider.label} answered something that can't be understood.",
            hint="The log has the details.",
        ) from raised


def _key(provider: Provider, what: str) -> str:
    """A key that every cache takes: ids may hold any character and be long."""
    access = provider.access
    text = f"{provider.slug} {access.connection_id} {access.description_key} {what}"
    return f"xkit_crm.{hashlib.sha256(text.encode()).hexdigest()}"
