"""Follow the database: bindings and definitions are kept in memory, and others may change them.

`apps.py` starts it. Bindings made in the admin are loaded when the database is first used: reading
it while Django starts is discouraged, and the tables may not be there yet. A model without binding
costs nothing in any case.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.signals import request_started
from django.db import DatabaseError, connections, transaction
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import post_delete, post_migrate, post_save

from xkit_crm import catalogue
from xkit_crm.conf import settings
from xkit_crm.models import CRMObject, EventDefinition, ModelBinding
from xkit_crm.sync import bindings

logger = logging.getLogger(__name__)
_UID = "xkit_crm.following"

#: Whether something was read in a transaction that is not committed, perhaps never will be.
_unsure = False


def start() -> None:
    """Listen to what may have changed them."""
    connection_created.connect(_load_first, dispatch_uid=_UID)
    request_started.connect(_look, dispatch_uid=_UID)
    for model in (ModelBinding, EventDefinition, CRMObject):  # bindings name events by their slugs
        post_save.connect(_load_again, sender=model, dispatch_uid=_UID)
        post_delete.connect(_load_again, sender=model, dispatch_uid=_UID)
    post_migrate.connect(_load_migrated, sender=ModelBinding._meta.app_config, dispatch_uid=_UID)


def read_again() -> None:
    """Forget what was read in a transaction that was rolled back."""
    catalogue.forget()
    bindings.load_rows()


def _has_tables(connection: Any) -> bool:
    if connection.alias != bindings.rows_database():
        return False
    return ModelBinding._meta.db_table in connection.introspection.table_names()


def _load_first(*, connection: Any, **_: object) -> None:
    if _has_tables(connection):
        connection_created.disconnect(dispatch_uid=_UID)
        try:
            bindings.load_rows()
        except DatabaseError as error:  # the tables are of another version: `migrate` is due
            logger.warning("Bindings of the admin were not loaded: %s", error)


def _load_again(*, sender: type[Model], using: str, **_: object) -> None:
    global _unsure
    # Where there is no binding, nothing becomes of one by what is defined.
    if sender is ModelBinding or bindings.has_rows():
        bindings.load_rows()
    blocks = transaction.get_connection(using).atomic_blocks
    # What a `TestCase` wraps around a test is never committed: nothing would make it sure again.
    if blocks and not blocks[0]._from_testcase:
        _unsure = True
        transaction.on_commit(_sure, using=using)


def _sure() -> None:
    global _unsure
    _unsure = False


def _load_migrated(*, using: str, **_: object) -> None:
    if _has_tables(connections[using]):
        bindings.load_rows()


def _look(**_: object) -> None:
    try:
        if _unsure:
            read_again()
            _sure()
        catalogue.refresh_if_stale()
        bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
    except Exception as error:  # noqa: BLE001 - no page may fail for it, with or without a database
        logger.warning("Definitions and bindings were not looked at: %s", error)
