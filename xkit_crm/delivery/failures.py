"""Failures by their cause: what failed or is unknown, put together where it is the same trouble.

A cause is a connection, an event, a kind of error, a field, and the words of the error without what
differs from one invocation to the next: numbers, ids, quoted values, values of the payload. So it
names no person's data. It is worked out of the newest ones as it is asked for, since what fails
shall cost delivery nothing more. The admin asks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from django.db.models import QuerySet

from xkit_crm.delivery import log
from xkit_crm.delivery.log import TROUBLE, Asked
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.redaction import mask

#: Of each state so many are read at once.
NEWEST = 3_000
#: What stands in the words for what differs.
ANY = "…"

_QUOTED = re.compile(
    r"""https?://\S+ | \S+@\S+ | (?<!\w)'[^']*'(?!\w) | "(?:\\.|[^"\\])*" | "[^"]*" | “[^”]*”
    | «[^»]*» | `[^`]*`""",
    re.VERBOSE,
)
_WITH_DIGITS = re.compile(r"[\w:.+/-]*\d[\w:.+/-]*(?<![.:/-])")
_SEVERAL = re.compile(rf"{ANY}(?:[\s,;]*{ANY})+")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Cause:
    """Why invocations failed."""

    connection_id: str
    event_id: int
    code: str
    #: Where, as far as the error says: payload keys or remote fields.
    field: str
    words: str

    @property
    def key(self) -> str:
        """The cause as an address can hold it."""
        parts = (self.connection_id, str(self.event_id), self.code, self.field, self.words)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Group:
    """The invocations of one cause, as far as they were read."""

    cause: Cause
    count: int
    #: How many of them are unknown, rather than failed.
    unknown: int
    first: datetime
    last: datetime
    #: The newest of them, by id, and what its error says is to be done.
    newest: int
    hint: str


@dataclass(frozen=True, slots=True)
class Report:
    """The causes with most invocations first."""

    groups: tuple[Group, ...]
    #: How many invocations were read; all there are, or the newest of them.
    read: int
    is_all: bool


def report(asked: Asked | None = None) -> Report:
    """What failed or is unknown by its cause, of all or of what is asked for: the newest of each
    state."""
    rows, is_all = _newest(asked or Asked())
    found: dict[Cause, Group] = {}
    for row in rows:  # newest first
        cause = cause_of(row)
        unknown = int(row.status == InvocationStatus.UNKNOWN)
        known = found.get(cause)
        if known is None:
            hint = mask(str((row.error_detail or {}).get("hint") or ""), _payloads(row), by=ANY)
            at = row.created_at
            found[cause] = Group(cause, 1, unknown, at, at, row.pk, hint)
        else:
            found[cause] = replace(
                known,
                count=known.count + 1,
                unknown=known.unknown + unknown,
                first=min(known.first, row.created_at),
            )
    groups = sorted(found.values(), key=lambda group: (-group.count, -group.newest))
    return Report(tuple(groups), len(rows), is_all)


def of_cause(asked: Asked, key: str) -> tuple[tuple[int, ...], bool]:
    """The ids of what is asked for and has this cause, newest first, of the newest of each state;
    and whether these are all."""
    rows, is_all = _newest(asked)
    return tuple(row.pk for row in rows if cause_of(row).key == key), is_all


def in_cause(ids: Iterable[int], key: str) -> list[int]:
    """Those of the invocations whose failing has this cause."""
    rows = _read(Invocation.objects.filter(pk__in=list(ids)))
    return [row.pk for row in rows if cause_of(row).key == key]


class Failed(Protocol):
    """What a cause is told by: an invocation, or these columns of one."""

    connection_id: str
    event_id: int
    error_code: str
    error_detail: Any
    payload: Any
    folded: Any


_COLUMNS = (
    "pk",
    "connection_id",
    "event_id",
    "status",
    "error_code",
    "error_detail",
    "payload",
    "folded",
    "created_at",
)


def _read(rows: QuerySet[Invocation]) -> QuerySet[Any]:
    """Without making models of them, which takes longer than everything else."""
    return rows.values_list(*_COLUMNS, named=True)


def _newest(asked: Asked) -> tuple[list[Any], bool]:
    """Those of what is asked for that are in trouble, newest first, and whether these are all."""
    statuses = [one for one in TROUBLE if not asked.statuses or one in asked.statuses]
    found: list[Any] = []
    is_all = True
    for status in statuses:
        one = replace(asked, statuses=(status,))
        stretch = log.newest_of(one, _read(Invocation.objects.all()), size=NEWEST)
        found += stretch.rows
        is_all = is_all and stretch.upto is None
    found.sort(key=lambda row: -row.pk)
    return found, is_all


def cause_of(invocation: Failed) -> Cause:
    """Why it failed."""
    error: Mapping[str, Any] = invocation.error_detail or {}
    field, words = said(error)
    return Cause(
        invocation.connection_id,
        invocation.event_id,
        invocation.error_code,
        field,
        without_values(words, _payloads(invocation))[:_LONGEST].rstrip(" .;,"),
    )


def said(error: Mapping[str, Any]) -> tuple[str, str]:
    """Where an error (as a dict) is, and its words: those of its single problems if it has some."""
    problems = [one for one in error.get("errors") or () if isinstance(one, Mapping)]
    paths = dict.fromkeys(str(one["path"]) for one in problems if one.get("path"))
    words = dict.fromkeys(str(one["error"]) for one in problems if one.get("error"))
    return ", ".join(paths), "; ".join(words) or str(error.get("message") or "")


def without_values(words: str, payloads: Iterable[Any], *, by: str = ANY) -> str:
    """The words with `by` for what differs from one invocation to the next: it names nobody, even
    where the payloads aren't known."""
    words = mask(_QUOTED.sub(ANY, words), payloads, by=ANY)
    words = _SEVERAL.sub(ANY, _WITH_DIGITS.sub(ANY, words))
    return " ".join(words.split()).replace(ANY, by)


def _payloads(invocation: Failed) -> Iterator[Any]:
    yield invocation.payload
    for step in invocation.folded or ():
        yield step.get("payload")
