"""The write mode `protect`, and payloads that were erased."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests import strategies
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.mapping.erased import ERASED, erased, is_erased
from xkit_crm.mapping.resolving import criteria, needs_current, resolve
from xkit_crm.mapping.transformations import Action, parse_action
from xkit_crm.providers.base import RemoteField, RemoteType


def protecting(**changes: Any) -> Action:
    row = {"field": "F", "kind": "direct", "key": "a", "mode": "protect"} | changes
    return parse_action({"action": "update", "transformations": [row]})


def written(
    current: dict[str, Any] | None,
    ours: set[str] | None,
    *,
    payload: Any = "new",
    creating: bool = False,
    fields: dict[str, RemoteField] | None = None,
) -> dict[str, Any]:
    return resolve(
        protecting(),
        {"a": payload},
        fields=fields,
        creating=creating,
        current=current,
        ours=ours,
    )


def test_a_protected_field_is_written_while_it_is_ours() -> None:
    assert written({"F": "old"}, {"F"}) == {"F": "new"}
    assert written({"F": None}, {"F"}) == {"F": "new"}
    assert written({"F": "old"}, {"F"}, payload=None) == {"F": None}


def test_a_protected_field_that_somebody_filled_is_left_alone() -> None:
    assert written({"F": "theirs"}, set()) == {}
    assert written({"F": "theirs"}, {"G"}, payload=None) == {}


def test_a_protected_field_that_somebody_cleared_is_left_alone() -> None:
    assert written({"F": None}, set()) == {}


def test_a_protected_field_that_has_the_value_already_is_written_again() -> None:
    day = {"F": RemoteField("F", "F", RemoteType.DATETIME)}
    moment = "2026-11-24T19:30:00Z"
    there = {"F": "2026-11-24T21:30:00.000+0200"}
    assert written(there, set(), payload=moment, fields=day) == {"F": moment}


def test_a_create_writes_a_protected_field() -> None:
    assert written(None, None, creating=True) == {"F": "new"}


def test_where_nobody_says_what_is_ours_only_an_empty_field_is() -> None:
    assert written({"F": ""}, None) == {"F": "new"}
    assert written({"F": "theirs"}, None) == {}


def test_without_the_records_values_a_preview_shows_what_could_be_written() -> None:
    assert written(None, None) == {"F": "new"}


def test_protected_fields_have_to_be_known_before_an_update() -> None:
    assert needs_current(protecting()) == ("F",)
    assert needs_current(protecting(mode="on_create")) == ()


@given(strategies.any_json)
def test_erasing_keeps_keys_and_shape_and_nothing_else(value: Any) -> None:
    gone = erased(value)
    assert _shape(gone) == _shape(value)
    assert all(leaf == ERASED for leaf in _leaves(gone))
    assert erased(gone) == gone
    assert is_erased(gone) == bool(_leaves(gone))


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(entry) for key, entry in value.items()}
    return [_shape(entry) for entry in value] if isinstance(value, list) else "leaf"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [value]


@pytest.mark.parametrize(
    "payload", [{"a": "Ada"}, {"b": [], "c": {"d": [1]}, "a": None}, {"a": {"b": ["Ada"]}}]
)
def test_an_erased_payload_is_never_sent(payload: dict[str, Any]) -> None:
    action = protecting(mode="always")
    for step in (resolve, criteria):
        named = {} if step is criteria else {"creating": True, "current": None}
        step(action, payload, fields=None, **named)
        with pytest.raises(PayloadInvalid, match="erased"):
            step(action, erased(payload), fields=None, **named)
