"""What reconciling finds: how a row and its record stand to each other, and what was decided.

`reconcile.py` walks by it; the command and the admin draw it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xkit_crm.catalogue import Event
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Connection, EventAction, ObjectMapping
from xkit_crm.models.connection import ConnectionStatus

#: Findings that a result keeps; all of them are told to `found`.
MAX_FINDINGS = 200


class State(enum.StrEnum):
    """How a row and its record stand to each other, in one connection."""

    IN_STEP = "in step"
    ERASED = "erased"
    DIFFERS = "differs"
    NOT_LINKED = "not linked"
    GONE = "row gone"
    STRAYED = "strayed"
    LEFT_OUT = "left out"
    ON_ITS_WAY = "on its way"
    FAILED_BEFORE = "failed before"
    HANDED_OVER = "handed over"
    INVALID = "invalid"
    OPTED_OUT = "opted out"
    UNDECIDED = "undecided"
    NOT_ENABLED = "not enabled"


#: States of which nothing has to be told row by row.
QUIET = (
    State.IN_STEP,
    State.ERASED,
    State.LEFT_OUT,
    State.ON_ITS_WAY,
    State.OPTED_OUT,
    State.NOT_ENABLED,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of which something has to be told. `queued`: an event was (or would be) queued."""

    connection_id: str
    pk: str
    record_id: str
    state: State
    detail: str = ""
    queued: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What was found of one binding, and what was queued, or with `dry_run` would be."""

    model: str
    crm_object: str
    dry_run: bool
    counts: Mapping[State, int]
    #: Events that were queued, by their slugs.
    queued: Mapping[str, int]
    #: The first rows of which something has to be told.
    differences: tuple[Difference, ...]
    #: Why the binding could not be walked, where it couldn't.
    problem: str = ""

    @property
    def unsettled(self) -> int:
        """What differs and stays so: queued by nobody, or only to be looked at."""
        waiting = sum(self.queued.values()) if self.dry_run else 0
        states = (State.INVALID, State.UNDECIDED, State.FAILED_BEFORE)
        return waiting + sum(self.counts.get(state, 0) for state in states) + bool(self.problem)


class Decided:
    """Whether an event does anything in a connection, without a query for each connection."""

    def __init__(self, crm_object_id: int) -> None:
        self._crm_object_id = crm_object_id
        self._enabled: dict[str, bool] = {}
        self._states: dict[tuple[str, int], State] = {}
        self._opted_out: set[str] = set()

    def read(self, connection_ids: Iterable[str]) -> None:
        """Have these connections' decisions at hand: two queries where any of them is new."""
        new = set(connection_ids) - self._enabled.keys()
        if not new:
            return
        enabled = Connection.objects.filter(pk__in=new, status=ConnectionStatus.ENABLED)
        self._enabled |= dict.fromkeys(new, False)
        self._enabled |= dict.fromkeys(enabled.values_list("pk", flat=True), True)
        mappings = ObjectMapping.objects.filter(
            connection_id__in=new, crm_object_id=self._crm_object_id
        )
        self._opted_out |= set(
            mappings.filter(remote_object="").values_list("connection_id", flat=True)
        )
        actions = EventAction.objects.filter(mapping__in=mappings).values_list(
            "mapping__connection_id", "event_id", "action"
        )
        for connection_id, event_id, action in actions:
            nothing = action == ActionType.NOOP or (
                connection_id in self._opted_out and action != ActionType.WORKFLOW
            )
            state = State.OPTED_OUT if nothing else State.IN_STEP
            self._states[connection_id, event_id] = state

    def is_enabled(self, connection_id: str) -> bool:
        return self._enabled.get(connection_id, False)

    def hindrance(self, connection_id: str, event: Event) -> State | None:
        """Why the event would do nothing there; None where it does something."""
        fallback = State.OPTED_OUT if connection_id in self._opted_out else State.UNDECIDED
        state = self._states.get((connection_id, event.id), fallback)
        return None if state is State.IN_STEP else state
