"""Folding: what waits for one record, made into as little as it takes. Plain data in and out.

`claiming.py` reads the rows and writes down what is decided here. Three rules, and all of them
leave the record as it would be had everything been sent one by one (but for a field that is written
only while it is empty: it may get another one of the values that waited):

- a write joins the write in front of it, and both are one call;
- a delete supersedes the writes in front of it;
- an event on which the customer does nothing is skipped where it stands.

Whatever may have reached the CRM already, or somebody waits for, is left as it is: what stands
behind it waits. Nothing is lost of what is folded: its payload is kept beside the head's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Payloads that one invocation keeps of others; more wait for the next call.
MAX_STEPS = 50


class Kind(enum.Enum):
    """What an event does in this connection, as far as folding is concerned."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NOTHING = "nothing"
    #: A workflow, a search, an action that can't be told: carried out by itself.
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open invocation of the record, as the database has it."""

    id: int
    event_id: int
    payload: Mapping[str, Any]
    #: Whether it can be touched at all: it waits, nobody waits for it, and no try of it may have
    #: written.
    free: bool
    folded: list[dict[str, Any]] | None = None


@dataclass(slots=True)
class Stage:
    """One invocation that is to be carried out, and what it stands for besides itself."""

    head: Waiting
    #: What joined it, and whether that has changed.
    steps: list[dict[str, Any]]
    changed: bool = False
    #: Those it replaces.
    superseded: list[Waiting] = field(default_factory=list)
    #: Those on which nothing is to be done.
    skipped: list[Waiting] = field(default_factory=list)


def fold(rows: Iterable[Waiting], kind_of: Callable[[int], Kind]) -> list[Stage]:
    """Fold the open invocations of one record, given in the order they were made.

    `kind_of` says what an event (by its id) does in the connection. Gives what is left, in order:
    each stage has to wait for the one before it.
    """
    stages: list[Stage] = []
    for row in rows:
        kind = kind_of(row.event_id)
        last = stages[-1] if stages else None
        if last is None or not row.free or not _takes_writes(last, kind_of):
            stages.append(Stage(row, list(row.folded or ())))
        elif kind is Kind.NOTHING:
            last.skipped.append(row)
        elif kind is Kind.UPDATE and not row.folded and len(last.steps) < MAX_STEPS:
            _join(last, row)
        elif kind is Kind.DELETE:
            deleting = Stage(row, [])
            while stages and _takes_writes(stages[-1], kind_of):
                gone = stages.pop()
                deleting.superseded[:0] = [gone.head, *gone.superseded]
                deleting.skipped[:0] = gone.skipped
            stages.append(deleting)
        else:
            stages.append(Stage(row, list(row.folded or ())))
    return stages


def _takes_writes(stage: Stage, kind_of: Callable[[int], Kind]) -> bool:
    return stage.head.free and kind_of(stage.head.event_id) in (Kind.CREATE, Kind.UPDATE)


def _join(stage: Stage, row: Waiting) -> None:
    """Put the row's payload behind the others, in place of those that it covers."""
    stage.superseded.append(row)
    stage.changed = True
    stage.steps[:] = [
        step
        for step in stage.steps
        if step["event"] != row.event_id or not _covers(row.payload, step["payload"])
    ]
    stage.steps.append({"event": row.event_id, "payload": dict(row.payload)})


def _covers(later: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    """Whether the later payload of the same event writes every field that the earlier one does.

    A key that is missing or null may leave a field alone which the earlier one wrote.
    """
    return all(
        key in later and (later[key] is not None or value is None) for key, value in earlier.items()
    )
