"""What failed, put together by its cause, however many there are."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.delivery.conftest import act
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer
from xkit_crm.delivery import failures
from xkit_crm.delivery.log import Asked
from xkit_crm.models import Connection, Invocation
from xkit_crm.schema.wording import quoted
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def fail(connection: Connection, words: str, *, path: str = "amount", **named: Any) -> Invocation:
    error = {
        "code": "rejected_by_crm",
        "message": "The CRM refused it.",
        "hint": "Correct the values.",
        "errors": [{"path": path, "error": words}],
    }
    named = {"status": "failed", "error_code": "rejected_by_crm", "error_detail": error} | named
    made: Invocation = InvocationFactory.create(connection=connection, **named)
    return made


@pytest.mark.parametrize(
    ("words", "payload", "without"),
    [
        ("value too large: 120000 (max 18,2)", {}, "value too large: … (max …)"),
        ("'Ada' is not one of A, B.", {}, "… is not one of A, B."),
        ("duplicate value: Opportunity:00012 has it", {}, "duplicate value: … has it"),
        ("0063x000004CabZ is deleted", {}, "… is deleted"),
        ("at 2026-11-25T10:00:00Z, see https://crm.example/x?id=1", {}, "at …, see …"),
        ("no user ada@example.com", {}, "no user …"),
        ("the name Ada Lovelace is taken", {"name": "Ada Lovelace"}, "the name … is taken"),
        ("it doesn't fit; they can't either", {}, "it doesn't fit; they can't either"),
        ("1, 2 and 3", {}, "… and …"),
        (r'is "Ada \"Zo\u00eb\" King", but must be A', {}, "is …, but must be A"),
        (f"is {quoted('Ada ' * 50)}, but must be A", {}, "is …, but must be A"),
        (f"is {quoted('Ada' + chr(34) * 50)}, but must be A", {}, "is …, but must be A"),
        ("a  b\n c.", {}, "a b c."),
    ],
)
def test_what_differs_from_one_to_the_next_is_taken_out_of_the_words(
    words: str, payload: Any, without: str
) -> None:
    assert failures.without_values(words, [payload]) == without


def test_the_same_trouble_is_one_cause_and_the_most_frequent_comes_first(
    connection: Connection,
) -> None:
    other = Connection.objects.create(id="other", provider="sandbox")
    first = fail(connection, "Amount: value too large: 1")
    fail(connection, "Amount: value too large: 2")
    last = fail(connection, "Amount: value too large: 3", status="unknown")
    fail(connection, "Amount: value too large: 3", path="total")
    fail(other, "Amount: value too large: 3")
    fail(connection, "Amount: value too large: 3", slug="deal_updated")
    fail(connection, "something else", status="succeeded")
    report = failures.report()
    assert [group.count for group in report.groups] == [3, 1, 1, 1]
    assert (report.read, report.is_all) == (6, True)
    group = report.groups[0]
    assert group.cause.words == "Amount: value too large: …"
    assert (group.cause.field, group.cause.connection_id) == ("amount", "acme")
    assert (group.unknown, group.newest, group.hint) == (1, last.pk, "Correct the values.")
    assert (group.first, group.last) == (first.created_at, last.created_at)
    assert len({one.cause.key for one in report.groups}) == 4


def test_a_cause_holds_no_value_of_any_payload(connection: Connection) -> None:
    for name in ("Ada", "Grace"):
        fail(connection, f"the customer {name} is not allowed", payload={"name": name})
    (group,) = failures.report().groups
    assert group.cause.words == "the customer … is not allowed"


def test_an_error_without_single_problems_goes_by_its_message(connection: Connection) -> None:
    detail = {"code": "crm_unavailable", "message": "No answer within 30 s."}
    fail(connection, "", error_code="crm_unavailable", error_detail=detail)
    (group,) = failures.report().groups
    assert (group.cause.code, group.cause.field) == ("crm_unavailable", "")
    assert group.cause.words == "No answer within … s"


def test_the_newest_are_read_and_it_is_said_that_there_are_more(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        fail(connection, f"too large: {number}")
    monkeypatch.setattr(failures, "NEWEST", 4)
    with CaptureQueriesContext(database) as queries:
        report = failures.report()
    assert (report.read, report.is_all) == (4, False)
    assert len(queries) == 2


def test_those_of_one_cause_are_told_apart(connection: Connection) -> None:
    mine = [fail(connection, f"too large: {number}").pk for number in range(3)]
    fail(connection, "too small")
    key = next(g.cause.key for g in failures.report().groups if g.count == 3)
    assert failures.of_cause(Asked(), key) == (tuple(reversed(mine)), True)
    everything = Invocation.objects.values_list("pk", flat=True)
    assert sorted(failures.in_cause(everything, key)) == mine


def test_the_words_of_a_cause_say_once_which_field_it_is(
    sandbox: Connection, customer: Customer
) -> None:
    act(
        "deal_created",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name"},
            {"field": "Amount", "kind": "direct", "key": "name"},
        ],
    )
    DealFactory.create(customer=customer, title="Apple")
    deliver()
    (group,) = failures.report().groups
    assert group.cause.words.count("Amount") == 1


def test_what_a_real_crm_refuses_is_one_cause(sandbox: Connection, customer: Customer) -> None:
    act(
        "deal_created",
        transformations=[{"field": "Name", "kind": "template", "template": "{name}" * 50}],
    )
    for title in ("Apple", "Banana", "Cherry"):
        DealFactory.create(customer=customer, title=title)
    deliver()
    (group,) = failures.report().groups
    assert group.count == 3
    assert group.cause.code == "rejected_by_crm"
    assert "data value too large" in group.cause.words
