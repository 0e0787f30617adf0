"""What Tryton's conditions say, and when they say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.providers.tryton.pyson import conditions, holds

VALUES = {"state": "lead", "id": -1, "party": None, "lines": [1, 2], "context": {"company": 3}}


def value(name: str) -> dict[str, Any]:
    return {"__class__": "Eval", "v": name, "d": ""}


def statement(kind: str, **parts: Any) -> dict[str, Any]:
    return {"__class__": kind, **parts}


LEAD = statement("Equal", s1=value("state"), s2="lead")
WON = statement("Equal", s1=value("state"), s2="won")
NOBODY_KNOWS = statement("Bool", v=value("no_such_field"))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (True, True),
        (LEAD, True),
        (WON, False),
        (statement("Not", v=WON), True),
        (statement("Bool", v=value("party")), False),
        (statement("In", k=value("state"), v=["lead", "lost"]), True),
        (statement("In", k=value("state"), v=["won"]), False),
        (statement("Greater", s1=value("id"), s2=0, e=True), False),
        (statement("Greater", s1=value("id"), s2=-1, e=True), True),
        (statement("Greater", s1=value("id"), s2=-1), False),
        (statement("Less", s1=value("id"), s2=0), True),
        (statement("Greater", s1=value("party"), s2=0), False),
        (statement("If", c=LEAD, t=False, e=True), False),
        (statement("If", c=WON, t=False, e=True), True),
        (statement("Get", v=value("context"), k="company", d=0), True),
        (statement("Get", v=value("context"), k="employee", d=0), False),
        (statement("Greater", s1=statement("Len", v=value("lines")), s2=1), True),
        (statement("And", s=[LEAD, WON]), False),
        (statement("And", s=[LEAD, LEAD]), True),
        (statement("Or", s=[WON, LEAD]), True),
        (statement("Or", s=[WON, WON]), False),
    ],
)
def test_a_condition_holds_or_does_not(condition: Any, said: bool) -> None:
    assert holds(condition, VALUES) is said


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (statement("Or", s=[NOBODY_KNOWS, LEAD]), True),
        (statement("And", s=[NOBODY_KNOWS, WON]), False),
        (statement("Or", s=[NOBODY_KNOWS, WON]), None),
        (statement("And", s=[NOBODY_KNOWS, LEAD]), None),
    ],
)
def test_what_decides_alone_needs_no_other(condition: Any, said: bool | None) -> None:
    assert holds(condition, VALUES) is said


@pytest.mark.parametrize(
    "condition",
    [
        NOBODY_KNOWS,
        statement("Not", v=NOBODY_KNOWS),
        statement("Id", module="sale", fs_id="group_sale"),
        statement("Greater", s1=value("state"), s2=0),
        statement("Equal", s1=1),
    ],
)
def test_what_cannot_be_said_is_not_guessed(condition: Any) -> None:
    assert holds(condition, VALUES) is None


def test_a_field_without_conditions_has_none() -> None:
    assert conditions(None) == conditions("") == conditions("{}") == {}
