"""The rules of a condition: what each says of a row, and what is wrong with one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

import xkit_crm
from tests.factories import DealFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection, RecordLink
from xkit_crm.sync import conditions

pytestmark = pytest.mark.django_db


MOMENT = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("found", "operator", "value", "holds"),
    [
        ("sent", "is", "sent", True),
        ("draft", "is", "sent", False),
        (None, "is", "sent", False),
        (7, "is", "7", True),
        (7, "is", 7, True),
        (Decimal("12.50"), "is", 12.5, True),
        (0.1, "is", 0.1, True),
        (True, "is", True, True),
        (True, "is", "true", True),
        (True, "is", False, False),
        (True, "is", "perhaps", False),
        (UUID(int=1), "is", str(UUID(int=1)), True),
        (Connection.status.field.choices[1][0], "is", "enabled", True),
        (User(pk=4), "is", 4, True),
        (dt.date(2026, 5, 17), "is", "2026-05-17", True),
        (7, "is", "seven", False),
        ("draft", "is_not", "sent", True),
        (None, "is_not", "sent", True),
        ("sent", "is_not", "sent", False),
        ("signed", "one_of", ["sent", "signed"], True),
        (3, "one_of", ["1", 3], True),
        ("draft", "one_of", ["sent", "signed"], False),
        ("", "empty", None, True),
        (None, "empty", None, True),
        ([], "empty", None, True),
        (0, "empty", None, False),
        (False, "empty", None, False),
        ("x", "not_empty", None, True),
        ({}, "not_empty", None, False),
        (Decimal("100"), "at_least", "100", True),
        (Decimal("99.99"), "at_least", 100, False),
        (None, "at_least", 0, False),
        ("lots", "at_least", 100, True),  # texts are compared as texts
        (100, "at_least", "lots", False),
        (MOMENT, "at_least", "2026-05-17T11:59:00Z", True),
        (MOMENT, "at_least", "2026-05-18", False),
        (MOMENT.replace(tzinfo=None), "at_most", "2026-05-17T12:00:00", True),
        (MOMENT.replace(tzinfo=None), "at_most", "2026-05-17T12:00:00Z", True),
        (dt.date(2026, 5, 17), "at_most", "2026-05-16", False),
        (dt.time(9), "at_most", "10:00", True),
        (dt.timedelta(hours=1), "at_most", "PT2H", True),
    ],
)
def test_a_rule_compares_by_the_kind_of_what_the_row_has(
    found: Any, operator: str, value: Any, holds: bool
) -> None:
    rule = conditions.Rule("path", conditions.Operator(operator), value, lambda _: found)
    assert rule.holds(Deal()) is holds


def test_all_rules_have_to_hold_and_a_missing_relation_is_empty(customer: Customer) -> None:
    rules = conditions.read(
        [
            {"path": "customer.name", "operator": "not_empty"},
            {"path": "owner.email", "operator": "empty"},
            {"path": "views", "operator": "at_least", "value": 3},
        ],
        Deal,
    )
    deal = DealFactory.build(customer=customer, views=3)
    assert [rule.holds(deal) for rule in rules] == [True, True, True]
    deal.owner = User(email="ada@example.com")
    assert [rule.holds(deal) for rule in rules] == [True, False, True]


def test_a_rule_reads_well() -> None:
    given = [
        {"path": "note", "operator": "one_of", "value": ["sent", "signed"]},
        {"path": "owner", "operator": "not_empty"},
    ]
    rules = conditions.read(given, Deal)
    assert list(map(str, rules)) == ["note is one of sent, signed", "owner is not empty"]
    assert [rule.as_data() for rule in rules] == given


@pytest.mark.parametrize(
    ("given", "path", "error"),
    [
        ("sent", "condition", "must be a list of rules"),
        ([{"path": "note", "operator": "empty"}] * 21, "condition", "at most 20"),
        (["note"], "condition[0]", "must be an object"),
        ([{"operator": "is", "value": 1}], "condition[0].path", "is required"),
        ([{"path": 5, "operator": "is", "value": 1}], "condition[0].path", "is required"),
        ([{"path": "note", "operator": "=="}], "condition[0].operator", "unknown operator"),
        ([{"path": "note"}], "condition[0].operator", "known are is, is_not"),
        ([{"path": "note", "operator": ["is"]}], "condition[0].operator", "unknown operator"),
        ([{"path": "note", "operator": "is"}], "condition[0].value", "is required"),
        ([{"path": "note", "operator": "is", "value": {}}], "condition[0].value", "plain value"),
        ([{"path": "note", "operator": "one_of", "value": "x"}], "condition[0].value", "a list"),
        ([{"path": "note", "operator": "one_of", "value": [[]]}], "condition[0].value", "plain"),
        ([{"path": "note", "operator": "empty", "value": "x"}], "condition[0].value", "none to"),
        ([{"path": "note", "op": "is"}], "condition[0].op", "unknown key"),
        ([{"path": "nte", "operator": "empty"}], "condition[0].path", "did you mean note?"),
        ([{"path": "_state", "operator": "empty"}], "condition[0].path", "private"),
        ([{"path": "delete", "operator": "empty"}], "condition[0].path", "changes data"),
        ([{"path": "customer.deals", "operator": "empty"}], "condition[0].path", "many rows"),
        ([{"path": "views", "operator": "is", "value": "x"}], "condition[0].value", "(Integer)"),
        ([{"path": "views", "operator": "one_of", "value": [1, "x"]}], "condition[0].value[1]", ""),
        ([{"path": "owner", "operator": "is", "value": "ada"}], "condition[0].value", "no value"),
        (
            [{"path": "modified_at", "operator": "at_least", "value": "soon"}],
            "condition[0].value",
            "no value of modified_at",
        ),
    ],
)
def test_whatever_is_wrong_with_a_condition_is_told_at_its_place(
    given: Any, path: str, error: str
) -> None:
    (problem,) = [one for one in conditions.problems(given, Deal) if one.path == path]
    assert error in problem.error


def test_a_value_that_is_no_choice_of_its_column_is_told() -> None:
    given = [{"path": "status", "operator": "is", "value": "on"}]
    (problem,) = conditions.problems(given, Connection)
    assert problem.error == '"on" is none of pending, enabled, disabled, errored'


def test_right_conditions_have_no_problem() -> None:
    given = [
        {"path": "customer__name", "operator": "is", "value": "Rich"},
        {"path": "customer.deals.count", "operator": "at_least", "value": 2},
        {"path": "customer", "operator": "one_of", "value": [1, "2"]},
        {"path": "amount", "operator": "at_most", "value": "10.50"},
    ]
    assert list(conditions.problems(given, Deal)) == []


def test_a_generic_relation_may_lead_anywhere_so_that_any_value_is_right(
    sandbox: Connection, deal: Deal
) -> None:
    given = [{"path": "instance", "operator": "is", "value": str(deal.pk)}]
    assert list(conditions.problems(given, RecordLink)) == []
    (rule,) = conditions.read(given, RecordLink)
    assert rule.holds(xkit_crm.link(deal, "acme", "Opportunity:00001"))


def test_a_condition_that_is_none_can_not_be_registered() -> None:
    class Mistyped(DealSync):
        condition = [{"path": "note", "operator": "equals", "value": "sent"}]

    with pytest.raises(ConfigurationError, match=r"condition\[0\].operator: unknown operator"):
        xkit_crm.register(Customer)(Mistyped)
