"""Conditions: which rows of a bound model are synced at all.

A condition is a list of rules such as `{"path": "status", "operator": "is", "value": "sent"}`, and
all of them must hold. `bindings.py` reads it once; it is asked on the row in Python wherever the
row comes from, so that a save, a bulk operation, a backfill and a trigger agree. Knows no event
and no connection.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime, parse_duration, parse_time
from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import ConfigurationError, Problem
from xkit_crm.schema.wording import at, listed, noun, quoted, unknown
from xkit_crm.sync.payloads import Getter, attribute, field_of, path_problem

#: More rules than anybody can follow.
MAX_RULES: Final = 20


class Operator(models.TextChoices):
    """How a rule compares what its path gives."""

    IS = "is", _("is")
    IS_NOT = "is_not", _("is not")
    ONE_OF = "one_of", _("is one of")
    EMPTY = "empty", _("is empty")
    NOT_EMPTY = "not_empty", _("is not empty")
    AT_LEAST = "at_least", _("is at least")
    AT_MOST = "at_most", _("is at most")

    @property
    def takes_value(self) -> bool:
        return self not in (Operator.EMPTY, Operator.NOT_EMPTY)


@dataclass(frozen=True, slots=True)
class Rule:
    """One comparison. `value` is JSON: of one of several, a list; None where none is compared."""

    path: str
    operator: Operator
    value: Any
    get: Getter

    def holds(self, instance: models.Model) -> bool:
        """Whether it holds of this row. What can't be compared is not the same, nor more or less;
        nothing is empty, and not the same as any value."""
        found = _plain(self.get(instance))
        match self.operator:
            case Operator.EMPTY:
                return _is_empty(found)
            case Operator.NOT_EMPTY:
                return not _is_empty(found)
            case Operator.IS:
                return _compare(found, self.value, lambda one, other: one == other)
            case Operator.IS_NOT:
                return not _compare(found, self.value, lambda one, other: one == other)
            case Operator.ONE_OF:
                return any(_compare(found, one, lambda a, b: a == b) for one in self.value)
            case Operator.AT_LEAST:
                return _compare(found, self.value, lambda one, other: one >= other)
            case Operator.AT_MOST:
                return _compare(found, self.value, lambda one, other: one <= other)

    def as_data(self) -> dict[str, Any]:
        """The rule as it is written."""
        data = {"path": self.path, "operator": str(self.operator)}
        return {**data, "value": self.value} if self.operator.takes_value else data

    def __str__(self) -> str:
        told = "" if not self.operator.takes_value else f" {_told(self.value)}"
        return f"{self.path} {self.operator.label}{told}"


def read(given: object, model: type[models.Model]) -> tuple[Rule, ...]:
    """The rules of a condition; raises `ConfigurationError` with every problem of its shape.

    Whether the paths lead anywhere is not asked: see `problems`.
    """
    wrong = list(_shape_problems(given))
    if wrong:
        raise ConfigurationError(
            f"The condition of a binding of {model._meta.label} can't be read.",
            hint='Give a list of rules, such as {"path": "status", "operator": "is", '
            '"value": "sent"}.',
            errors=wrong,
        )
    assert isinstance(given, list | tuple)
    return tuple(
        Rule(
            rule["path"],
            Operator(rule["operator"]),
            rule.get("value"),
            attribute(rule["path"], model),
        )
        for rule in given
    )


def problems(given: object, model: type[models.Model]) -> Iterator[Problem]:
    """Everything that is wrong with a condition: `condition[0].path`, `condition[1].value`, ..."""
    wrong = list(_shape_problems(given))
    yield from wrong
    bad = {problem.path for problem in wrong}
    for index, rule in enumerate(given if isinstance(given, list | tuple) else ()):
        where = at("condition", index)
        if where in bad or at(where, "path") in bad:
            continue
        field = field_of(rule["path"], model)
        if error := path_problem(rule["path"], model):
            yield Problem(at(where, "path"), error)
        elif field is not None and (field.one_to_many or field.many_to_many):
            error = f"leads to many rows; compare one value, such as {rule['path']}.count"
            yield Problem(at(where, "path"), error)
        elif bad.isdisjoint({at(where, "operator"), at(where, "value")}):
            yield from _value_problems(rule, field, where)


# -- whether it is one ----------------------------------------------------------------------------


def _shape_problems(given: object) -> Iterator[Problem]:
    if not isinstance(given, list | tuple):
        yield Problem("condition", f"must be a list of rules, but is {noun(given)}")
        return
    if len(given) > MAX_RULES:
        yield Problem("condition", f"has {len(given)} rules, but at most {MAX_RULES} are allowed")
    for index, rule in enumerate(given):
        yield from _rule_problems(rule, at("condition", index))


def _rule_problems(rule: object, where: str) -> Iterator[Problem]:
    if not isinstance(rule, Mapping):
        yield Problem(where, f"must be an object with path, operator and value, not {noun(rule)}")
        return
    for key in rule:
        if key not in ("path", "operator", "value"):
            yield Problem(at(where, key), unknown("key", key, ("path", "operator", "value")))
    if not isinstance(path := rule.get("path"), str) or not path:
        yield Problem(at(where, "path"), "is required")
    operator = rule.get("operator")
    if operator not in Operator.values:
        what = f"operator {quoted(operator)}"
        yield Problem(at(where, "operator"), unknown(what, operator, Operator.values))
    elif error := _given_problem(Operator(operator), rule.get("value")):
        yield Problem(at(where, "value"), error)


def _given_problem(operator: Operator, value: object) -> str:
    if not operator.takes_value:
        return "" if value in (None, "") else f"there is none to compare with where it {operator}"
    if operator is Operator.ONE_OF:
        if not isinstance(value, list | tuple) or not value:
            return "must be a list of values"
        return "" if all(_is_scalar(one) for one in value) else "must be a list of plain values"
    if value in (None, ""):
        return "is required"
    return "" if _is_scalar(value) else f"must be a plain value, but is {noun(value)}"


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _value_problems(rule: Mapping[str, Any], field: Any, where: str) -> Iterator[Problem]:
    """Where the path ends in a column, whether it can ever hold such a value."""
    operator = Operator(rule["operator"])
    if field is None or not operator.takes_value:
        return
    while field.is_relation:
        if field.related_model is None:
            return  # a generic relation: its target may have any key
        field = field.target_field
    several = operator is Operator.ONE_OF
    for index, value in enumerate(rule["value"] if several else [rule["value"]]):
        path = at(where, "value", index) if several else at(where, "value")
        try:
            known = field.to_python(value)
        except (ValidationError, ValueError, TypeError):
            kind = field.description % {"max_length": getattr(field, "max_length", "")}
            yield Problem(path, f"{quoted(value)} is no value of {rule['path']} ({kind})")
            continue
        choices = [str(choice) for choice, _label in field.flatchoices]
        by_order = operator in (Operator.AT_LEAST, Operator.AT_MOST)
        if choices and not by_order and str(known) not in choices:
            yield Problem(path, f"{quoted(value)} is none of {listed(choices)}")


# -- comparing ------------------------------------------------------------------------------------

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def _plain(value: Any) -> Any:
    """What a row has, as something that can be compared."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, FieldFile):
        return value.name
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict | set) and not value)


def _compare(found: Any, given: Any, comparison: Callable[[Any, Any], bool]) -> bool:
    """Whether it holds between what the row has and the given value, read as the same kind."""
    if found is None:
        return False
    try:
        return comparison(_exact(found), _read_as(found, given))
    except (ValueError, ArithmeticError, KeyError, TypeError):
        return False


def _exact(found: Any) -> Any:
    """Floats by their digits, as JSON has them; what has no order of its own as its text."""
    if isinstance(found, float):
        return Decimal(repr(found))
    known = isinstance(found, bool | int | Decimal | dt.date | dt.time | dt.timedelta)
    return found if known else str(found)


def _read_as(found: Any, given: Any) -> Any:
    """The given value in the kind of what the row has; raises where it is none of that kind."""
    text = str(given)
    match found:
        case bool():
            return _BOOLEANS[text.lower()]
        case int() | float() | Decimal():
            return Decimal(text)
        case dt.datetime():
            return _there(parse_datetime(text), found)
        case dt.date():
            return _there(parse_date(text), found)
        case dt.time():
            return _there(parse_time(text), found)
        case dt.timedelta():
            return _there(parse_duration(text), found)
        case _:
            return text


def _there(parsed: Any, found: Any) -> Any:
    if parsed is None:
        raise ValueError
    if isinstance(parsed, dt.datetime) and timezone.is_aware(found) != timezone.is_aware(parsed):
        return (
            timezone.make_aware(parsed)
            if timezone.is_naive(parsed)
            else timezone.make_naive(parsed)
        )
    return parsed


def _told(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
