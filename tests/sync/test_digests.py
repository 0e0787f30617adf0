"""Digests tell whether a value is still what it was, without holding it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from django.db import connection as database
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


@pytest.mark.parametrize("whole", [0, 1, -3, 2 * 10**16, 10**23, 15 * 10**299], ids="{:g}".format)
def test_a_whole_number_is_one_value_with_a_point_and_without(whole: int) -> None:
    assert digest(float(whole)) == digest(whole)
    assert digest({"a": [{"b": float(whole)}]}) == digest({"a": [{"b": whole}]})


def test_truths_texts_and_what_is_no_number_stay_what_they_are() -> None:
    values = [True, 1, False, 0, "1", "1.0", None, 1.5, math.nan, math.inf, -math.inf]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.postgresql
@pytest.mark.django_db
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_the_database_spells_otherwise_is_the_same(number: float) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps({"n": [number]})])
        (text,) = cursor.fetchone()
    assert digest(json.loads(text)) == digest({"n": [number]})
