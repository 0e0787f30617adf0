"""Cursors for statements that are run again and again, which PostgreSQL plans once and not each
time.

To plan them takes two to five times as long as to run them. Django has statements prepared only
where a product asks for it, since a pooler that hands a session on (PgBouncer's) need not know
them there. So they are prepared only in a session of our own: one whose process is that which was
named when we connected, since a pooler names something else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections

#: A statement is prepared once a session has run it so many times, as psycopg does by itself; and
#: none is in a session that is not used longer than that.
THRESHOLD = 5
#: A plan that was made while a table was small may read all of it when it is large. Where it takes
#: so many times what it took to plan and run it before, and so many seconds, it is made anew.
TOO_SLOW, SLOW = 3, 0.003
#: Where a session keeps a cursor for them.
_KEPT = "_xkit_crm_cursor"
#: Statements of a session that are remembered.
_STATEMENTS = 500


@dataclass(slots=True)
class _Runs:
    """How often a session has run a statement with this plan, which plan it is, and the seconds
    that it took before there was one."""

    count: int = 0
    plan: int = 0
    unplanned: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        if self.count <= THRESHOLD:
            self.unplanned = seconds
        elif seconds > max(SLOW, TOO_SLOW * self.unplanned):
            self.count, self.plan = 0, self.plan + 1


@dataclass(slots=True)
class _Known:
    """What is known of a session: how often it was used, whether nobody stands between us and the
    server, and what it has run."""

    used: int = 0
    direct: bool | None = None
    runs: dict[str, _Runs] = field(default_factory=dict)

    def of(self, statement: str) -> _Runs:
        if len(self.runs) > _STATEMENTS:
            self.runs.clear()
        return self.runs.setdefault(statement, _Runs())


_sessions: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def cursor(using: str) -> AbstractContextManager[Any]:
    """Django's cursor, for one statement whose answer is read at once; where PostgreSQL can keep
    plans, it is asked to."""
    connection: Any = connections[using]
    with _preparing_in(connection) as can:
        if not can:
            return connection.cursor()  # type: ignore[no-any-return]
        # To make one takes as long as to answer a small statement.
        kept = connection.connection.__dict__
        if _KEPT not in kept:
            kept[_KEPT] = connection.cursor()
            read_times_fast(kept[_KEPT], connection)
        return nullcontext(kept[_KEPT])


def read_times_fast(cursor: Any, connection: Any) -> None:
    """Have psycopg 3 read times by itself: Django has that done in Python, which takes longer than
    all else of a row. They are the same where the connection's time zone is UTC."""
    adapters = getattr(cursor.cursor, "adapters", None)
    if adapters is None or connection.vendor != "postgresql" or connection.timezone is not UTC:
        return
    import psycopg

    oid = psycopg.adapters.types["timestamptz"].oid
    loader = psycopg.adapters.get_loader(oid, psycopg.pq.Format.TEXT)
    assert loader is not None
    adapters.register_loader(oid, loader)


def prepared(using: str) -> Any:
    """The driver's cursor that has plans kept; None where that can't be."""
    connection: Any = connections[using]
    with _preparing_in(connection) as can:
        return connection.create_cursor() if can else None


@contextmanager
def _preparing_in(connection: Any) -> Iterator[bool]:
    """Cursors that are made in this block prepare; gives whether they do."""
    session = _session(connection)
    if session is None:
        yield False
        return
    factory = session.cursor_factory
    session.cursor_factory = _preparing()[factory]
    try:
        yield True
    finally:
        session.cursor_factory = factory


def _session(connection: Any) -> Any:
    """PostgreSQL's session; None where its statements are to be as Django has them."""
    # The setting is Django's, for who has a pooler. Who logs statements wants to read their values.
    is_plain = connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    if connection.vendor != "postgresql" or is_plain or connection.queries_logged:
        return None
    session = _opened(connection)
    # Who has cursors of another make, to trace them perhaps, keeps them.
    has_djangos = session.cursor_factory in _preparing()
    return session if has_djangos and _is_direct(connection, session) else None


def _is_direct(connection: Any, session: Any) -> bool:
    known = _sessions.get(session)
    if known is None:
        known = _sessions[session] = _Known()
    if known.direct is None:
        known.used += 1
        if known.used <= THRESHOLD:
            return False
        process = ask(connection, "SELECT pg_backend_pid()")
        known.direct = process == session.info.backend_pid
    return known.direct


def ask(connection: Any, statement: str, *parameters: object) -> Any:
    """The first value of what the database answers, None for nothing; past Django, whose counts
    and logs it is no business of."""
    session = _opened(connection)
    with connection.wrap_database_errors, session.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchone()
    return found[0] if found else None


def _opened(connection: Any) -> Any:
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    return connection.connection


@cache
def _preparing() -> dict[Any, Any]:
    """What takes the place of Django's cursors; nothing with psycopg2, which can't prepare."""
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        return {}
    from django.db.backends.postgresql import base
    from psycopg import adapt, errors
    from psycopg.pq import TransactionStatus
    from psycopg.types import numeric

    cursor_class: Any = base.ServerBindingCursor

    class Number(adapt.Dumper):
        """As text, of the type that its column has: the driver would cut off what is too large."""

        def dump(self, obj: Any) -> bytes:
            return b"%d" % obj

    # Somebody discarded the plans, or a column isn't any more what it was.
    changed = errors.InvalidSqlStatementName, errors.FeatureNotSupported, errors.DatatypeMismatch

    class Preparing(cursor_class):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for kind in (numeric.Int2, numeric.Int4, numeric.Int8):
                self.adapters.register_dumper(kind, Number)

        def execute(self, query: Any, params: Any = None) -> Any:
            session: Any = self.connection
            runs, began = _sessions[session].of(query), time.perf_counter()
            # Another text is another plan.
            text = f"{query} /* {runs.plan} */" if runs.plan else query
            # Only for this one: the product's statements are as it wants them.
            threshold, session.prepare_threshold = session.prepare_threshold, THRESHOLD
            try:
                result = super().execute(text, params)
                runs.add(time.perf_counter() - began)
                return result
            except changed:
                _sessions[session].direct = False
                if session.info.transaction_status != TransactionStatus.IDLE:
                    raise
                return super().execute(query, params, prepare=False)
            finally:
                session.prepare_threshold = threshold

    return {base.Cursor: Preparing, base.ServerBindingCursor: Preparing}
