"""What a backfill matches rows on: the fields that the mapping names, or that it is told."""

from __future__ import annotations

import pytest

from tests.products.models import Customer
from tests.sync.test_backfill import feed, remote, rows, run
from xkit_crm import exceptions
from xkit_crm.models import (
    Connection,
    Invocation,
    RecordLink,
)
from xkit_crm.sync.backfill import Outcome

pytestmark = pytest.mark.django_db


def test_by_default_rows_are_matched_by_the_external_id_that_the_mapping_writes(
    sandbox: Connection, customer: Customer
) -> None:
    feed("deal_created", {"field": "ExternalId", "kind": "direct", "key": "name"})
    rows(customer, "A-1", "A-2")
    record_id = remote("Another name", ExternalId="A-1")
    result = run(match=None)
    assert str(result.keys) == "ExternalId"
    assert "Name" in result.keys.weak
    assert result.counts == {Outcome.LINKED: 1, Outcome.CREATED: 1}
    assert RecordLink.objects.get().record_id == record_id


def test_without_a_field_that_tells_records_apart_nothing_is_guessed(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "Sales")
    with pytest.raises(exceptions.ConfigurationError, match=r"--match FIELD.*--no-match"):
        run(match=None)
    assert not Invocation.objects.exists()


def test_the_next_key_is_tried_where_the_one_before_finds_nothing(
    sandbox: Connection, customer: Customer
) -> None:
    feed("deal_created", {"field": "ExternalId", "kind": "direct", "key": "name"})
    rows(customer, "A-1")
    record_id = remote("A-1")
    assert run(match=[("ExternalId",), ("Name",)]).counts == {Outcome.LINKED: 1}
    assert RecordLink.objects.get().record_id == record_id


def test_all_fields_of_one_key_have_to_be_equal(sandbox: Connection, customer: Customer) -> None:
    rows(customer, "Sales", amount=12)
    remote("Sales", Amount=7)
    assert run(match=[("Name", "Amount")], dry_run=True).counts == {Outcome.CREATED: 1}
    remote("Sales", Amount=12)
    assert run(match=[("Name", "Amount")], dry_run=True).counts == {Outcome.LINKED: 1}


def test_a_row_without_a_value_to_match_by_is_created_and_counted(
    sandbox: Connection, customer: Customer
) -> None:
    feed("deal_created", {"field": "Description", "kind": "direct", "key": "owner_email"})
    rows(customer, "Sales")
    result = run(match=[("Description",)])
    assert (result.counts, result.without_key) == ({Outcome.CREATED: 1}, 1)


@pytest.mark.parametrize(
    ("field", "says"),
    [("Nmae", "is no field"), ("CloseDate", "is not written by the mapping")],
)
def test_a_field_that_can_not_be_matched_on_is_refused(
    sandbox: Connection, customer: Customer, field: str, says: str
) -> None:
    with pytest.raises(exceptions.ConfigurationError, match=says):
        run(match=[(field,)])
