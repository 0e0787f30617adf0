"""Zoho CRM: what its writes start, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.zoho.conftest import lead
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers.base import (
    Access,
    RecordRef,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake


def test_writes_start_every_automation_unless_told_otherwise(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider)
    provider.delete(ref)
    assert "trigger" not in crm.requests[-2].body
    assert "wf_trigger" not in crm.requests[-1].query


@pytest.mark.parametrize(
    ("said", "trigger"),
    [
        ([], []),
        (["workflow"], ["workflow"]),
        ("", []),
        ("workflow, approval", ["workflow", "approval"]),
    ],
)
def test_a_connection_says_which_automations_its_writes_start(
    crm: ZohoFake, said: Any, trigger: list[str]
) -> None:
    provider = ZohoProvider(Access("acme", {**crm.credentials, "trigger": said}))
    ref = lead(provider)
    provider.update(ref, {"First_Name": "Ada"})
    provider.delete(ref)
    created, updated, deleted = crm.requests[-3:]
    assert created.body["trigger"] == updated.body["trigger"] == trigger
    assert deleted.query.get("wf_trigger") == (None if trigger else "false")


def test_the_operator_says_it_for_all_connections(settings: Any, crm: ZohoFake) -> None:
    options = {"zoho": {**crm.options, "trigger": []}}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": options}
    lead(ZohoProvider(Access("acme", crm.credentials)))
    assert crm.requests[-1].body["trigger"] == []


def test_cadences_for_enrolment_by_hand_are_listed_page_by_page(provider: ZohoProvider) -> None:
    found = {one.label: one.inputs[0].references for one in provider.list_workflows()}
    assert found == {"Welcome": ("Leads",), "Win back": ("Deals",)}


def test_a_record_is_enrolled_in_a_cadence_of_its_module(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    ref = lead(provider)
    assert provider.run_workflow("501", {}, key="k", ref=ref) == ref
    assert provider.run_workflow("501", {"record": ref.crm_id}, key="k", ref=None) == ref
    assert crm.enrolled == [("501", ref.crm_id)] * 2
    with pytest.raises(RejectedByCRM) as caught:
        provider.run_workflow("504", {}, key="k", ref=ref)
    assert [problem.path for problem in caught.value.errors] == ["record"]
    with pytest.raises(RejectedByCRM, match="given id seems to be invalid"):
        provider.run_workflow("501", {"record": "77"}, key="k", ref=None)


# -- what it says of itself ------------------------------------------------------------------------


def test_the_credits_that_are_left_are_noted(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.describe_objects()
    assert provider.usage.quota_left is None, "it is told once half are used"
    crm.said = {"X-API-CREDITS-REMAINING": "4821"}
    provider.describe_objects()
    assert provider.usage.quota_left == 4821


@pytest.mark.parametrize(
    ("module", "credentials", "url"),
    [
        ("Leads", {"location": "eu"}, "https://crm.zoho.eu/crm/tab/Leads/42"),
        (
            "Deals",
            {"accounts-server": "https://accounts.zohocloud.ca"},
            "https://crm.zohocloud.ca/crm/tab/Potentials/42",
        ),
        ("Surveys", {"location": "eu"}, ""),
        ("Leads", {"api_domain": "https://sandbox.zohoapis.com"}, ""),
    ],
)
def test_a_records_page_is_in_the_persons_data_centre(
    settings: Any, module: str, credentials: dict[str, str], url: str
) -> None:
    settings.XKIT_CRM = {}
    assert ZohoProvider(Access("acme", credentials)).record_url(RecordRef(module, "42")) == url
