"""Zoho CRM: records, one and many."""

from __future__ import annotations

import pytest

from tests.providers.zoho.conftest import lead
from xkit_crm.exceptions import (
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import (
    Criterion,
    Draft,
    Edit,
    Operator,
    RecordRef,
)
from xkit_crm.providers.http import Answer
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake


def test_more_fields_than_a_call_takes_are_read_in_several(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {f"Answer_{n}": f"No. {n}" for n in range(1, 61)}
    ref = provider.create("Surveys", {"Name": "Wide", **values}, key="k")
    assert provider.get(ref, list(values)).values == values
    (read,) = provider.get_many([ref], list(values))
    assert read.values == values  # type: ignore[union-attr]
    equal = Criterion("Name", Operator.EQUALS, "Wide")
    (found,) = provider.search("Surveys", [equal], list(values), limit=5)
    assert found.values == values


def test_a_converted_lead_is_still_read(provider: ZohoProvider, crm: ZohoFake) -> None:
    ref = lead(provider)
    crm.converted.add(ref.crm_id)
    (found,) = provider.get_many([ref], ["Last_Name"])
    assert found.values == {"Last_Name": "Lovelace"}  # type: ignore[union-attr]


def test_an_id_with_a_comma_is_one_record_and_none(provider: ZohoProvider, crm: ZohoFake) -> None:
    one, other = lead(provider), lead(provider)
    both = RecordRef("Leads", f"{one.crm_id},{other.crm_id}")
    assert isinstance(provider.delete_many([both])[0], RemoteRecordNotFound)
    assert isinstance(provider.get_many([both], ["Last_Name"])[0], RemoteRecordNotFound)
    (deleted, gone) = provider.delete_many([one, both])
    assert deleted is None
    assert isinstance(gone, RemoteRecordNotFound)
    assert crm.records["Leads"].keys() == {other.crm_id}


@pytest.mark.parametrize("crm_id", ["..", "1/2", "1?fields=x", "٤٢", ""])
def test_what_is_no_id_is_not_asked_for(provider: ZohoProvider, crm: ZohoFake, crm_id: str) -> None:
    with pytest.raises(RemoteRecordNotFound):
        provider.get(RecordRef("Leads", crm_id), ["Last_Name"])
    with pytest.raises(RemoteRecordNotFound):
        provider.delete(RecordRef("Leads", crm_id))
    assert crm.requests == []


def test_each_record_of_a_mixed_batch_gets_its_own_answer(provider: ZohoProvider) -> None:
    kept, gone, wrong = lead(provider), lead(provider), lead(provider)
    provider.delete(gone)
    answers = provider.update_many(
        [
            Edit(gone, {"First_Name": "Ada"}),
            Edit(kept, {"First_Name": "Ada"}),
            Edit(wrong, {"Email": "nobody"}),
        ]
    )
    assert isinstance(answers[0], RemoteRecordNotFound)
    assert answers[1] is None
    assert isinstance(answers[2], RejectedByCRM)
    assert [problem.path for problem in answers[2].errors] == ["Email"]


def test_what_is_said_of_a_deletion_goes_by_the_id(provider: ZohoProvider) -> None:
    gone, there = lead(provider), lead(provider)
    provider.delete(gone)
    answers = provider.delete_many([gone, there])
    assert isinstance(answers[0], RemoteRecordNotFound)
    assert answers[1] is None


def test_a_batch_of_which_none_is_taken_tells_of_each(provider: ZohoProvider) -> None:
    drafts = [Draft({"Company": "E"}, "1"), Draft({"Last_Name": "L" * 81, "Company": "E"}, "2")]
    first, second = provider.create_many("Leads", drafts)
    assert isinstance(first, RejectedByCRM)
    assert isinstance(second, RejectedByCRM)
    assert [str(one) for one in first.errors] == ["Last_Name: required field not found"]
    assert [str(one) for one in second.errors] == [
        "Last_Name: invalid data (at most 80 characters)"
    ]


def test_every_field_at_fault_is_named(provider: ZohoProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        lead(provider, Email="nobody", No_of_Employees="many", Referred_By="77")
    assert {problem.path for problem in caught.value.errors} == {
        "Email",
        "No_of_Employees",
        "Referred_By",
    }
    assert "No_of_Employees: invalid data (it takes: integer)" in map(str, caught.value.errors)


def test_a_reference_to_nothing_does_not_say_that_the_record_is_gone(
    provider: ZohoProvider,
) -> None:
    ref = lead(provider)
    with pytest.raises(RejectedByCRM) as caught:
        provider.update(ref, {"Referred_By": "77"})
    assert [problem.path for problem in caught.value.errors] == ["Referred_By"]


def test_a_module_that_is_none_is_told_once_for_all(provider: ZohoProvider, crm: ZohoFake) -> None:
    known = provider.fields("Leads")
    provider.described["fields Nonsense"] = list(known.values())
    with pytest.raises(RejectedByCRM, match="INVALID_MODULE"):
        provider.create_many("Nonsense", [Draft({}, "1"), Draft({}, "2")])


def test_an_error_is_one_whatever_its_status(provider: ZohoProvider) -> None:
    said = {"code": "INVALID_DATA", "details": {}, "message": "invalid", "status": "error"}
    assert isinstance(provider.refusal(Answer(200, {}, said)), RejectedByCRM)
    unknown = {**said, "details": {"resource_path_index": 1}}
    assert isinstance(provider.refusal(Answer(400, {}, unknown)), RemoteRecordNotFound)
    assert provider.refusal(Answer(200, {}, {"data": [{"status": "error"}]})) is None


def test_a_locked_record_can_be_written_later(provider: ZohoProvider, crm: ZohoFake) -> None:
    ref = lead(provider)
    crm.locked.add(ref.crm_id)
    with pytest.raises(RecordLocked):
        provider.update(ref, {"First_Name": "Ada"})
