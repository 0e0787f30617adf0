"""Records: their ids, history and versions, and how they are found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from tests.providers.sandbox.conftest import ref_of, refusal
from xkit_crm.exceptions import RejectedByCRM, RemoteRecordNotFound
from xkit_crm.providers.base import Criterion, Operator, RecordRef
from xkit_crm.providers.sandbox.models import Org, Record
from xkit_crm.providers.sandbox.records import (
    create_record,
    delete_record,
    get_record,
    search_records,
    shown,
    update_record,
)
from xkit_crm.providers.sandbox.standard import add_field

pytestmark = pytest.mark.django_db


# -- ids ------------------------------------------------------------------------------------------


def test_records_are_numbered_by_object_from_one(org: Org) -> None:
    made = [create_record(org, "Account", {"Name": name}).record_id for name in "ab"]
    assert made == ["Account:00001", "Account:00002"]
    assert create_record(org, "Contact", {"LastName": "a"}).record_id == "Contact:00001"


def test_a_refused_record_and_a_deleted_one_give_their_number_to_no_other(org: Org) -> None:
    delete_record(org, ref_of(create_record(org, "Account", {"Name": "a"})))
    refusal(org, "Account", {})
    assert create_record(org, "Account", {"Name": "b"}).record_id == "Account:00002"


def test_a_fixture_may_choose_the_number_and_the_next_ones_follow_the_highest(org: Org) -> None:
    made = [
        create_record(org, "Account", {"Name": "a"}, number=9876),
        create_record(org, "Account", {"Name": "b"}, number=12),
        create_record(org, "Account", {"Name": "c"}),
    ]
    assert [record.crm_id for record in made] == ["09876", "00012", "09877"]


def test_an_id_without_its_zeros_is_the_same_record(org: Org, deal: Record) -> None:
    assert get_record(org, RecordRef("Opportunity", "1")) == deal


@pytest.mark.parametrize(
    "crm_id", ["00002", "0", "-1", "abc", "1.0", "", " 1", "9" * 9, "9" * 30, "9" * 5000]
)
def test_an_id_that_names_nothing_is_not_found(org: Org, deal: Record, crm_id: str) -> None:
    with pytest.raises(RemoteRecordNotFound, match="doesn't exist"):
        get_record(org, RecordRef("Opportunity", crm_id))


def test_a_record_of_another_object_is_not_found(org: Org, deal: Record) -> None:
    for remote_object in ("Account", "NoSuchObject"):
        with pytest.raises(RemoteRecordNotFound):
            get_record(org, RecordRef(remote_object, deal.crm_id))


# -- writing --------------------------------------------------------------------------------------


def test_a_new_record_has_the_defaults_of_what_is_not_given(org: Org) -> None:
    assert create_record(org, "Contact", {"LastName": "Coyote"}).values == {
        "LastName": "Coyote",
        "DoNotCall": False,
    }
    given = create_record(org, "Contact", {"LastName": "Runner", "DoNotCall": True})
    assert given.values["DoNotCall"] is True


def test_an_optional_default_is_declined_with_null(org: Org) -> None:
    made = create_record(org, "Contact", {"LastName": "Coyote", "DoNotCall": None})
    assert "DoNotCall" not in made.values


def test_an_update_leaves_what_it_does_not_name(org: Org, deal: Record) -> None:
    update_record(org, ref_of(deal), {"Amount": 3})
    assert get_record(org, ref_of(deal)).values == {**deal.values, "Amount": 3}


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_empty_text_clear_a_field(org: Org, deal: Record, nothing: Any) -> None:
    update_record(org, ref_of(deal), {"Amount": nothing})
    changed = get_record(org, ref_of(deal))
    assert "Amount" not in changed.values
    assert shown(changed, ["Amount", "Name"]) == {"Amount": None, "Name": "Sales contract"}
    assert changed.history.first().changes == {"Amount": [1200.5, None]}


def test_an_empty_list_clears_a_picklist_of_several(org: Org, deal: Record) -> None:
    update_record(org, ref_of(deal), {"Tags": ["New", "Upsell"]})
    update_record(org, ref_of(deal), {"Tags": []})
    assert "Tags" not in get_record(org, ref_of(deal)).values


def test_a_refused_update_changes_nothing(org: Org, deal: Record) -> None:
    refusal(org, "Opportunity", {"Name": "Renamed", "Amount": "a lot"}, record=deal)
    unchanged = get_record(org, ref_of(deal))
    assert (unchanged.values, unchanged.version) == (deal.values, 1)
    assert unchanged.history.count() == 1


def test_an_unknown_object_takes_and_finds_nothing(org: Org) -> None:
    with pytest.raises(RejectedByCRM, match="no object 'Invoice'"):
        create_record(org, "Invoice", {})
    with pytest.raises(RejectedByCRM, match="no object 'Invoice'"):
        search_records(org, "Invoice", [], limit=1)


# -- versions and history -------------------------------------------------------------------------


def test_every_change_is_remembered_with_its_version(org: Org, deal: Record) -> None:
    update_record(org, ref_of(deal), {"Name": "Sales contract", "Amount": 3, "Description": "x"})
    delete_record(org, ref_of(deal))
    created, updated, deleted = Record.objects.get(pk=deal.pk).history.order_by("version")
    assert [(row.operation, row.version) for row in (created, updated, deleted)] == [
        ("create", 1),
        ("update", 2),
        ("delete", 3),
    ]
    assert created.changes["Name"] == [None, "Sales contract"]
    assert updated.changes == {"Amount": [1200.5, 3], "Description": [None, "x"]}
    assert deleted.changes["Amount"] == [3, None]


def test_an_update_that_changes_nothing_makes_no_version(org: Org, deal: Record) -> None:
    unchanged = update_record(org, ref_of(deal), {"Amount": 1200.5, "Description": None})
    assert unchanged.version == 1
    assert deal.history.count() == 1


def test_an_update_of_an_older_version_is_refused(org: Org, deal: Record) -> None:
    assert update_record(org, ref_of(deal), {"Amount": 1}, version=1).version == 2
    with pytest.raises(RejectedByCRM, match="changed by someone else: it is version 2"):
        update_record(org, ref_of(deal), {"Amount": 2}, version=1)
    assert get_record(org, ref_of(deal)).values["Amount"] == 1


def test_the_crm_tells_when_a_record_was_made_and_last_changed(org: Org) -> None:
    with time_machine.travel(datetime(2026, 1, 31, tzinfo=UTC), tick=False):
        made = create_record(org, "Account", {"Name": "a"})
    with time_machine.travel(datetime(2026, 2, 1, tzinfo=UTC), tick=False):
        told = [update_record(org, ref_of(made), {"Name": "b"}), get_record(org, ref_of(made))]
    for record in told:
        assert shown(record, ["CreatedAt", "UpdatedAt"]) == {
            "CreatedAt": "2026-01-31T00:00:00+00:00",
            "UpdatedAt": "2026-02-01T00:00:00+00:00",
        }


def test_a_deleted_record_is_gone_for_every_request_and_stays_for_its_history(
    org: Org, deal: Record
) -> None:
    deleted = delete_record(org, ref_of(deal))
    for request in (
        lambda: get_record(org, ref_of(deal)),
        lambda: update_record(org, ref_of(deal), {"Amount": 1}),
        lambda: delete_record(org, ref_of(deal)),
    ):
        with pytest.raises(RemoteRecordNotFound, match="was deleted"):
            request()
    assert not search_records(org, "Opportunity", [], limit=10)
    kept = Record.objects.get(pk=deal.pk)
    assert (kept.deleted_at, kept.version, kept.values) == (deleted.deleted_at, 2, deal.values)


# -- searching ------------------------------------------------------------------------------------


def names(org: Org, *criteria: Criterion, limit: int = 10) -> list[str]:
    return [r.values["Name"] for r in search_records(org, "Account", criteria, limit=limit)]


def equals(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.EQUALS, value)


def contains(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.CONTAINS, value)


@pytest.fixture
def accounts(org: Org) -> None:
    for name, industry, employees in (
        ("Acme", "Software", 5),
        ("Acme Tools", "Construction", 50),
        ("Globex", "Software", 500),
    ):
        values = {"Name": name, "Industry": industry, "Employees": employees}
        create_record(org, "Account", values)


def test_a_search_finds_the_newest_first_and_no_more_than_asked(org: Org, accounts: None) -> None:
    assert names(org) == ["Globex", "Acme Tools", "Acme"]
    assert names(org, limit=2) == ["Globex", "Acme Tools"]


def test_equals_is_the_whole_value_and_contains_a_part_in_any_case(
    org: Org, accounts: None
) -> None:
    assert names(org, equals("Name", "Acme")) == ["Acme"]
    assert names(org, equals("Name", "acme")) == []
    assert names(org, contains("Name", "aCME")) == ["Acme Tools", "Acme"]
    assert names(org, equals("Employees", 50)) == ["Acme Tools"]
    assert names(org, equals("Employees", "50")) == []
    assert names(org, contains("Employees", 50)) == ["Globex", "Acme Tools"]


def test_every_criterion_must_hold(org: Org, accounts: None) -> None:
    assert names(org, contains("Name", "acme"), equals("Industry", "Software")) == ["Acme"]
    assert names(org, equals("Name", "Acme"), equals("Name", "Globex")) == []


def test_null_finds_what_is_empty(org: Org, accounts: None) -> None:
    create_record(org, "Account", {"Name": "Bare"})
    for criterion in (equals("Industry", None), contains("Industry", None)):
        assert names(org, criterion) == ["Bare"]


def test_lists_and_booleans_are_found(org: Org) -> None:
    create_record(org, "Opportunity", {"Name": "Both", "Tags": ["New", "Upsell"]})
    create_record(org, "Contact", {"LastName": "Quiet", "DoNotCall": True})

    def found(remote_object: str, criterion: Criterion) -> int:
        return len(search_records(org, remote_object, [criterion], limit=10))

    assert found("Opportunity", equals("Tags", ["New", "Upsell"])) == 1
    assert found("Opportunity", equals("Tags", ["New"])) == 0
    assert found("Opportunity", contains("Tags", "Upsell")) == 1
    assert found("Contact", equals("DoNotCall", True)) == 1
    assert found("Contact", equals("DoNotCall", False)) == 0


SPECIAL = ["100%", "a_b", 'say "hi"', "it's", "back\\slash", "null", "true", "{}", "[1]", "Ünï 🎉"]


@pytest.mark.parametrize("name", SPECIAL)
def test_special_characters_stand_for_themselves(org: Org, name: str) -> None:
    for other in ("100 percent", "axb", "anything"):
        create_record(org, "Account", {"Name": other})
    create_record(org, "Account", {"Name": name})
    assert names(org, equals("Name", name)) == [name]
    assert names(org, contains("Name", name)) == [name]


@pytest.mark.parametrize("field", ["Nmae", "name", "Name__icontains", "x__isnull", "id", "a.b", ""])
def test_an_unknown_field_is_refused_by_name(org: Org, field: str) -> None:
    with pytest.raises(RejectedByCRM) as raised:
        search_records(org, "Account", [equals(field, "x")], limit=1)
    assert raised.value.message == f"Account has no field {field}."


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "a\0b", "\ud800"])
def test_a_value_that_no_record_can_have_is_refused(org: Org, value: Any) -> None:
    for criterion in (equals("Name", value), contains("Name", value)):
        with pytest.raises(RejectedByCRM, match="can't be searched by Name"):
            search_records(org, "Account", [criterion], limit=1)


@pytest.mark.parametrize("name", ["a__b", "x__isnull", "Ref__c", "isnull", "contains", "in", "gt"])
def test_a_field_may_be_called_like_a_lookup_of_django(org: Org, name: str) -> None:
    add_field(org, "Account", name, unique=True)
    create_record(org, "Account", {"Name": "Acme", name: "one"})
    create_record(org, "Account", {"Name": "Globex", name: "two"})
    assert names(org, equals(name, "one")) == ["Acme"]
    assert names(org, contains(name, "W")) == ["Globex"]
    assert "duplicate" in refusal(org, "Account", {"Name": "Copy", name: "one"})[name]
