"""Pickers of attribute paths, and the rules of a condition: what was sent, and what is drawn.

A path is chosen from a list, or typed beside it. `binding_form.py` says what can be chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from xkit_crm.sync.conditions import Operator
from xkit_crm.sync.kinds import UNKNOWN
from xkit_crm.sync.readable import Readable

#: What a picker says where the path is typed beside it.
TYPED: Final = "*"

Groups = list[tuple[str, list[Readable]]]


# -- what was sent --------------------------------------------------------------------------------


def picked(data: Mapping[str, Any], name: str) -> str:
    """The path that one picker was sent with."""
    chosen = str(data.get(name, ""))
    return str(data.get(f"{name}:typed", "")).strip() if chosen == TYPED else chosen


class PathWidget(forms.Widget):
    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        return picked(data, name)


class PayloadWidget(forms.Widget):
    """`payload:<key>` for each key; those without a path are not filled."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, str]:
        keys = dict.fromkeys(one.split(":")[1] for one in data if one.startswith(f"{name}:"))
        paths = {key: picked(data, f"{name}:{key}") for key in keys}
        return {key: path for key, path in paths.items() if path}


class ConditionWidget(forms.Widget):
    """`condition:<n>:path`, `:operator` and `:value`; a rule without a path is none."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, Any]]:
        said = {one.split(":")[1] for one in data if one.startswith(f"{name}:")}
        indexes = sorted({int(one) for one in said if one.isdecimal() and len(one) < 6})
        rules = [_rule(data, f"{name}:{index}") for index in indexes]
        return [rule for rule in rules if rule["path"]]


def _rule(data: Any, name: str) -> dict[str, Any]:
    operator = data.get(f"{name}:operator", "")
    rule = {"path": picked(data, f"{name}:path"), "operator": operator}
    if operator == Operator.ONE_OF:
        lines = [line.strip() for one in data.getlist(f"{name}:value") for line in one.split("\n")]
        return {**rule, "value": [line for line in lines if line]}
    if _takes_value(operator):
        return {**rule, "value": str(data.get(f"{name}:value", "")).strip()}
    return rule


def _takes_value(operator: str) -> bool:
    return operator not in Operator.values or Operator(operator).takes_value


# -- what is drawn --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picker:
    """One picker, with what is chosen in it."""

    name: str
    label: str
    chosen: str
    groups: Groups
    required: bool = False
    #: What kind of value is wanted, in a few words.
    wanted: str = ""
    help: str = ""
    errors: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return "id_" + self.name.replace(":", "_")

    @property
    def is_typed(self) -> bool:
        """Whether the path is none of those that are offered."""
        offered = {one.path for _group, paths in self.groups for one in paths}
        return bool(self.chosen) and self.chosen not in offered


def grouped(paths: Iterable[Readable], own: str) -> Groups:
    """By their headings, in order; the model's own paths under its name."""
    return [(group or own, list(found)) for group, found in groupby(paths, lambda one: one.group)]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule of a condition: its picker, its operator, and the box for its value."""

    index: int
    picker: Picker
    operator: str
    value: Any
    #: `select`, `several`, `lines`, nothing where none is compared, or the type of an input.
    box: str
    choices: tuple[tuple[str, Any], ...]
    errors: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"id_condition_{self.index}"

    @property
    def number(self) -> int:
        return self.index + 1

    @property
    def operators(self) -> list[tuple[str, Any]]:
        return list(Operator.choices)

    @property
    def values(self) -> list[str]:
        given = self.value if isinstance(self.value, list) else [self.value]
        return [str(one) for one in given if one is not None]

    @property
    def lines(self) -> str:
        return "\n".join(self.values)


_YES_NO: Final = (("True", _("yes")), ("False", _("no")))
_INPUTS: Final = {"date": "date", "datetime": "datetime-local", "time": "time", "email": "email"}


def box_for(found: Readable | None, operator: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """How the value of a rule is given, and what there is to choose from."""
    if not _takes_value(operator):
        return "", ()
    several = operator == Operator.ONE_OF
    by_order = operator in (Operator.AT_LEAST, Operator.AT_MOST)
    if found is not None and found.choices and not by_order:
        return ("several" if several else "select"), found.choices
    if several:
        return "lines", ()
    kind = found.kind if found is not None else UNKNOWN
    if kind.type == "boolean":
        return "select", _YES_NO
    if kind.type in ("integer", "number"):
        return "number", ()
    return _INPUTS.get(kind.format, "text"), ()


_WANTED: Final[dict[str, Any]] = {
    "string": _("text"),
    "number": _("number"),
    "integer": _("whole number"),
    "boolean": _("yes or no"),
    "object": _("object"),
    "array": _("list"),
    "date": _("date"),
    "datetime": _("date and time"),
    "email": _("email"),
    "uri": _("web address"),
    "uuid": _("UUID"),
}


def wanted(description: Mapping[str, Any]) -> str:
    """What kind of value a payload key takes, in a word or two."""
    as_format, kind = str(description.get("format", "")), str(description.get("type", ""))
    return str(_WANTED.get(as_format) or _WANTED.get(kind) or kind)
