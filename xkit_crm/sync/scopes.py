"""Scopes: whether what was written or read in a transaction still holds, or was rolled back.

A scope is one transaction, or one savepoint of it. `capture.py` keeps one with what it remembers of
a row, `gathering.py` with what is still to be written. Asking costs no query. Knows nothing of rows
and invocations.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Self

from django.db import connections

#: Where a database connection keeps the scope that was asked for last.
_CURRENT = "_xkit_scope"
#: The same for each database by its alias, in this thread: finding the connection costs more.
_last = threading.local()


class _Marker:
    """Run at commit. Django drops it when the transaction or savepoint is rolled back, and nobody
    else holds it, so that it is there exactly as long as the scope may come to hold."""

    __slots__ = ("__weakref__", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __call__(self) -> None:
        self.scope.committed = True


class Scope:
    """One transaction or savepoint: `committed`, `rolled_back`, or neither as yet."""

    __slots__ = ("_marker", "committed", "savepoints")

    def __init__(self, savepoints: tuple[str, ...] = ()) -> None:
        self.savepoints = savepoints
        self.committed = False
        self._marker: weakref.ref[_Marker] | None = None

    @property
    def rolled_back(self) -> bool:
        return not self.committed and (self._marker is None or self._marker() is None)

    def _follow(self, database: Any) -> None:
        marker = _Marker(self)
        self._marker = weakref.ref(marker)
        database.on_commit(marker)

    def __reduce__(self) -> Any:
        # What is pickled can't hear of a commit to come.
        return (_committed if self.committed else Scope), ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _committed() -> Scope:
    scope = Scope()
    scope.committed = True
    return scope


def savepoints_of(database: Any) -> tuple[str, ...]:
    """The savepoints that this database connection is in, outermost first."""
    # `atomic(savepoint=False)` leaves a None: what it takes back is what is around it.
    return tuple([name for name in database.savepoint_ids if name is not None])


def current(using: str) -> Scope | None:
    """The innermost scope that this thread is in; None in autocommit mode."""
    database = connections[using]
    if not database.in_atomic_block:
        return None
    savepoints = savepoints_of(database)
    scope: Scope | None = database.__dict__.get(_CURRENT)
    if scope is None or scope.savepoints != savepoints or scope.committed or scope.rolled_back:
        scope = database.__dict__[_CURRENT] = Scope(savepoints)
        scope._follow(database)
    _last.__dict__[using] = scope
    return scope


def last(using: str) -> Scope | None:
    """The scope in which this thread wrote last, while it may still be rolled back: what is read
    now may be what was written in it. Cheap enough to ask for every row that is loaded."""
    scope: Scope | None = _last.__dict__.get(using)
    if scope is not None and (scope.committed or scope.rolled_back):
        del _last.__dict__[using]
        return None
    return scope
