"""Pipedrive: what it says of itself."""

from __future__ import annotations

from tests.providers.pipedrive.conftest import HOLIDAY
from xkit_crm.providers.base import RemoteType
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import code_of


def test_fields_of_all_pages_are_described_once(provider: PipedriveProvider) -> None:
    names = [one.name for one in provider.describe_fields("persons")]
    assert names[0] == "name"
    assert {code_of("XKIT KEY"), code_of("Fax"), "add_time"} <= set(names)
    assert len(names) == len(set(names))


def test_a_field_is_described_as_it_is_written(provider: PipedriveProvider) -> None:
    found = provider.fields("persons")
    assert found["emails"].type is RemoteType.EMAIL
    assert "email" not in found, "its code in older descriptions"
    assert found["name"].required
    assert found["owner_id"].references == ("users",)
    assert not found["add_time"].createable
    assert found["add_time"].type is RemoteType.DATETIME
    interests = found[code_of("Interests")]
    assert interests.type is RemoteType.MULTIPICKLIST
    assert [one.value for one in interests.choices] == ["21", "22", "23"]
    assert not interests.searchable
    assert found[code_of("Friend")].references == ("persons",)
    assert found[code_of("Fax")].max_length == 255
    assert found[f"{HOLIDAY}.until"].type is RemoteType.DATE
    assert found[f"{HOLIDAY}.until"].createable


def test_fields_that_the_company_may_not_have_are_those_it_describes(
    provider: PipedriveProvider,
) -> None:
    assert "job_title" not in provider.fields("persons")
    assert provider.fields("organizations")["website"].updateable
    assert "linkedin" not in provider.fields("organizations")


def test_fields_that_must_be_asked_for_one_by_one_are_left_out(
    provider: PipedriveProvider,
) -> None:
    assert "next_activity_id" not in provider.fields("persons")
    assert code_of("Gone") not in provider.fields("leads"), "it is deleted"
