"""Zoho CRM: modules, fields, and values."""

from __future__ import annotations

from tests.providers.zoho.conftest import lead
from xkit_crm.providers.base import (
    RemoteType,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake


def test_modules_that_the_api_or_the_person_cannot_see_are_left_out(provider: ZohoProvider) -> None:
    found = {one.name: one.label for one in provider.describe_objects()}
    assert found.keys() == {"Leads", "Accounts", "Deals", "Tasks", "Surveys"}
    assert found["Leads"] == "Lead"


def test_fields_are_described_as_zoho_means_them(provider: ZohoProvider) -> None:
    found = {one.name: one for one in provider.describe_fields("Leads")}
    assert [c.value for c in found["Lead_Source"].choices] == ["Trade Show", "Web Research"]
    assert (found["Last_Name"].max_length, found["Description"].max_length) == (80, 32_000)
    assert found["Referred_By"].references == ("Accounts",)
    assert found["xkit_key"].unique
    assert not found["Last_Name"].unique
    assert not found["Description"].searchable
    score = found["Score"]
    assert (score.type, score.createable, score.updateable) == (RemoteType.NUMBER, False, False)
    assert not found["Created_Time"].updateable
    assert found.keys().isdisjoint({"Visits", "Tag"}), "they have no value of ours"


def test_what_can_point_to_any_module_is_only_read(provider: ZohoProvider) -> None:
    found = {one.name: one for one in provider.describe_fields("Tasks")}
    assert not found["What_Id"].createable
    assert found["Subject"].required, "also where there are no layouts"


def test_what_every_layout_wants_is_required(provider: ZohoProvider) -> None:
    leads = {one.name for one in provider.describe_fields("Leads") if one.required}
    assert leads == {"Last_Name", "Company"}
    deals = {one.name for one in provider.describe_fields("Deals") if one.required}
    assert deals == {"Deal_Name"}, "the other layout takes a deal without an amount"


# -- values ----------------------------------------------------------------------------------------


def test_moments_travel_with_an_offset_and_come_back_in_utc(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider, Last_Visit="2026-11-02T08:15:30.250Z")
    assert crm.records["Leads"][ref.crm_id]["Last_Visit"] == "2026-11-02T13:45:30+05:30"
    assert provider.get(ref, ["Last_Visit"]).values == {"Last_Visit": "2026-11-02T08:15:30Z"}


def test_references_are_ids(provider: ZohoProvider) -> None:
    account = provider.create("Accounts", {"Account_Name": "Engines"}, key="k")
    ref = lead(provider, Referred_By=account.crm_id)
    assert provider.get(ref, ["Referred_By"]).values == {"Referred_By": account.crm_id}
    provider.update(ref, {"Referred_By": None})
    assert provider.get(ref, ["Referred_By"]).values == {"Referred_By": None}
