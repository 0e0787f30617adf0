"""New credentials for old ones: fetched once, whoever needs them, and never lost.

A vendor that rotates refresh tokens takes each of them once. So one at a time asks for those of a
connection; who waited for that finds that others are stored by now, and takes those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from django.db import OperationalError, connections, router, transaction
from django.db.models import F, QuerySet

from xkit_crm.exceptions import CRMUnauthorized
from xkit_crm.models import Connection
from xkit_crm.models.base import again_on_conflict, in_transaction
from xkit_crm.providers.base import Credentials

Ask = Callable[[Credentials], Credentials]

#: Seconds that are waited for somebody else who renews the same.
LONGEST = 60


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
    with _alone(rows, connection.pk, using):
        stored = rows.first()
        if stored is None:  # it is being made, and has no row yet
            return ask(used)
        if (others := _others(stored, connection, used)) is not None:
            return others
        renewed = ask(used)
        # The vendor gives them once: where somebody was in the way they are stored all the same.
        return again_on_conflict(partial(_store, rows, using, connection, used, renewed))


def _store(
    rows: QuerySet[Connection],
    using: str,
    connection: Connection,
    used: Credentials,
    renewed: Credentials,
) -> Credentials:
    """Store those that were renewed; gives those that are stored by now."""
    with _locked(rows, using):
        stored = rows.first()
        if stored is None:  # deleted meanwhile
            return renewed
        if (others := _others(stored, connection, used)) is not None:
            return others
        stored.credentials = renewed
        stored.save(update_fields=["credentials_cipher"])
    return renewed


def _others(stored: Connection, connection: Connection, used: Credentials) -> Credentials | None:
    """Those that are stored by now in place of those that were used; None where these still are."""
    if stored.provider != connection.provider:
        # Theirs are for that one's eyes only.
        raise CRMUnauthorized(
            "The connection leads to another CRM by now.", hint="Try it again, in that one."
        )
    return stored.credentials if stored.credentials != used else None


@contextmanager
def _locked(rows: QuerySet[Connection], using: str) -> Iterator[None]:
    """Nobody else changes the connection during the block. On PostgreSQL an event may be captured
    for it all the same."""
    with transaction.atomic(using=using):
        # Written to, since SQLite locks nothing for a SELECT.
        rows.update(credentials_cipher=F("credentials_cipher"))
        yield


def _alone(rows: QuerySet[Connection], pk: str, using: str) -> AbstractContextManager[None]:
    """Nobody else renews these during the block, and who saves a row of this customer doesn't wait
    for it: the vendor can be long in answering."""
    # MariaDB and MySQL can't tell who refers to a row from who changes it.
    return _named(pk, using) if connections[using].vendor == "mysql" else _locked(rows, using)


@contextmanager
def _named(pk: str, using: str) -> Iterator[None]:
    """A lock on the connection's name."""
    database = connections[using]
    # One server's databases share the names of locks, of which there are 64 characters.
    name = hashlib.sha256(f"{database.settings_dict['NAME']} {pk}".encode()).hexdigest()
    with database.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", [name, LONGEST])
        (got,) = cursor.fetchone()
        if not got:
            raise OperationalError(f"Somebody else has renewed {pk}'s credentials for {LONGEST} s.")
        try:
            yield
        finally:
            cursor.execute("SELECT RELEASE_LOCK(%s)", [name])
