"""Sync now: rows are queued to be written as they are, since a person asks for it.

The admin calls it for the panel of one row, and for the rows that are selected in a list. By the
rules of reconciling, but that a row need not differ from what was delivered: its record may have
been changed in the CRM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from xkit_crm.models import Connection
from xkit_crm.models.invocation import Priority
from xkit_crm.sync.findings import Difference, State
from xkit_crm.sync.reconcile import reconcile

#: States in which an event is queued, where one is bound.
_QUEUED_IN = (State.IN_STEP, State.DIFFERS, State.NOT_LINKED)


@dataclass(frozen=True, slots=True)
class Resync:
    """What became of rows. Each counts once for every connection that it goes to."""

    #: Events that were queued.
    queued: int
    #: Those for which no event is bound.
    unbound: int
    #: Why nothing was queued for the others.
    left: Mapping[State, int]
    #: The first ones of which more is to be told.
    details: tuple[Difference, ...]


def resync(
    rows: models.QuerySet[Any],
    connection: Connection | str | None = None,
    *,
    crm_object: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> Resync:
    """Queue the update event of these rows, or the create event where there is no record yet.

    In every connection that they go to, or in this one. What is under way already is left alone,
    so that asking twice does nothing more. Set-wise; each page of rows is committed by itself.

    Raises `ConfigurationError` for a model without binding, `UnknownEvent`, `UnknownConnection`
    and `ConnectionNotEnabled`.
    """
    results = reconcile(
        [rows], connection, crm_object=crm_object, create=True, force=True, priority=priority
    )
    counts: Counter[State] = Counter()
    for result in results:
        counts.update(result.counts)
    queued = sum(sum(result.queued.values()) for result in results)
    return Resync(
        queued=queued,
        unbound=sum(counts[state] for state in _QUEUED_IN) - queued,
        left={state: count for state, count in counts.items() if state not in _QUEUED_IN},
        details=tuple(d for result in results for d in result.differences if not d.queued),
    )
