"""New credentials for old ones: fetched once, whoever needs them, and never lost.

A vendor that rotates refresh tokens takes each of them once. So the connection's row is locked
while the vendor is asked; who waited for it finds that others are stored by now, and takes those.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connections, router, transaction
from django.db.models import F

from xkit_crm.exceptions import CRMUnauthorized
from xkit_crm.models import Connection
from xkit_crm.models.base import in_transaction
from xkit_crm.providers.base import Credentials

Ask = Callable[[Credentials], Credentials]


def renew(connection: Connection, used: Credentials, ask: Ask) -> Credentials:
    """The credentials of the connection that are to be used in place of those that were `used`.

    They are committed when this returns, also within a transaction that is rolled back later (not
    on SQLite).
    Raises what `ask` raises, and `CRMUnauthorized` where another CRM was connected meanwhile; then
    nothing has changed.
    """
    using = router.db_for_write(Connection)
    # SQLite lets nobody else write meanwhile; there it is as safe as the transaction.
    if in_transaction(using) and connections[using].vendor != "sqlite":
        with ThreadPoolExecutor(1, "xkit_crm renew") as apart:
            found = apart.submit(_renew_apart, connection, used, ask).result()
    else:
        found = _renew(connection, used, ask)
    connection.credentials = found
    return found


def renew_given(connection: Connection, used: Credentials, ask: Ask) -> Credentials:
    """The same of credentials that somebody gives, and that are not stored yet: those that are
    stored may be another account's, or refused. Whoever stores them has the new ones in hand."""
    connection.credentials = found = ask(used)
    return found


def _renew_apart(connection: Connection, used: Credentials, ask: Ask) -> Credentials:
    try:
        return _renew(connection, used, ask)
    finally:
        connections.close_all()


def _renew(connection: Connection, used: Credentials, ask: Ask) -> Credentials:
    using = router.db_for_write(Connection)
    rows = Connection.objects.using(using).filter(pk=connection.pk)
    with transaction.atomic(using=using):
        # Written to before it is read: SQLite locks nothing for a SELECT.
        rows.update(credentials_cipher=F("credentials_cipher"))
        # An event may be captured for it meanwhile, where the database can tell the two apart: the
        # vendor can be long in answering, and whoever saves a row is not to wait for that.
        no_key = connections[using].features.has_select_for_no_key_update
        stored = rows.select_for_update(no_key=no_key).first()
        if stored is None:  # it is being made, and has no row yet
            return ask(used)
        if stored.provider != connection.provider:
            # Theirs are for that one's eyes only.
            raise CRMUnauthorized(
                "The connection leads to another CRM by now.", hint="Try it again, in that one."
            )
        if stored.credentials != used:
            return stored.credentials
        stored.credentials = ask(used)
        stored.save(update_fields=["credentials_cipher"])
    return stored.credentials
