"""Values become what a remote field's type takes."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm.mapping.conversion import as_date, as_datetime, as_text, to_remote
from xkit_crm.providers.base import RemoteType as T


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("2022-05-17", T.DATE, "2022-05-17"),
        ("2022-05-17T23:17:53Z", T.DATE, "2022-05-17"),
        ("2022-05-17T23:17", T.DATETIME, "2022-05-17T23:17:00Z"),
        ("2022-05-17T23:17:53.250000+02:00", T.DATETIME, "2022-05-17T21:17:53.250000Z"),
        ("2022-05-17", T.DATETIME, "2022-05-17T00:00:00Z"),
        (12, T.STRING, "12"),
        (12.0, T.TEXT, "12"),
        (12.5, T.PICKLIST, "12.5"),
        (49301234, T.PHONE, "49301234"),
        ("12", T.INTEGER, 12),
        ("-12.50", T.NUMBER, -12.5),
        ("true", T.BOOLEAN, True),
        ("false", T.BOOLEAN, False),
        ("New", T.MULTIPICKLIST, ["New"]),
        ("", T.MULTIPICKLIST, []),
    ],
)
def test_a_value_becomes_what_the_field_takes(value: Any, wanted: T, expected: Any) -> None:
    converted = to_remote(value, wanted)

    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        (T.DATE, ["Tomorrow", "2022-02-30", "", 20220517, ["2022-05-17"]]),
        (T.DATETIME, ["soon", "0001-01-01T00:00:00+14:00", 0]),
        (T.STRING, ["", True, ["a"], {"a": 1}]),
        (T.BOOLEAN, ["yes", "True", "", 1]),
        (T.NUMBER, ["", "twelve", "1e5", "nan", "1,5", "0.1234567890123456789", True]),
        (T.INTEGER, ["1_000", "١٢", "12\n", "9" * 5000]),
        (T.MULTIPICKLIST, [5, ["New", "Upsell"]]),
        (T.EMAIL, [5, "ada@example.com"]),
        (T.REFERENCE, [5, "Contact:5"]),
    ],
)
def test_what_has_no_one_right_meaning_is_left_for_the_crm_to_judge(
    wanted: T, values: list[Any]
) -> None:
    for value in values:
        assert to_remote(value, wanted) is value


@given(strategies.any_json, st.sampled_from(T))
def test_null_and_values_for_unknown_types_stay_as_they_are(value: Any, wanted: T) -> None:
    assert to_remote(value, None) is value
    assert to_remote(None, wanted) is None


def test_a_moment_has_the_same_day_in_whatever_zone_it_is_written() -> None:
    assert as_date("2022-05-18T00:30:00+02:00") == "2022-05-17"
    assert as_date("2022-05-17T22:30:00Z") == "2022-05-17"


@given(st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_a_datetime_is_written_in_utc_and_keeps_its_moment(moment: dt.datetime) -> None:
    converted = as_datetime(moment.isoformat())

    assert converted.endswith("Z")
    assert dt.datetime.fromisoformat(converted) == moment.astimezone(dt.UTC)
    assert converted.startswith(as_date(moment.isoformat()))


@given(
    strategies.any_json
    | st.datetimes().map(str)
    | st.dates().map(str)
    | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,20})?|true|false", fullmatch=True),
    st.sampled_from(T),
)
def test_what_was_converted_stays_as_it_is(value: Any, wanted: T) -> None:
    converted = to_remote(value, wanted)

    # Compared as text, for NaN does not equal itself.
    assert json.dumps(to_remote(converted, wanted)) == json.dumps(converted)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        (True, "true"),
        (12.0, "12"),
        (-0.0, "0"),
        (0.00001, "0.00001"),
        (1e23, "1" + "0" * 23),
        (["a", 1, None, True], "a, 1, true"),
        ({"city": "Rome", "zip": None, "floor": 2.0}, "city: Rome, floor: 2"),
    ],
)
def test_text_is_what_a_person_would_write(value: Any, text: str) -> None:
    assert as_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_text_has_no_exponent_and_is_the_same_number(number: float) -> None:
    assert "e" not in as_text(number).lower()
    assert float(as_text(number)) == number
