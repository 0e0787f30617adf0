"""Hypothesis strategies: any JSON, schemas without mistakes, payloads that fit them, documents.

`payloads(schema)` makes payloads by its own reading of the rules, so that a test that validates
them compares two readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from xkit_crm.schema.language import KEYWORDS, SCALARS

#: What a database can hold: neither NUL nor half a surrogate pair.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,15}", fullmatch=True)
slugs = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,15}", fullmatch=True)
#: As far as integers and doubles agree on what is equal.
integers = st.integers(-(2**53), 2**53)
numbers = integers | st.floats(allow_nan=False, allow_infinity=False)

#: Any JSON whatsoever, with what Python's parser lets through besides: NaN, NUL, surrogates.
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=10),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.text(max_size=10) | st.sampled_from(list(KEYWORDS)), children, max_size=5
        )
    ),
    max_leaves=15,
)

_FORMATS = ("date", "datetime", "date-time", "email", "uri", "uuid", "text")
_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_FORMATTED: dict[str, st.SearchStrategy[str]] = {
    "date": st.dates().map(str),
    "datetime": st.datetimes(timezones=_zones | st.sampled_from([UTC, None])).map(
        lambda value: value.isoformat()
    ),
    "email": st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?@[a-z]{1,8}\.(com|eu)", fullmatch=True),
    "uri": st.from_regex(r"(https?|mailto):[a-z]{1,9}/[a-z0-9]{0,9}(\?q=[0-9])?", fullmatch=True),
    "uuid": st.uuids().map(str),
}
_FORMATTED["date-time"] = _FORMATTED["datetime"]


@st.composite
def descriptions(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    """A description without mistakes, at most three deep."""
    composed = ("object", "array") if depth < 2 else ()
    kind = draw(st.sampled_from((*SCALARS, *composed)))
    description: dict[str, Any] = {"type": kind}
    for keyword, values in (
        ("label", texts),
        ("description", texts),
        ("required", st.booleans()),
        ("nullable", st.booleans()),
    ):
        if draw(st.booleans()):
            description[keyword] = draw(values)
    if kind == "string":
        description |= draw(_string_keywords())
    elif kind in ("number", "integer"):
        description |= draw(_limits(integers if kind == "integer" else numbers))
    elif kind == "object" and draw(st.booleans()):
        description["properties"] = draw(schemas(depth=depth + 1))
    elif kind == "array" and draw(st.booleans()):
        description["items"] = draw(descriptions(depth=depth + 1))
    if kind in SCALARS and draw(st.booleans()):
        description["enum"] = draw(_enum(description))
    for keyword in ("default", "example"):
        if draw(st.integers(0, 3)) == 0:
            description[keyword] = draw(values_of(description))
    return description


@st.composite
def _string_keywords(draw: st.DrawFn) -> dict[str, Any]:
    keywords: dict[str, Any] = {}
    if draw(st.booleans()):
        keywords["format"] = draw(st.sampled_from(_FORMATS))
    if draw(st.booleans()):
        shortest = 1 if keywords.get("format", "text") == "text" else 40
        keywords["maxLength"] = draw(st.integers(shortest, 80))
    return keywords


@st.composite
def _limits(draw: st.DrawFn, bounds: st.SearchStrategy[Any]) -> dict[str, Any]:
    low, high = sorted((draw(bounds), draw(bounds)))
    limits = {"minimum": low, "maximum": high}
    return {keyword: limits[keyword] for keyword in limits if draw(st.booleans())}


@st.composite
def _enum(draw: st.DrawFn, description: Mapping[str, Any]) -> list[Any]:
    not_null = {**description, "nullable": False}
    values = draw(
        st.lists(values_of(not_null), min_size=1, max_size=4, unique_by=lambda value: value)
    )
    return [
        {"value": value, "label": draw(texts)} if draw(st.booleans()) else value for value in values
    ]


@st.composite
def schemas(draw: st.DrawFn, *, depth: int = 0) -> dict[str, Any]:
    """A schema without mistakes."""
    names = draw(st.lists(keys, max_size=4 if depth else 6, unique=True))
    return {name: draw(descriptions(depth=depth)) for name in names}


def values_of(description: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a description allows."""
    if "enum" in description:
        choices = [
            entry["value"] if isinstance(entry, dict) else entry for entry in description["enum"]
        ]
        values = st.sampled_from(choices)
    else:
        values = _values_of_type(description)
    return values | st.none() if description.get("nullable", True) else values


def _values_of_type(description: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = description.get("minimum"), description.get("maximum")
    longest = description.get("maxLength")
    match description["type"]:
        case "string":
            wanted = description.get("format")
            if wanted in _FORMATTED:
                return _FORMATTED[wanted]
            return texts if longest is None else texts.map(lambda text: text[:longest])
        case "integer":
            return st.integers(low, high)
        case "number":
            return _numbers_between(low, high)
        case "boolean":
            return st.booleans()
        case "array":
            items = description.get("items")
            return st.lists(values_of(items) if items else scalars, max_size=3)
        case _:
            if properties := description.get("properties"):
                return payloads(properties)
            return st.dictionaries(texts, scalars, max_size=3)


def _numbers_between(low: float | None, high: float | None) -> st.SearchStrategy[float]:
    limits = [limit for limit in (low, high) if limit is not None]
    if any(float(limit) != limit for limit in limits):
        # An integer between two doubles, which can't limit the strategy of floats.
        return st.sampled_from(limits)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


scalars = st.none() | st.booleans() | numbers | texts


@st.composite
def payloads(draw: st.DrawFn, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A payload that a schema allows: every required key, and some of the others."""
    return {
        key: draw(values_of(description))
        for key, description in schema.items()
        if description.get("required") or draw(st.booleans())
    }


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": draw(st.sampled_from(["create", "update", "delete", "search"]))
    }
    return (
        event
        | draw(_texts())
        | draw(st.fixed_dictionaries({}, optional={"payloadSchema": schemas()}))
    )


@st.composite
def _texts(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["label", "name"]))
    return draw(st.fixed_dictionaries({}, optional={name: texts, "description": texts}))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """An `objects` document without mistakes."""
    events = st.dictionaries(slugs, _events(), max_size=2)
    optional = {"fields": schemas(), "events": events}
    return {
        slug: draw(_texts()) | draw(st.fixed_dictionaries({}, optional=optional))
        for slug in draw(st.lists(slugs, max_size=2, unique=True))
    }
