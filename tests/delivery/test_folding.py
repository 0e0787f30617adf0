"""Folding: as little as it takes, and the record ends as if everything had been sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xkit_crm
from tests.delivery.conftest import act, create, held
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.folding import MAX_STEPS, Kind, Stage, Waiting, fold
from xkit_crm.models import Connection

CREATE, CHANGE, RENAME, DELETE, NOTHING, FLOW = range(1, 7)
KINDS = {
    CREATE: Kind.CREATE,
    CHANGE: Kind.UPDATE,
    RENAME: Kind.UPDATE,
    DELETE: Kind.DELETE,
    NOTHING: Kind.NOTHING,
    FLOW: Kind.ALONE,
}
kind_of = KINDS.__getitem__


def rows(*events: int | tuple[int, Mapping[str, Any]]) -> list[Waiting]:
    """Free rows of these events, each writing its own number to `n` where nothing is said."""
    found = []
    for number, given_ in enumerate(events, start=1):
        event, payload = given_ if isinstance(given_, tuple) else (given_, {"n": number})
        found.append(Waiting(number, event, payload, free=True))
    return found


def shape(stages: Iterable[Stage]) -> list[tuple[int, list[int], list[int]]]:
    """The head of each stage, those it replaces, and those that are skipped; by id."""
    return [(s.head.id, [r.id for r in s.superseded], [r.id for r in s.skipped]) for s in stages]


def written(stage: Stage) -> list[tuple[int, Mapping[str, Any]]]:
    """What carrying the stage out writes, in order."""
    return [
        (stage.head.event_id, stage.head.payload),
        *((s["event"], s["payload"]) for s in stage.steps),
    ]


# -- the rules ------------------------------------------------------------------------------------


def test_an_update_joins_the_create_in_front_of_it() -> None:
    (stage,) = fold(rows((CREATE, {"a": 1}), (CHANGE, {"a": 2})), kind_of)
    assert shape([stage]) == [(1, [2], [])]
    assert written(stage) == [(CREATE, {"a": 1}), (CHANGE, {"a": 2})]
    assert stage.changed


def test_an_update_joins_the_update_in_front_of_it_and_its_keys_win() -> None:
    (stage,) = fold(rows((CHANGE, {"a": 1}), (CHANGE, {"a": 2}), (CHANGE, {"b": 3})), kind_of)
    assert shape([stage]) == [(1, [2, 3], [])]
    assert written(stage) == [(CHANGE, {"a": 1}), (CHANGE, {"a": 2}), (CHANGE, {"b": 3})]
    (stage,) = fold(rows((CHANGE, {"a": 1}), (CHANGE, {"a": 2}), (CHANGE, {"a": 3})), kind_of)
    assert stage.steps == [{"event": CHANGE, "payload": {"a": 3}}]


def test_updates_of_different_events_keep_their_order_in_one_call() -> None:
    (stage,) = fold(rows((CHANGE, {"a": 1}), (RENAME, {"a": 2}), (CHANGE, {"b": 3})), kind_of)
    assert written(stage) == [(CHANGE, {"a": 1}), (RENAME, {"a": 2}), (CHANGE, {"b": 3})]


def test_a_step_that_a_later_one_covers_is_dropped_and_one_that_it_does_not_cover_stays() -> None:
    (stage,) = fold(
        rows(CREATE, (CHANGE, {"a": 1}), (RENAME, {"a": 2}), (CHANGE, {"a": 3, "b": 3})), kind_of
    )
    assert written(stage)[1:] == [(RENAME, {"a": 2}), (CHANGE, {"a": 3, "b": 3})]
    (stage,) = fold(
        rows(CREATE, (CHANGE, {"a": 1, "c": 1}), (RENAME, {"a": 2}), (CHANGE, {"a": 3})), kind_of
    )
    assert len(written(stage)) == 4


def test_a_delete_supersedes_the_writes_in_front_of_it() -> None:
    assert shape(fold(rows(CHANGE, CHANGE, RENAME, DELETE), kind_of)) == [(4, [1, 2, 3], [])]
    assert shape(fold(rows(CREATE, CHANGE, DELETE), kind_of)) == [(3, [1, 2], [])]


def test_a_delete_does_not_supersede_a_delete_nor_what_is_before_one() -> None:
    found = fold(rows(CREATE, DELETE, CREATE, CHANGE, DELETE), kind_of)
    assert shape(found) == [(2, [1], []), (5, [3, 4], [])]


def test_a_create_joins_nothing_and_a_delete_supersedes_both() -> None:
    assert shape(fold(rows(CHANGE, CREATE), kind_of)) == [(1, [], []), (2, [], [])]
    assert shape(fold(rows(CHANGE, CREATE, DELETE), kind_of)) == [(3, [1, 2], [])]


def test_what_the_customer_does_nothing_on_is_skipped_behind_a_write() -> None:
    (stage,) = fold(rows(CREATE, NOTHING, CHANGE, NOTHING), kind_of)
    assert shape([stage]) == [(1, [3], [2, 4])]
    assert shape(fold(rows(CREATE, NOTHING, DELETE), kind_of)) == [(3, [1], [2])]


def test_what_the_customer_does_nothing_on_has_its_own_turn_behind_anything_else() -> None:
    for first in (NOTHING, DELETE, FLOW):
        assert shape(fold(rows(first, NOTHING), kind_of)) == [(1, [], []), (2, [], [])]


def test_a_workflow_parts_what_is_before_it_from_what_is_behind_it() -> None:
    found = fold(rows(CREATE, CHANGE, FLOW, CHANGE, CHANGE, FLOW, DELETE), kind_of)
    assert shape(found) == [(1, [2], []), (3, [], []), (4, [5], []), (6, [], []), (7, [], [])]


def test_what_somebody_waits_for_or_may_have_been_written_is_left_alone() -> None:
    first, second, third = rows(CREATE, CHANGE, CHANGE)
    busy = replace(first, free=False)
    assert shape(fold([busy, second, third], kind_of)) == [(1, [], []), (2, [3], [])]
    waited = replace(second, free=False)
    assert shape(fold([first, waited, third], kind_of)) == [(1, [], []), (2, [], []), (3, [], [])]
    *_, gone = rows(CREATE, CHANGE, CHANGE, DELETE)
    assert shape(fold([first, waited, gone], kind_of)) == [(1, [], []), (2, [], []), (4, [], [])]


def test_what_was_folded_before_is_gone_on_with() -> None:
    steps = [{"event": RENAME, "payload": {"a": 1}}]
    head = replace(rows(CREATE)[0], folded=steps)
    (stage,) = fold([head, Waiting(2, RENAME, {"b": 2}, free=True)], kind_of)
    assert stage.steps == [*steps, {"event": RENAME, "payload": {"b": 2}}]
    assert steps == [{"event": RENAME, "payload": {"a": 1}}]


def test_an_update_that_others_have_joined_joins_nothing_itself() -> None:
    first, second = rows(CHANGE, CHANGE)
    second = replace(second, folded=[{"event": CHANGE, "payload": {"n": 3}}])
    found = fold([first, second], kind_of)
    assert shape(found) == [(1, [], []), (2, [], [])]
    assert found[1].steps == second.folded


def test_a_call_takes_so_many_steps_and_the_rest_waits_for_the_next() -> None:
    events = [(CHANGE if n % 2 else RENAME, {f"k{n}": n}) for n in range(MAX_STEPS + 6)]
    first, second = fold(rows(CREATE, *events), kind_of)
    assert len(first.steps) == MAX_STEPS
    assert second.head.id == MAX_STEPS + 2
    assert len(second.steps) == 5


def test_nothing_comes_of_nothing() -> None:
    assert fold([], kind_of) == []


# -- for any rows ---------------------------------------------------------------------------------

#: Which remote field each event writes a payload key to: they overlap.
FIELDS = {
    CREATE: {"a": "A", "b": "B", "c": "C"},
    CHANGE: {"a": "A", "b": "B", "c": "C"},
    RENAME: {"a": "B", "b": "C", "c": "A"},
}
_payloads = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3)
_steps = st.lists(
    st.builds(
        lambda event, payload: {"event": event, "payload": payload},
        st.sampled_from([CHANGE, RENAME]),
        _payloads,
    ),
    min_size=1,
    max_size=2,
)


@st.composite
def waiting_rows(draw: st.DrawFn) -> list[Waiting]:
    """The open rows of one record, as the database may have them."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        event = draw(st.sampled_from([CREATE, CHANGE, CHANGE, RENAME, DELETE, NOTHING, FLOW]))
        folded = None
        if kind_of(event) in (Kind.CREATE, Kind.UPDATE) and draw(st.integers(0, 4)) == 0:
            folded = draw(_steps)
        free = draw(st.integers(0, 4)) > 0
        found.append(Waiting(number, event, draw(_payloads), free, folded))
    return found


class Remote:
    """A record in the simplest CRM, which also remembers what its workflows have seen."""

    def __init__(self, values: Mapping[str, Any] | None) -> None:
        self.values = None if values is None else dict(values)
        self.seen: list[tuple[int, Mapping[str, Any] | None]] = []

    def carry_out(self, row: Waiting, steps: Sequence[Mapping[str, Any]]) -> None:
        kind = kind_of(row.event_id)
        if kind is Kind.DELETE:
            self.values = None
        elif kind is Kind.ALONE:
            self.seen.append((row.id, None if self.values is None else dict(self.values)))
        elif kind is not Kind.NOTHING:
            self._write(row.event_id, row.payload)
            for step in steps:
                self._write(step["event"], step["payload"])

    def _write(self, event: int, payload: Mapping[str, Any]) -> None:
        self.values = {
            **(self.values or {}),
            **{FIELDS[event][key]: value for key, value in payload.items()},
        }

    @property
    def state(self) -> tuple[Any, ...]:
        return self.values, self.seen


_initial = st.sampled_from([None, {"A": "old", "B": "old", "D": "old"}])


@given(waiting_rows(), _initial)
def test_the_record_ends_as_if_every_row_had_been_sent(
    given_: list[Waiting], initial: Mapping[str, Any] | None
) -> None:
    one_by_one, folded = Remote(initial), Remote(initial)
    for row in given_:
        one_by_one.carry_out(row, row.folded or ())
    for stage in fold(given_, kind_of):
        folded.carry_out(stage.head, stage.steps)
    assert folded.state == one_by_one.state


@given(waiting_rows())
def test_every_row_is_a_head_or_superseded_or_skipped_once(given_: list[Waiting]) -> None:
    stages = fold(given_, kind_of)
    found = [row.id for s in stages for row in (s.head, *s.superseded, *s.skipped)]
    assert sorted(found) == [row.id for row in given_]


@given(waiting_rows())
def test_stages_and_what_is_in_them_keep_the_order(given_: list[Waiting]) -> None:
    stages = fold(given_, kind_of)
    spans = [
        sorted(row.id for row in (stage.head, *stage.superseded, *stage.skipped))
        for stage in stages
    ]
    assert [number for span in spans for number in span] == [row.id for row in given_]
    for stage in stages:
        for part in (stage.superseded, stage.skipped):
            assert [row.id for row in part] == sorted(row.id for row in part)


@given(waiting_rows())
def test_what_is_not_free_is_a_stage_of_its_own_and_untouched(given_: list[Waiting]) -> None:
    stages = {stage.head.id: stage for stage in fold(given_, kind_of)}
    for row in given_:
        if not row.free:
            stage = stages[row.id]
            assert stage.head is row
            assert not (stage.superseded)
            assert not (stage.skipped)
            assert not (stage.changed)
            assert stage.steps == (row.folded or [])


@given(waiting_rows())
def test_what_is_given_is_not_changed(given_: list[Waiting]) -> None:
    before = repr(given_)
    fold(given_, kind_of)
    assert repr(given_) == before


@given(waiting_rows())
def test_what_was_folded_folds_to_itself(given_: list[Waiting]) -> None:
    once = fold(given_, kind_of)
    left = [replace(stage.head, folded=stage.steps or None) for stage in once]
    again = fold(left, kind_of)
    assert [(s.head.id, s.steps) for s in again] == [(s.head.id, s.steps) for s in once]
    assert not any(s.superseded or s.skipped for s in again)


# -- through the mapping --------------------------------------------------------------------------

#: What a customer may have decided on `deal_updated`, where missing keys make a difference.
MAPPINGS: dict[str, list[dict[str, Any]]] = {
    "a default": [
        {"field": "Name", "kind": "direct", "key": "name"},
        {"field": "Amount", "kind": "default", "key": "amount", "value": 7},
    ],
    "a template": [
        {"field": "Description", "kind": "template", "template": "{name} by {owner_email}"}
    ],
}
EDITS: list[dict[str, Any]] = [
    {"views": 1},
    {"name": "One", "amount": 1},
    {"name": "Two"},
    {"owner_email": "ada@example.com"},
]


@pytest.mark.django_db
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_partial_edits_leave_what_they_would_one_by_one(sandbox: Connection, mapping: str) -> None:
    act("deal_updated", transformations=MAPPINGS[mapping])
    refs = []
    for _ in range(2):
        record = create("Sales").record
        assert record is not None
        refs.append(record.id)
    for edit in EDITS:
        xkit_crm.invoke("acme", "opportunity", "deal_updated", edit, refs[0], wait=False)
        drain("acme")
    for edit in EDITS:
        xkit_crm.invoke("acme", "opportunity", "deal_updated", edit, refs[1], wait=False)
    drain("acme")
    one_by_one, folded = held()
    assert folded == one_by_one
