"""The adapter to the sandbox: what a connection sees of it, and that no request is doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.test import Client

from tests.providers.sandbox.conftest import add_flow, ref_of
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import Access, Choice, Criterion, Operator, RecordRef, RemoteType
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record, Request
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.records import delete_record
from xkit_crm.providers.sandbox.standard import add_field, add_object, ensure_org

pytestmark = pytest.mark.django_db


def opened(connection_id: str, **credentials: Any) -> SandboxProvider:
    return SandboxProvider(Access(connection_id, credentials))


# -- which CRM ------------------------------------------------------------------------------------


def test_a_connection_has_a_crm_of_its_own_with_the_standard_objects() -> None:
    described = opened("new").describe_objects()
    assert [row.name for row in described] == [
        "Account",
        "Contact",
        "Lead",
        "Opportunity",
        "Task",
    ]
    assert described[3].plural_label == "Opportunities"
    assert Org.objects.get().slug == "new"


def test_connections_may_share_an_organisation_by_its_name(org: Org) -> None:
    ref = opened("first", org="acme").create("Account", {"Name": "Shared"}, key="k")
    assert opened("second", org="acme").get(ref, ["Name"]).values == {"Name": "Shared"}
    assert Org.objects.count() == 1


@pytest.mark.parametrize("credentials", [{}, {"token": None}, {"token": "wrong"}, {"token": "ü"}])
def test_an_organisation_with_a_token_opens_to_no_other(
    org: Org, credentials: dict[str, Any]
) -> None:
    Org.objects.update(token="right")
    provider = opened("acme", **credentials)
    for _ in range(2):
        with pytest.raises(CRMUnauthorized, match="401") as raised:
            provider.describe_objects()
        assert "right" not in str(raised.value)
    with pytest.raises(CRMUnauthorized):
        provider.create("Account", {"Name": "x"}, key="k")
    assert not Record.objects.exists()


def test_an_organisation_opens_to_its_token_and_without_one_to_any(org: Org) -> None:
    assert opened("acme", token="whatever").describe_objects()
    Org.objects.update(token="right")
    assert opened("acme", token="right").describe_objects()


def test_one_organisation_never_sees_another(provider: SandboxProvider, deal: Record) -> None:
    add_flow(deal.object.org, "note", {"object_name": "Account", "values": {"Name": "x"}})
    add_object(deal.object.org, "Crate")
    provider.create("Account", {"Name": "Ours"}, key="k")
    other, ref = opened("globex"), ref_of(deal)
    assert "Crate" not in {row.name for row in other.describe_objects()}
    assert list(other.list_workflows()) == []
    assert list(other.search("Opportunity", [], [], limit=10)) == []
    assert other.find_created("Account", key="k") is None
    assert other.record_url(ref) != provider.record_url(ref)
    with pytest.raises(CRMError, match="no object 'Crate'"):
        other.describe_fields("Crate")
    for request in (
        lambda: other.get(ref, ["Name"]),
        lambda: other.update(ref, {"Name": "Theirs"}),
        lambda: other.delete(ref),
    ):
        with pytest.raises(RemoteRecordNotFound):
            request()
    with pytest.raises(RejectedByCRM, match="no active flow"):
        other.run_workflow("note", {}, key="k", ref=None)
    assert provider.get(ref, ["Name"]).values == {"Name": "Sales contract"}


# -- describing -----------------------------------------------------------------------------------


def test_fields_are_described_as_the_crm_will_treat_them(
    org: Org, provider: SandboxProvider
) -> None:
    fields = {field.name: field for field in provider.describe_fields("Opportunity")}
    assert (fields["Name"].required, fields["Name"].max_length) == (True, 120)
    assert not fields["StageName"].required, "it has a default"
    assert fields["StageName"].choices[0] == Choice("Prospecting", "Prospecting")
    assert fields["Tags"].type is RemoteType.MULTIPICKLIST
    assert fields["AccountId"].references == ("Account",)
    assert not fields["CreatedAt"].createable
    assert not fields["CreatedAt"].updateable


def test_every_required_field_is_enough_for_a_record(provider: SandboxProvider) -> None:
    for remote in provider.describe_objects():
        needed = [f.name for f in provider.describe_fields(remote.name) if f.required]
        assert provider.create(remote.name, dict.fromkeys(needed, "x"), key="k")


def test_what_a_customer_adds_is_described_and_takes_values(
    org: Org, provider: SandboxProvider
) -> None:
    add_object(org, "Agreement__c", label="Agreement")
    add_field(org, "Agreement__c", "Title__c", label="Title", required=True)
    assert [f.name for f in provider.describe_fields("Agreement__c")] == [
        "CreatedAt",
        "UpdatedAt",
        "Title__c",
    ]
    ref = provider.create("Agreement__c", {"Title__c": "NDA"}, key="k")
    assert str(ref) == "Agreement__c:00001"
    by_title = [Criterion("Title__c", Operator.EQUALS, "NDA")]
    (found,) = provider.search("Agreement__c", by_title, ["Title__c"], limit=5)
    assert (found.ref, found.values) == (ref, {"Title__c": "NDA"})


def test_an_object_that_is_not_there_is_told(provider: SandboxProvider) -> None:
    with pytest.raises(CRMError, match="no object 'Invoice'"):
        provider.describe_fields("Invoice")


# -- records --------------------------------------------------------------------------------------


def test_a_record_is_made_read_changed_found_and_deleted(provider: SandboxProvider) -> None:
    ref = provider.create("Account", {"Name": "Acme"}, key="k")
    provider.update(ref, {"Industry": "Software"})
    assert provider.get(ref, ["Name", "Industry", "Website", "NoSuchField"]).values == {
        "Name": "Acme",
        "Industry": "Software",
        "Website": None,
        "NoSuchField": None,
    }
    by_industry = [Criterion("Industry", Operator.EQUALS, "Software")]
    (found,) = provider.search("Account", by_industry, ["Name"], limit=5)
    assert (found.ref, found.values) == (ref, {"Name": "Acme"})
    provider.delete(ref)
    with pytest.raises(RemoteRecordNotFound):
        provider.delete(ref)
    written = Request.objects.order_by("pk").values_list("operation", flat=True)
    assert list(written) == ["create", "update", "delete"]


def test_a_refusal_names_the_remote_fields(provider: SandboxProvider) -> None:
    with pytest.raises(RejectedByCRM, match="refused the Account") as raised:
        provider.create("Account", {"Industry": "Farming"}, key="k")
    assert {problem.path for problem in raised.value.errors} == {"Name", "Industry"}
    assert not Request.objects.exists()


def test_a_record_has_a_page_for_people_whose_address_costs_no_query(
    provider: SandboxProvider, deal: Record, admin_client: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        address = opened("acme").record_url(ref_of(deal))
    page = admin_client.get(address, follow=True)
    assert b"Sales contract" in page.content


@pytest.mark.parametrize("crm_id", ["00002", "abc", "-1", "9" * 30, "9" * 5000])
def test_what_is_not_there_has_no_page(
    provider: SandboxProvider, deal: Record, admin_client: Client, crm_id: str
) -> None:
    address = provider.record_url(RecordRef("Opportunity", crm_id))
    assert admin_client.get(address).status_code == 404


def test_what_another_organisation_has_has_no_page_in_this_one(
    deal: Record, admin_client: Client
) -> None:
    address = opened("globex").record_url(ref_of(deal))
    assert admin_client.get(address).status_code == 404


def test_only_who_may_look_at_records_is_led_to_one(
    provider: SandboxProvider, deal: Record, client: Client
) -> None:
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    assert client.get(provider.record_url(ref_of(deal))).status_code == 403


# -- nothing is done twice ------------------------------------------------------------------------


def time_out(org: Org, kind: str, operation: str) -> None:
    Misbehaviour.objects.create(org=org, kind=kind, operation=operation, remaining=1)


def test_what_was_created_before_the_answer_got_lost_is_found_by_its_key(
    org: Org, provider: SandboxProvider
) -> None:
    time_out(org, Misbehaviour.Kind.TIMEOUT_AFTER, "create")
    with pytest.raises(CRMUnavailable):
        provider.create("Account", {"Name": "Acme"}, key="mine")
    found = provider.find_created("Account", key="mine")
    assert found is not None
    assert provider.get(found, ["Name"]).values == {"Name": "Acme"}
    assert provider.find_created("Account", key="another") is None


def test_what_was_not_created_is_not_found(org: Org, provider: SandboxProvider) -> None:
    time_out(org, Misbehaviour.Kind.TIMEOUT_BEFORE, "create")
    with pytest.raises(CRMUnavailable):
        provider.create("Account", {"Name": "Acme"}, key="mine")
    assert provider.find_created("Account", key="mine") is None


def test_what_was_created_is_found_even_when_somebody_has_deleted_it(
    org: Org, provider: SandboxProvider
) -> None:
    ref = provider.create("Account", {"Name": "Acme"}, key="mine")
    delete_record(org, ref)
    assert provider.find_created("Account", key="mine") == ref


@pytest.fixture
def _the_log_breaks(org: Org) -> Iterator[None]:
    def die(**_: object) -> None:
        raise OSError("the disk is full")

    post_save.connect(die, sender=Request)
    yield
    post_save.disconnect(die, sender=Request)


@pytest.mark.usefixtures("_the_log_breaks")
def test_a_write_that_could_not_be_logged_has_not_happened(
    provider: SandboxProvider, deal: Record
) -> None:
    add_flow(deal.object.org, "note", {"object_name": "Account", "values": {"Name": "x"}})
    for request in (
        lambda: provider.create("Account", {"Name": "x"}, key="k"),
        lambda: provider.update(ref_of(deal), {"Name": "x"}),
        lambda: provider.delete(ref_of(deal)),
        lambda: provider.run_workflow("note", {}, key="k", ref=None),
    ):
        with pytest.raises(OSError, match="disk"):
            request()
    assert Record.objects.get().history.count() == 1


def test_a_workflow_with_the_same_key_does_its_work_once(
    org: Org, provider: SandboxProvider
) -> None:
    step = {"object_name": "Account", "values": {"Name": "x"}}
    add_flow(org, "with_result", step | {"is_result": True})
    add_flow(org, "without", step)
    time_out(org, Misbehaviour.Kind.TIMEOUT_AFTER, "workflow")
    with pytest.raises(CRMUnavailable):
        provider.run_workflow("with_result", {}, key="a", ref=None)
    made = provider.run_workflow("with_result", {}, key="a", ref=None)
    assert made == RecordRef("Account", "00001")
    assert provider.find_created("Account", key="a") == made
    assert provider.run_workflow("without", {}, key="b", ref=None) is None
    assert provider.run_workflow("without", {}, key="b", ref=None) is None
    assert Record.objects.count() == 2
    provider.run_workflow("without", {}, key="c", ref=None)
    assert Record.objects.count() == 3


def test_a_workflow_that_was_refused_may_be_tried_again(
    org: Org, provider: SandboxProvider
) -> None:
    step = {"object_name": "Account", "values": {"Name": "{name}"}, "is_result": True}
    add_flow(org, "note", step, inputs=[{"name": "name", "required": True}])
    with pytest.raises(RejectedByCRM, match="the flow needs this input"):
        provider.run_workflow("note", {}, key="a", ref=None)
    assert provider.run_workflow("note", {"name": "x"}, key="a", ref=None) is not None


def test_workflows_are_listed_with_their_inputs_while_they_are_on(
    org: Org, provider: SandboxProvider
) -> None:
    inputs = [{"name": "day", "label": "Day", "type": "date", "required": True}, {"name": "note"}]
    flow = add_flow(org, "plan", inputs=inputs)
    (workflow,) = provider.list_workflows()
    day, note = workflow.inputs
    assert (workflow.name, workflow.label) == ("plan", "Plan")
    assert (day.label, day.type, day.required) == ("Day", RemoteType.DATE, True)
    assert (note.label, note.type, note.required) == ("note", RemoteType.STRING, False)
    flow.active = False
    flow.save()
    assert list(provider.list_workflows()) == []


def test_a_workflow_runs_on_the_record_of_its_event(
    org: Org, provider: SandboxProvider, deal: Record
) -> None:
    update = {"action": "update", "values": {"StageName": "Closed Won"}, "is_result": True}
    add_flow(org, "win", update)
    assert provider.run_workflow("win", {}, key="a", ref=ref_of(deal)) == ref_of(deal)
    assert provider.get(ref_of(deal), ["StageName"]).values == {"StageName": "Closed Won"}


def test_an_organisation_that_is_there_is_left_as_its_customer_bent_it() -> None:
    org = ensure_org("acme", name="Acme's")
    org.object_types.exclude(name="Lead").delete()
    assert [row.name for row in opened("acme").describe_objects()] == ["Lead"]
    assert ensure_org("acme").name == "Acme's"
