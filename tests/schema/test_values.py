"""From Python's values to JSON's."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group
from django.db import models
from django.utils import timezone
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from xkit_crm import schema
from xkit_crm.exceptions import PayloadInvalid

BERLIN = ZoneInfo("Europe/Berlin")
ID = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
Point = namedtuple("Point", "x y")


class Stage(models.TextChoices):
    OPEN = "open"


class Level(enum.Enum):
    HIGH = Decimal("3.5")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2022, 5, 17, 23, 17, 53, tzinfo=dt.UTC), "2022-05-17T23:17:53Z"),
        (dt.datetime(2022, 5, 17, 23, 17, 53, tzinfo=BERLIN), "2022-05-17T21:17:53Z"),
        (dt.datetime(2022, 5, 17, 1, 2, 3, 400, tzinfo=dt.UTC), "2022-05-17T01:02:03.000400Z"),
        (dt.datetime.min.replace(tzinfo=BERLIN), "0001-01-01T00:00:00+00:53:28"),
        (dt.date(2022, 5, 17), "2022-05-17"),
        (dt.time(23, 17), "23:17:00"),
        (dt.timedelta(days=1, hours=2), "P1DT02H00M00S"),
        (Decimal("12.50"), 12.5),
        (Decimal("12.00"), 12),
        (Decimal("-0"), 0),
        (Decimal("123456789012345678901234567890"), 123456789012345678901234567890),
        (ID, str(ID)),
        (Stage.OPEN, "open"),
        (Level.HIGH, 3.5),
        (lazystr("later"), "later"),
        (mark_safe("<b>"), "<b>"),
        (Group(pk=7), 7),
        (Group(), None),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (deque([1]), [1]),
        (range(2), [0, 1]),
        (Point(1, 2), [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({ID: 1, 2: Stage.OPEN, Stage.OPEN: None}, {str(ID): 1, "2": "open", "open": None}),
    ],
)
def test_a_value_becomes_json(value: Any, expected: Any) -> None:
    converted = schema.to_json({"key": value})["key"]

    assert converted == expected
    assert type(converted) is type(expected)


def test_a_naive_datetime_is_of_the_current_time_zone() -> None:
    with timezone.override(BERLIN):
        converted = schema.to_json(dt.datetime(2022, 5, 17, 23, 17, 53))  # noqa: DTZ001

    assert converted == "2022-05-17T21:17:53Z"


@pytest.mark.parametrize("digits", ["0.1234567890123456789", "1E+400", "NaN", "Infinity"])
def test_a_decimal_that_no_json_number_holds_keeps_its_digits_as_text(digits: str) -> None:
    assert schema.to_json(Decimal(digits)) == digits
    assert schema.validate({"n": {"type": "number"}}, {"n": digits})


@given(st.decimals(places=2, min_value=-(10**12), max_value=10**12))
def test_money_is_a_number_and_exact(amount: Decimal) -> None:
    converted = schema.to_json(amount)

    assert isinstance(converted, int | float)
    assert Decimal(repr(converted)) == amount


def test_a_generator_becomes_a_list_of_converted_values() -> None:
    assert schema.to_json(when for when in [dt.date(2022, 5, 17)]) == ["2022-05-17"]


@pytest.mark.django_db
def test_a_queryset_becomes_a_list() -> None:
    one, two = Group.objects.create(name="one"), Group.objects.create(name="two")

    assert schema.to_json(
        {
            "groups": Group.objects.order_by("pk"),
            "names": Group.objects.order_by("pk").values_list("name", flat=True),
        }
    ) == {"groups": [one.pk, two.pk], "names": ["one", "two"]}


def test_every_value_that_json_cannot_hold_is_told_with_its_path() -> None:
    with pytest.raises(PayloadInvalid) as raised:
        schema.to_json({"file": b"x", "tags": [1, {"at": Path("x")}], "name": "fine"}, path="body")

    paths = [problem.path for problem in raised.value.errors]
    assert paths == ["body.file", "body.tags[1].at"]
    assert raised.value.errors[0].error == "is a Python bytes, which JSON can't hold"


@pytest.mark.parametrize("wrap", [lambda inner: {"key": inner}, lambda inner: [inner]])
def test_a_value_that_contains_itself_is_told(wrap: Callable[[Any], Any]) -> None:
    value: Any = []
    value.append(wrap(value))

    with pytest.raises(PayloadInvalid, match="nested too deep"):
        schema.to_json(value)


def test_the_payload_itself_stays_as_it_is() -> None:
    inner = {"at": dt.date(2022, 5, 17)}
    payload = {"inner": inner, "list": [inner]}

    schema.to_json(payload)

    assert payload == {"inner": {"at": dt.date(2022, 5, 17)}, "list": [inner]}


@given(strategies.any_json)
def test_json_stays_as_it_is(value: Any) -> None:
    # Compared as text, for NaN does not equal itself.
    assert json.dumps(schema.to_json(value)) == json.dumps(value)


@given(st.datetimes(timezones=st.timezones()))
def test_every_datetime_fits_the_format(value: dt.datetime) -> None:
    if dt.MINYEAR < value.year < dt.MAXYEAR:
        payload = schema.to_json({"at": value})
        assert schema.validate({"at": {"type": "string", "format": "datetime"}}, payload) == []
        assert dt.datetime.fromisoformat(payload["at"]) == value.astimezone(dt.UTC)
