"""Payloads against a schema: every violation, with its path, in our own words.

`jsonschema-rs` does the comparing. Its errors are read as data, never as English. A `Validator`
is made once per schema and kept by whoever is in a hurry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind

from xkit_crm.exceptions import Problem
from xkit_crm.schema.language import FORMATS
from xkit_crm.schema.translation import SCALAR_TYPES
from xkit_crm.schema.values import is_json, json_problems
from xkit_crm.schema.wording import at, listed, noun, quoted, unknown

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
#: Seconds, their fraction and the zone may be left out, as ISO 8601 has it (RFC 3339 does not).
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_TYPE_NOUNS = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "object": "an object",
    "array": "an array",
}
_FORMAT_BY_JSON_SCHEMA = {known.json_schema: known for known in FORMATS.values()}


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _exists(date, text)


def _is_datetime(text: str) -> bool:
    return _DATETIME.fullmatch(text) is not None and _exists(datetime, text)


def _exists(kind: type[date], text: str) -> bool:
    try:
        kind.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Validator:
    """A schema, ready to validate; made by `schema.compile`."""

    json_schema: Mapping[str, Any]
    _compiled: jsonschema_rs.Draft202012Validator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = jsonschema_rs.Draft202012Validator(
            dict(self.json_schema),
            validate_formats=True,
            formats={"date": _is_date, "date-time": _is_datetime},
            email_options=jsonschema_rs.EmailOptions(allow_display_text=False),
        )
        object.__setattr__(self, "_compiled", compiled)

    def validate(self, payload: Any, *, path: str = "payload") -> list[Problem]:
        """Every violation in a JSON value, each with its path; none where it is valid.

        Never raises: what is no JSON value (see `to_json`) is a problem as well.
        """
        try:
            if self._compiled.is_valid(payload) and is_json(payload):
                return []
            errors = list(self._compiled.iter_errors(payload))
        except ValueError:
            # It has something that can't even be compared, which is told below.
            errors = []
        problems = list(json_problems(payload, path))
        told = {problem.path for problem in problems}
        problems += [found for found in self._problems(errors, path) if found.path not in told]
        return problems or [Problem(path, "is not a JSON value")]

    def _problems(self, errors: list[ValidationError], path: str) -> Iterator[Problem]:
        # A value of the wrong type violates its limits as well, which helps nobody.
        wrong_type = {
            tuple(error.instance_path)
            for error in errors
            if isinstance(error.kind, ValidationErrorKind.Type)
        }
        for error in errors:
            is_type = isinstance(error.kind, ValidationErrorKind.Type)
            if is_type or tuple(error.instance_path) not in wrong_type:
                yield from self._worded(error, at(path, *error.instance_path))

    def _worded(self, error: ValidationError, path: str) -> Iterator[Problem]:
        match error.kind:
            case ValidationErrorKind.AdditionalProperties(unexpected):
                known = list(self._part(error)["properties"])
                for key in unexpected:
                    yield Problem(at(path, key), unknown("key", key, known))
            case ValidationErrorKind.Required(key):
                yield Problem(at(path, key), "is required")
            case _:
                yield Problem(path, _sentence(error, self._part(error)))

    def _part(self, error: ValidationError) -> Any:
        """The part of the JSON Schema that the violated keyword stands in."""
        part: Any = self.json_schema
        for step in error.schema_path[:-1]:
            part = part[step]
        return part


def _sentence(error: ValidationError, part: Mapping[str, Any]) -> str:
    value = error.instance
    match error.kind:
        case ValidationErrorKind.Type():
            return _type_sentence(part["type"], value)
        case ValidationErrorKind.Format(name):
            wanted = _FORMAT_BY_JSON_SCHEMA[name]
            return f"is not {wanted.noun}, such as {wanted.example}"
        case ValidationErrorKind.Enum(options):
            if value is None:
                return "must not be null"
            known = [quoted(option) for option in options if option is not None]
            return f"is {quoted(value)}, but must be one of {listed(known)}"
        case ValidationErrorKind.MaxLength(limit):
            over = len(str(value)) - limit
            characters = "character" if over == 1 else "characters"
            return f"is {over} {characters} too long (at most {limit})"
        case ValidationErrorKind.Minimum(limit):
            return f"is {quoted(value)}, but must be at least {quoted(limit)}"
        case ValidationErrorKind.Maximum(limit):
            return f"is {quoted(value)}, but must be at most {quoted(limit)}"
        case _:
            return error.message


def _type_sentence(wanted: str | list[str], value: Any) -> str:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if value is None:
        return "must not be null"
    if kinds == SCALAR_TYPES:
        return f"must be a string, number, boolean or null, but is {noun(value)}"
    if isinstance(value, float) and "integer" in kinds:
        return f"is {quoted(value)}, but must be an integer"
    return f"must be {_TYPE_NOUNS[kinds[0]]}, but is {noun(value)}"
