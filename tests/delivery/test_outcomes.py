"""What goes wrong in a CRM, and what is written down of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, held, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm import mappings, signals
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.replay import replay
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    UnknownRecord,
)
from xkit_crm.models import Attempt, Connection, Invocation, MappingVersion, RecordLink
from xkit_crm.providers.base import Draft
from xkit_crm.providers.sandbox.models import Flow, Request
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "locked_record"])
def test_what_passes_is_tried_again_when_the_crm_says(
    sandbox: Connection, misbehave: Misbehave, kind: str, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave(kind, operation="create", retry_after=7)
    waiting = create()
    assert waiting.status == "pending"
    assert waiting.error is not None
    assert deliver() == 0
    time_machine.move_to("2026-01-01T00:00:08Z", tick=False)
    deliver()
    assert only().status == "succeeded"
    assert only().error is None
    assert names() == ["Sales"]
    outcomes = Attempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["failed", "succeeded"]


def test_a_pause_that_the_crm_asked_for_holds_the_whole_lane(
    sandbox: Connection, misbehave: Misbehave, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("rate_limit", operation="create", retry_after=7)
    create("First")
    create("Second")
    assert deliver() == 0
    time_machine.move_to("2026-01-01T00:00:08Z", tick=False)
    deliver()
    assert names() == ["First", "Second"]


def test_a_write_that_timed_out_is_tried_again(sandbox: Connection, misbehave: Misbehave) -> None:
    misbehave("timeout_before", operation="create")
    assert create().status == "succeeded"
    assert names() == ["Sales"]
    outcomes = Attempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["unknown", "succeeded"]


def test_a_create_whose_answer_was_lost_is_looked_up_and_not_doubled(
    sandbox: Connection, misbehave: Misbehave
) -> None:
    misbehave("timeout_after", operation="create")
    create()
    assert names() == ["Sales"]
    assert only().status == "succeeded"
    assert only().record_id == "Opportunity:00001"
    assert not only().doubtful
    outcomes = Attempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["unknown", "succeeded"]
    assert Request.objects.filter(operation="create").count() == 1


def test_a_refusal_fails_at_once_in_the_crms_words(sandbox: Connection, customer: Customer) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "direct", "key": "name"}])
    deal = DealFactory.create(customer=customer)
    Deal.objects.filter(pk=deal.pk).update(title="")
    Invocation.objects.update(payload={"name": None})
    deliver()
    failed = only()
    assert failed.status == "failed"
    assert failed.tries == 1
    assert failed.error is not None
    assert failed.error.code == "rejected_by_crm"
    assert [str(problem) for problem in failed.error.errors] == [
        "payload.name: Name: Opportunity Name is required."
    ]


def test_after_the_last_try_it_fails(
    sandbox: Connection, misbehave: Misbehave, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 3}
    misbehave("unavailable", times=None)
    create()
    failed = only()
    assert (failed.status, failed.tries) == ("failed", 3)
    assert failed.error_code == "crm_unavailable"


def test_refused_credentials_break_the_connection_and_lose_nothing(
    sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    changes = []

    def on_changed(new_status: str, reason: str, **_: object) -> None:
        changes.append((new_status, reason))

    signals.connection_status_changed.connect(on_changed)
    token = misbehave("expired_token", times=None)
    DealFactory.create(customer=customer, title="First")
    DealFactory.create(customer=customer, title="Second")
    deliver()
    sandbox.refresh_from_db()
    assert sandbox.status == "errored"
    assert "401" in sandbox.status_reason
    assert states() == ["pending", "pending"]
    assert deliver() == 0
    token.delete()
    xkit_crm.connect("acme", provider="sandbox")
    deliver()
    assert names() == ["First", "Second"]


def test_a_mapping_that_is_not_there_is_waited_for_and_says_what_to_do(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    sandbox.mappings.all().delete()
    deliver()
    assert only().status == "pending"
    assert only().error_code == "mapping_incomplete"
    assert "CRM Link" in str(only().error)


def test_a_defect_of_a_provider_stops_only_its_invocation(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = SandboxProvider._create

    def defective(self: Any, struck: Any, remote_object: str, draft: Draft) -> Any:
        if draft.values["Name"] == "First":
            raise ZeroDivisionError("oh")
        return create(self, struck, remote_object, draft)

    monkeypatch.setattr(SandboxProvider, "_create", defective)
    DealFactory.create(customer=customer, title="First")
    DealFactory.create(customer=customer, title="Second")
    deliver()
    assert names() == ["Second"]
    stopped = Invocation.objects.order_by("id").first()
    assert stopped is not None
    # It broke while it was writing, so nobody knows.
    assert stopped.status == "unknown"
    assert "ZeroDivisionError" in str(stopped.error)


def test_what_a_provider_says_in_its_exceptions_is_not_shown(
    sandbox: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox.credentials = {"api_key": "SECRET-123"}
    sandbox.save()

    def leaking(self: SandboxProvider, *args: Any, **named: Any) -> Any:
        raise RuntimeError(f"GET https://crm.test/?key={self.access.credentials['api_key']} failed")

    monkeypatch.setattr(SandboxProvider, "create", leaking)
    create()
    shown = f"{only().error_detail}{Attempt.objects.get().error}{caplog.text}"
    assert "RuntimeError" in shown
    assert "SECRET-123" not in shown

    def refusing(self: SandboxProvider, *args: Any, **named: Any) -> Any:
        raise RejectedByCRM("The key SECRET-123 may not do this.")

    monkeypatch.setattr(SandboxProvider, "create", refusing)
    create("Second")
    assert "The key [redacted] may not" in str(Attempt.objects.latest("id").error)


def test_a_record_that_was_written_and_can_not_be_read_back_is_written(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "get", lambda *_: 1 / 0)
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    assert only().status == "succeeded"
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
    assert only().result["records"][0]["data"]["document_name"] == "Apple"


def test_a_doubtful_create_that_is_not_there_and_is_refused_has_failed(
    sandbox: Connection,
) -> None:
    create(wait=False)
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": None}])
    Invocation.objects.update(doubtful=True)
    deliver()
    assert only().status == "failed"
    assert not only().doubtful


def test_a_doubtful_create_whose_tries_run_out_is_unknown(
    sandbox: Connection, misbehave: Misbehave, settings: Any
) -> None:
    create(wait=False)
    Invocation.objects.update(doubtful=True, tries=11)
    misbehave("unavailable", operation="describe")
    deliver()
    assert only().status == "unknown"


@pytest.mark.parametrize("action", ["create", "workflow"])
def test_what_a_killed_worker_left_is_unknown_where_the_crm_can_not_be_asked(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    if action == "create":
        name = [{"field": "Name", "kind": "direct", "key": "name"}]
        act("deal_created", action="create", workflow="", transformations=name)
    create(wait=False)
    Invocation.objects.update(doubtful=True, tries=1)
    deliver()
    assert only().status == "unknown"
    assert held() == []
    replay([only()])
    deliver()
    assert only().status in ("succeeded", "deferred")
    assert names() == ["Sales"]


def test_a_record_of_another_object_is_no_record_of_this_one(sandbox: Connection) -> None:
    from xkit_crm.providers.registry import provider_for

    account = str(provider_for(sandbox).create("Account", {"Name": "Theirs"}, key="k"))
    for event in ("deal_updated", "deal_deleted"):
        with pytest.raises(UnknownRecord, match="no opportunity"):
            xkit_crm.invoke("acme", "opportunity", event, {"name": "x"}, account)
    assert held("Account") == [{"Name": "Theirs"}]


def test_a_record_of_another_object_that_a_workflow_made_is_not_linked(
    flow: Flow, customer: Customer
) -> None:
    flow.steps.filter(object_name="Opportunity").delete()
    flow.steps.update(is_result=True)
    deal = DealFactory.create(customer=customer)
    deliver()
    assert states() == ["deferred"]
    assert not xkit_crm.links(deal).exists()


def test_a_delete_that_the_customer_does_nothing_on_still_ends_the_link(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    act("deal_deleted", action="noop", transformations=[])
    deal.delete()
    deliver()
    assert states() == ["succeeded", "skipped"]
    assert not RecordLink.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_connection_deleted_during_a_call_takes_its_invocations_with_it(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_record = SandboxProvider.create

    def deleting(self: Any, *args: Any, **named: Any) -> Any:
        ref = create_record(self, *args, **named)
        Connection.objects.get(pk="acme").delete()
        return ref

    monkeypatch.setattr(SandboxProvider, "create", deleting)
    create(wait=False)
    deliver()
    assert not Invocation.objects.exists()
    assert not Attempt.objects.exists()


def test_a_row_whose_model_is_gone_is_still_written(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    Invocation.objects.update(content_type=None)
    deliver()
    assert only().status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_credentials_refused_in_flight_leave_new_ones_alone(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(self: Any, *args: Any, **named: Any) -> Any:
        monkeypatch.undo()
        xkit_crm.connect("acme", provider="sandbox", credentials={"token": "new"})
        raise CRMUnauthorized("The old token is not valid any more.")

    monkeypatch.setattr(SandboxProvider, "create", refusing)
    create()
    deliver()
    assert Connection.objects.get().status == "enabled"
    assert states() == ["succeeded"]


def test_a_crm_that_can_not_be_asked_leaves_it_to_a_person(
    sandbox: Connection, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    misbehave("timeout_after", operation="create")
    unknown = create()
    assert unknown.status == "unknown"
    assert deliver() == 0
    assert names() == ["Sales"]


def test_a_record_that_is_gone_is_told_to_who_named_it(sandbox: Connection) -> None:
    for event in ("deal_updated", "deal_deleted"):
        failed = xkit_crm.invoke("acme", "opportunity", event, {"name": "x"}, "Opportunity:99999")
        assert (failed.status, failed.error_code) == ("failed", "unknown_record")


def test_a_row_whose_record_a_person_deleted_is_deleted_without_complaint(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    xkit_crm.invoke("acme", "opportunity", "deal_deleted", {}, "Opportunity:00001")
    deal.delete()
    deliver()
    assert states() == ["succeeded"] * 3


def test_a_defect_is_written_down_although_the_credentials_can_not_be_read(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    DealFactory.create(customer=customer)
    Connection.objects.update(credentials_cipher="garbage")
    monkeypatch.setattr("xkit_crm.delivery.preparing.retarget", lambda *_: 1 / 0)
    deliver()
    assert only().status == "failed"
    assert "ZeroDivisionError" in str(only().error)


def test_excused_tries_are_counted_however_long_a_crm_is_down(
    sandbox: Connection, misbehave: Misbehave, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("rate_limit", operation="create", retry_after=7)
    create(wait=False)
    Invocation.objects.update(tries=32767, forgiven=32767)
    drain("acme")
    assert (only().status, only().tries, only().forgiven) == ("pending", 32768, 32768)
    time_machine.move_to("2026-01-01T00:00:08Z", tick=False)
    drain("acme")
    assert only().status == "succeeded"
    assert list(Attempt.objects.values_list("number", flat=True)) == [32768, 32769]


# -- which version of the mapping ----------------------------------------------------------------


def test_each_try_says_which_version_of_the_mapping_it_carried_out(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    deliver()
    assert only().mapping_version == sandbox.mapping_version == 1
    act("deal_created", transformations=[{"field": "Name", "kind": "direct", "key": "name"}])
    mappings.record(sandbox)
    DealFactory.create(customer=customer)

    deliver()

    versions = Invocation.objects.order_by("id").values_list("mapping_version", flat=True)
    assert list(versions) == [1, 2]


def test_a_mapping_that_was_never_put_in_force_is_no_version(
    sandbox: Connection, customer: Customer
) -> None:
    MappingVersion.objects.all().delete()
    Connection.objects.update(mapping_version=0)
    DealFactory.create(customer=customer)

    deliver()

    assert only().mapping_version is None


def test_a_database_that_is_busy_while_it_is_prepared_is_waited_for(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    DealFactory.create(customer=customer)

    def busy(*_: object) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    with monkeypatch.context() as patch:
        patch.setattr("xkit_crm.delivery.decisions._decision", busy)
        drain("acme", limit=1)
    assert (only().status, only().error_code) == ("pending", "database_unavailable")
    Invocation.objects.update(due_at=timezone.now())
    deliver()
    assert states() == ["succeeded"]


def test_an_adapter_that_can_not_be_made_breaks_the_connection_and_says_why(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    DealFactory.create(customer=customer)

    def failing(self: SandboxProvider, access: Any) -> None:
        raise KeyError("domain")

    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "__init__", failing)
        deliver()
    assert states() == ["pending"]
    assert Connection.objects.get().status == "errored"
    assert "KeyError" in only().error_detail["message"]


@pytest.mark.parametrize("seconds", [1e300, 1e12])
@pytest.mark.parametrize("kind", [RateLimited, CRMUnavailable])
def test_a_crm_that_asks_for_any_pause_gets_one(
    sandbox: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[CRMError],
    seconds: float,
) -> None:
    DealFactory.create(customer=customer)
    calls: list[int] = []

    def create_many(self: SandboxProvider, *_: object) -> None:
        calls.append(1)
        raise kind("Later.", retry_after=seconds)

    monkeypatch.setattr(SandboxProvider, "create_many", create_many)
    deliver()
    deliver()
    assert (states(), len(calls)) == (["pending"], 1)
