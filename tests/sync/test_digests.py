"""Digests tell whether a value is still what it was, without holding it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.sameness import same
from xkit_crm.sync.digests import digest, digests, fingerprint, fingerprints


@given(strategies.any_json, strategies.any_json)
def test_fingerprints_are_equal_where_values_are_the_same(one: Any, other: Any) -> None:
    assert (fingerprint(one) == fingerprint(other)) == same(one, other)


@given(strategies.any_json)
def test_marks_are_short_and_tell_nothing(value: Any) -> None:
    assert len(fingerprint(value)) == len(digest(value)) == 16
    assert fingerprint(value).isalnum()


@given(st.dictionaries(strategies.keys, strategies.any_json, max_size=4))
def test_each_key_has_its_own(values: dict[str, Any]) -> None:
    assert digests(values) == {key: digest(value) for key, value in values.items()}
    assert fingerprints(values) == {key: fingerprint(value) for key, value in values.items()}


def test_a_fingerprint_does_not_mind_how_a_crm_spells_a_value() -> None:
    assert fingerprint(10) == fingerprint("10.0")
    assert digest(10) != digest("10.0")
