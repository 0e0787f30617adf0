"""Salesforce: its flows."""

from __future__ import annotations

import pytest

from tests.providers.salesforce.conftest import create
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    RecordRef,
    RemoteType,
)
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.fakes.salesforce import SalesforceFake
from xkit_crm.testing.fakes.server import Response


def test_a_flow_is_told_the_key_and_the_record_that_it_is_about(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    ref = create(salesforce)
    inputs = {"email": "ada@example.com", "tags": ["a", "b"], "score": None}
    assert salesforce.run_workflow("Welcome", inputs, key="a-key", ref=ref) is None
    given = {
        "email": "ada@example.com",
        "tags": ["a", "b"],
        "xkit_key": "a-key",
        "recordId": ref.crm_id,
    }
    assert crm.ran == [("Welcome", given)]


def test_the_record_that_a_flow_gives_back_is_what_it_made(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    made = salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)
    assert made == RecordRef("Opportunity", next(iter(crm.records["Opportunity"])))


def test_a_flow_that_fails_names_the_input_at_fault(salesforce: SalesforceProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.run_workflow("Won", {}, key="k", ref=None)
    assert [one.path for one in caught.value.errors] == ["name"]
    assert not caught.value.outcome_unknown


def test_a_failed_run_with_a_good_status_is_none_the_less_refused(
    salesforce: SalesforceProvider, crm: SalesforceFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"statusCode": "INVALID_INPUT", "message": "No.", "fields": ["name"]}
    run = {"actionName": "Won", "isSuccess": False, "errors": [error], "outputValues": None}
    monkeypatch.setattr(crm, "run_flow", lambda *_, **__: Response(200, [run]))
    with pytest.raises(RejectedByCRM) as caught:
        salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)
    assert [one.path for one in caught.value.errors] == ["name"]


def test_a_flow_that_was_deactivated_meanwhile_is_refused(
    salesforce: SalesforceProvider, crm: SalesforceFake
) -> None:
    descriptions.workflows(salesforce)
    crm.inactive.add("Won")
    with pytest.raises(RejectedByCRM):
        salesforce.run_workflow("Won", {"name": "Big"}, key="k", ref=None)


def test_flows_are_listed_with_the_inputs_that_can_be_given(
    salesforce: SalesforceProvider,
) -> None:
    listed = {one.name: one for one in salesforce.list_workflows()}
    assert list(listed) == ["Welcome", "Won"], "one that can't be described hides no other"
    inputs = {one.name: one for one in listed["Welcome"].inputs}
    assert "contact" not in inputs, "a whole record can't be given"
    assert inputs["email"].required
    assert inputs["score"].type is RemoteType.NUMBER
    assert inputs["tags"].type is RemoteType.MULTIPICKLIST
