"""What a replay would send, beside what was sent last; nothing is sent to find out."""

from __future__ import annotations

from typing import Any

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, held, names
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.comparing import Cell, compare
from xkit_crm.delivery.replay import replay
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

NAME = {"field": "Name", "kind": "direct", "key": "name"}


def last() -> Invocation:
    return Invocation.objects.select_related("event__crm_object", "connection").latest("id")


def rows(invocation: Invocation) -> dict[str, tuple[Cell, ...]]:
    return dict(compare(invocation).rows)


@pytest.fixture
def refused(sandbox: Connection, customer: Customer) -> Deal:
    """A change that the CRM refused; the row and the mapping are others by now."""
    deal: Deal = DealFactory.create(customer=customer, title="First")
    deliver()
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    deal.title = "Apple"
    deal.save()
    deliver()
    act("deal_updated", transformations=[NAME])
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    return deal


def test_what_would_be_sent_is_told_by_field_for_each_way(refused: Deal) -> None:
    assert rows(last()) == {
        "Name": (
            Cell(True, "x" * 200),
            Cell(True, "Apple", differs=True),
            Cell(True, "Pear", differs=True),
        )
    }
    found = compare(last())
    assert found.as_it_was is not None
    assert found.renewed is not None
    assert (found.renewed.operation, found.renewed.target) == ("update", "Opportunity:00001")


def test_it_is_what_a_replay_then_sends(refused: Deal) -> None:
    found = compare(last())
    assert found.renewed is not None
    expected = dict(found.renewed.values)
    replay([last()])
    deliver()
    assert Attempt.objects.latest("id").sent == expected
    assert names() == ["Pear"]


def test_nothing_is_sent_and_nothing_is_changed_by_looking(refused: Deal) -> None:
    before = (held(), list(Invocation.objects.values()), list(RecordLink.objects.values()))
    attempts = Attempt.objects.count()
    compare(last())
    assert (held(), list(Invocation.objects.values()), list(RecordLink.objects.values())) == before
    assert Attempt.objects.count() == attempts


def test_what_joined_it_stays_joined_though_the_mapping_takes_it_apart(
    sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    for title in ("Apple", "Pear"):
        deal.title = title
        deal.save()
    deliver()
    failed = Invocation.objects.select_related("event", "connection").get(status="failed")
    assert failed.folded
    act("deal_updated", action="workflow", workflow="nope")
    compare(failed)
    failed.refresh_from_db()
    assert failed.folded
    assert Invocation.objects.filter(status="superseded").count() == 1


def test_joined_payloads_are_part_of_what_is_sent_as_it_was(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    deliver()
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    for title in ("Apple", "Pear"):
        deal.title = title
        deal.save()
    deliver()
    act("deal_updated", transformations=[NAME])
    failed = Invocation.objects.select_related("event", "connection").get(status="failed")
    assert failed.payload["name"] == "Apple"
    found = compare(failed)
    assert found.as_it_was is not None
    assert found.as_it_was.values == {"Name": "Pear"}


def test_a_mapping_that_does_not_fit_is_a_problem_of_the_outlook(refused: Deal) -> None:
    act("deal_updated", transformations=[{"field": "Gone", "kind": "static", "value": 1}])
    found = compare(last())
    assert found.renewed is not None
    assert found.renewed.problem is not None
    assert found.renewed.problem.code == "mapping_incomplete"
    assert found.renewed.values == {}


def test_a_row_that_is_gone_is_a_problem_of_that_way_only(refused: Deal) -> None:
    Deal.objects.filter(pk=refused.pk).delete()
    failed = Invocation.objects.select_related("event", "connection").get(status="failed")
    found = compare(failed)
    assert found.as_it_was is not None
    assert found.renewed is not None
    assert "deleted since" in str(found.renewed.problem)
    assert (found.as_it_was.problem, found.as_it_was.values) == (None, {"Name": "Apple"})


def test_a_call_has_one_way_only(sandbox: Connection) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    create("Apple")
    act("deal_created", transformations=[NAME])
    found = compare(last())
    assert found.renewed is None
    assert found.rows == (("Name", (Cell(True, "x" * 200), Cell(True, "Apple", differs=True))),)


def test_what_was_never_sent_is_compared_with_nothing(
    sandbox: Connection, customer: Customer, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    deal = DealFactory.create(customer=customer, title="x" * 100)
    Deal.objects.filter(pk=deal.pk).update(title="Short")
    found = compare(last())
    assert found.last is None
    assert found.as_it_was is not None
    assert found.as_it_was.problem is not None
    assert found.as_it_was.problem.code == "payload_invalid"
    assert dict(found.rows)["Name"] == (Cell(), Cell(), Cell(True, "Short"))


def test_a_create_that_was_delivered_would_update_its_record(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer, title="Apple")
    deliver()
    found = compare(last())
    assert found.as_it_was is None
    assert found.renewed is not None
    assert (found.renewed.operation, found.renewed.target) == ("update", "Opportunity:00001")


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_create_that_a_person_tried_of_a_row_writes_the_row_as_well(
    sandbox: Connection, customer: Customer, status: str
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    Invocation.objects.update(source="admin", status=status)
    Invocation.objects.filter(status="failed").update(record_id="")  # it was never made
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    found = compare(last())
    assert found.as_it_was is None
    assert found.renewed is not None
    assert (found.renewed.operation, found.renewed.values["Name"]) == ("update", "Pear")


def test_later_changes_that_were_delivered_are_counted(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    for title in ("Apple", "Pear"):
        deal.title = title
        deal.save()
        deliver()
    DealFactory.create(customer=customer)
    deliver()
    created, first, second, _other = Invocation.objects.select_related(
        "event__crm_object", "connection"
    ).order_by("id")
    assert [compare(one).later for one in (first, second)] == [1, 0]
    assert compare(created).later == 0  # it writes the row as it is


def test_a_create_whose_row_is_linked_by_now_writes_the_row_as_it_is_and_nothing_else(
    sandbox: Connection, customer: Customer
) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    failed = last()
    act("deal_created", transformations=[NAME])
    assert compare(failed).as_it_was is not None
    xkit_crm.link(deal, "acme", create("Theirs").record_id)
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    found = compare(failed)
    assert (found.as_it_was, found.later) == (None, 0)
    assert found.renewed is not None
    assert (found.renewed.operation, found.renewed.values["Name"]) == ("update", "Pear")
