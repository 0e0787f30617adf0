"""Two spellings of one value are the same, and two values are not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.sameness import is_empty, normal, same

EVENING = datetime(2026, 11, 24, 21, 30, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (10, 10.0),
        (10, "10"),
        ("10", "10.00"),
        (-0.0, 0),
        ("-0.0", 0),
        (1200.5, "1200.50"),
        (Decimal("1200.50"), 1200.5),
        (1e22, 10**22),
        (True, "true"),
        (False, "FALSE"),
        ("2026-11-24T19:30:00Z", "2026-11-24T21:30:00.000+0200"),
        ("2026-11-24T19:30:00.123456Z", "2026-11-24 19:30:00"),
        (EVENING, "2026-11-24T19:30:00Z"),
        ("2026-11-24", "2026-11-24T00:00:00.000+0000"),
        (date(2026, 11, 24), "2026-11-24"),
        ("Sales", " Sales \n"),
        ("one\r\ntwo", "one\ntwo"),
        ("Zu\u0308rich", "Zürich"),
        (["red", "blue"], ["blue", "red"]),
        (["red", "blue"], "blue;red"),
        (["red"], "red"),
        (["1", "2"], [2, 1]),
        ({"city": "Rome", "zip": None}, {"city": "Rome "}),
    ],
)
def test_spellings_of_one_value_are_the_same(ours: Any, theirs: Any) -> None:
    assert same(ours, theirs)
    assert same(theirs, ours)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (10, 11),
        ("10", "10.01"),
        ("007", "7"),
        ("+49 30 1", "49 30 1"),
        (10**22, 10**22 + 1),
        ("12345678901234567890", "12345678901234567891"),
        (True, False),
        (True, 1),
        (0, None),
        (False, ""),
        ("2026-11-24T19:30:00Z", "2026-11-24T19:30:01Z"),
        ("2026-11-24", "2026-11-25"),
        ("2026-11", "2026-11-01"),
        ("Sales", "sales"),
        ("two words", "twowords"),
        (["red"], ["blue"]),
        (["red"], ["red", "blue"]),
        ({"city": "Rome"}, {"city": "Oslo"}),
        ({"city": "Rome"}, "Rome"),
        ("Hi;", "Hi"),
    ],
)
def test_other_values_are_not(one: Any, other: Any) -> None:
    assert not same(one, other)


@pytest.mark.parametrize("nothing", [None, "", "  ", [], {}, [None, ""], {"city": None}])
def test_nothing_has_many_spellings(nothing: Any) -> None:
    assert is_empty(nothing)


@pytest.mark.parametrize("something", [0, False, "0", "-", [0], {"city": 0}])
def test_zero_and_false_are_something(something: Any) -> None:
    assert not is_empty(something)


@pytest.mark.parametrize(
    "text", ["2026-13-45", "2026-11-24T25:00:00Z", "0001-01-01T00:00:00+14:00", "1e3", "--1", "1."]
)
def test_what_only_looks_like_a_date_or_a_number_stays_a_text(text: str) -> None:
    assert normal(text) == text


@given(strategies.any_json)
def test_anything_has_a_spelling_which_is_its_own(value: Any) -> None:
    assert normal(normal(value)) == normal(value)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_as_its_text(number: float) -> None:
    digits = format(Decimal(repr(number)), "f")
    assert same(number, digits)
    assert same(number, f" {digits}.000" if "." not in digits else f"{digits}000 ")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.integers(1, 10**6))
@example(Decimal("1259462333100718085608833.0240"), 1)
def test_numbers_that_differ_are_told_apart(number: Decimal, by: int) -> None:
    with localcontext(prec=100):  # or the sum of a long one is rounded to itself
        other = number + Decimal(by) / 10_000
    assert not same(number, other)


@given(
    st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from("T "),
)
def test_a_moment_is_the_same_in_every_zone(moment: datetime, minutes: int, between: str) -> None:
    there = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert same(moment.isoformat(), there.isoformat(sep=between, timespec="milliseconds"))
    assert not same(moment.isoformat(), (moment + timedelta(seconds=1)).isoformat())


@given(st.lists(strategies.texts, unique=True), st.randoms())
def test_picklist_values_are_the_same_in_any_order(values: list[str], random: Any) -> None:
    shuffled = values[:]
    random.shuffle(shuffled)
    assert same(values, shuffled)
