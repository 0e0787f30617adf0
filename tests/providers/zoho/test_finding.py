"""Zoho CRM: finding what was made, and what is searched for."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.providers.zoho.conftest import lead, names
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers.base import (
    Criterion,
    Draft,
    Operator,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake


def test_a_create_with_a_key_that_is_there_gives_the_record_that_has_it(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {"Last_Name": "Lovelace", "Company": "Engines"}
    ref = provider.create("Leads", values, key="the-key")
    assert provider.create("Leads", values, key="the-key") == ref
    assert len(crm.records["Leads"]) == 1


def test_a_create_that_repeats_other_unique_values_as_well_gives_it_too(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    values = {"Last_Name": "Lovelace", "Company": "Engines", "Email": "ada@example.com"}
    ref = provider.create("Leads", values, key="the-key")
    assert provider.create("Leads", values, key="the-key") == ref
    with pytest.raises(RejectedByCRM) as caught:
        provider.create("Leads", values, key="another")
    assert [str(problem) for problem in caught.value.errors] == ["Email: duplicate data"]


def test_more_keys_than_a_query_takes_are_looked_up_in_several(
    provider: ZohoProvider, crm: ZohoFake
) -> None:
    keys = [str(uuid4()) for _ in range(100)]
    values = {"Last_Name": "Lovelace", "Company": "Engines"}
    made = provider.create_many("Leads", [Draft(values, key) for key in keys])
    assert list(provider.find_created_many("Leads", keys)) == list(made)


def test_without_the_field_nothing_is_looked_up(provider: ZohoProvider) -> None:
    assert provider.finds_created("Leads")
    assert not provider.finds_created("Accounts")


# -- queries ---------------------------------------------------------------------------------------


def test_quotes_in_a_search_are_only_quotes(provider: ZohoProvider) -> None:
    name = "O'Brien' or id is not null or Last_Name = '"
    lead(provider, "Somebody else")
    lead(provider, name)
    assert names(provider, Criterion("Last_Name", Operator.EQUALS, name)) == [name]
    assert names(provider, Criterion("Last_Name", Operator.CONTAINS, "O'Brien'")) == [name]


def test_a_backslash_is_not_searched_for(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.fields("Leads")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM) as caught:
        names(provider, Criterion("Last_Name", Operator.EQUALS, "\\' or id is not null"))
    assert [problem.path for problem in caught.value.errors] == ["Last_Name"]
    assert len(crm.requests) == before


def test_what_is_no_name_gets_into_no_query(provider: ZohoProvider, crm: ZohoFake) -> None:
    provider.fields("Leads")
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM):
        names(provider, Criterion("id is not null or Last_Name", Operator.EQUALS, "x"))
    with pytest.raises(RejectedByCRM):
        provider.search("Leads", [], ["id from Deals where id is not null--"], limit=1)
    assert len(crm.requests) == before


def test_several_criteria_of_every_type_must_all_hold(provider: ZohoProvider) -> None:
    values = {
        "Email_Opt_Out": True,
        "No_of_Employees": 12,
        "Birthday": "1815-12-10",
        "Last_Visit": "2026-11-02T08:15:30Z",
        "Owner": "4712",
        "Phone": None,
    }
    lead(provider, "Mine", **values)
    for name, other in {**values, "Email_Opt_Out": False, "Owner": "4711"}.items():
        if other != values[name]:
            lead(provider, "Other", **{**values, name: other})
    criteria = [Criterion(name, Operator.EQUALS, value) for name, value in values.items()]
    assert names(provider, *criteria) == ["Mine"]


def test_the_newest_come_first(provider: ZohoProvider) -> None:
    for name in ("First", "Second", "Third"):
        lead(provider, name)
    assert names(provider) == ["Third", "Second", "First"]
