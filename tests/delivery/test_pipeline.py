"""Carrying out one invocation: what is written to the CRM, and what is written down of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, act, held, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm import signals
from xkit_crm.delivery.replay import replay
from xkit_crm.exceptions import CRMUnauthorized, Problem, RejectedByCRM, UnknownRecord
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.providers.base import RecordRef, RemoteRecord
from xkit_crm.providers.sandbox.models import Change, Flow, FlowStep, Org, Request
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def create(name: str = "Sales", **named: Any) -> Invocation:
    return xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": name}, **named)


# -- what goes well -------------------------------------------------------------------------------


def test_a_saved_row_becomes_a_record_and_is_linked_to_it(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple", amount="1200.50")
    assert names() == []
    assert deliver() == 1
    assert held()[0]["Name"] == "Apple"
    assert held()[0]["Amount"] == 1200.5
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
    assert only().record_id == "Opportunity:00001"


def test_an_update_and_a_delete_follow_the_link(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert names() == ["Renamed"]
    deal.delete()
    deliver()
    assert names() == []
    assert states() == ["succeeded"] * 3
    assert not RecordLink.objects.exists()


def test_an_update_before_the_create_was_delivered_waits_for_it(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    deal.title = "Second"
    deal.save()
    deliver()
    assert names() == ["Second"]
    assert states() == ["succeeded", "succeeded"]
    assert list(Change.objects.order_by("id").values_list("operation", flat=True)) == [
        "create",
        "update",
    ]


def test_each_try_is_written_down(sandbox: Connection) -> None:
    create()
    (attempt,) = Attempt.objects.all()
    assert attempt.operation == "create"
    assert attempt.target == "Opportunity"
    assert attempt.sent["Name"] == "Sales"
    assert attempt.received == {"records": [only().result["records"][0]]}
    assert attempt.outcome == "succeeded"
    assert attempt.duration.total_seconds() > 0


def test_an_update_with_nothing_to_write_writes_nothing(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    act("deal_updated", transformations=[{"field": "Name", "kind": "empty"}])
    updated = xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "x"}, record.id)
    assert updated.status == "succeeded"
    assert not Request.objects.filter(operation="update").exists()


def test_a_field_written_only_while_empty_leaves_what_a_person_wrote(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    act(
        "deal_updated",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name", "mode": "when_empty"},
            {"field": "Description", "kind": "static", "value": "new", "mode": "when_empty"},
            {"field": "StageName", "kind": "static", "value": "Proposal", "mode": "on_create"},
        ],
    )
    xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "Renamed"}, record.id)
    assert held()[0]["Name"] == "Sales"
    assert held()[0]["Description"] == "new"
    assert held()[0]["StageName"] == "Prospecting"


def test_an_event_that_the_customer_does_nothing_on_is_skipped(sandbox: Connection) -> None:
    act("deal_created", action="noop", transformations=[])
    invocation = create()
    assert invocation.status == "skipped"
    assert invocation.record is None
    assert held() == []


def test_an_object_that_the_customer_opted_out_of_is_skipped(sandbox: Connection) -> None:
    sandbox.mappings.filter(crm_object__slug="opportunity").update(remote_object="")
    assert create().status == "skipped"


def test_what_finished_is_told_to_the_product(sandbox: Connection, customer: Customer) -> None:
    finished: list[tuple[str, str]] = []
    linked: list[str] = []

    def on_finished(invocation: Invocation, **_: object) -> None:
        finished.append((invocation.event.slug, invocation.status))

    def on_linked(link: RecordLink, **_: object) -> None:
        linked.append(link.record_id)

    signals.invocation_finished.connect(on_finished)
    signals.record_linked.connect(on_linked)
    DealFactory.create(customer=customer)
    with pytest.MonkeyPatch.context() as patch:
        # In a TestCase nothing commits; what would be told then is told at once.
        patch.setattr("django.db.transaction.on_commit", lambda tell, **_: tell())
        deliver()
    assert finished == [("deal_created", "succeeded")]
    assert linked == ["Opportunity:00001"]


# -- handed to the CRM's own workflow -------------------------------------------------------------


@pytest.fixture
def flow(sandbox: Connection) -> Flow:
    """A flow that makes an account, and an opportunity if it is told to answer with one."""
    org = Org.objects.get(slug="acme")
    made = Flow.objects.create(
        org=org,
        name="new_deal",
        label="New deal",
        inputs=[{"name": "title", "required": True}],
    )
    FlowStep.objects.create(
        flow=made, position=1, action="create", object_name="Account", values={"Name": "{title}"}
    )
    FlowStep.objects.create(
        flow=made,
        position=2,
        action="create",
        object_name="Opportunity",
        values={"Name": "{title}", "AccountId": "{step 1}"},
        is_result=True,
    )
    act(
        "deal_created",
        action="workflow",
        workflow="new_deal",
        transformations=[{"field": "title", "kind": "direct", "key": "name"}],
    )
    return made


def test_an_event_may_be_deferred_to_the_crms_workflow(flow: Flow) -> None:
    invocation = create()
    assert invocation.status == "deferred"
    assert invocation.record is not None
    assert invocation.record.data["document_name"] == "Sales"
    assert held("Account") == [{"Name": "Sales"}]


def test_a_workflow_that_does_not_say_which_record_it_made_answers_none(flow: Flow) -> None:
    flow.steps.update(is_result=False)
    invocation = create()
    assert invocation.status == "deferred"
    assert invocation.record is None


def test_a_row_handed_to_such_a_workflow_is_not_created_again_by_its_next_change(
    flow: Flow, customer: Customer
) -> None:
    flow.steps.update(is_result=False)
    deal = DealFactory.create(customer=customer)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert states() == ["deferred", "failed"]
    failed = Invocation.objects.get(status="failed")
    assert "xkit_crm.link()" in str(failed.error)
    assert len(held()) == 1


def test_a_workflow_whose_answer_was_lost_runs_once(flow: Flow, misbehave: Misbehave) -> None:
    misbehave("timeout_after", operation="workflow")
    create()
    deliver()
    assert states() == ["deferred"]
    assert len(held()) == 1


def test_a_workflow_that_is_gone_is_named(flow: Flow) -> None:
    flow.delete()
    with pytest.raises(xkit_crm.exceptions.MappingIncomplete, match="new_deal"):
        create()


# -- what goes wrong ------------------------------------------------------------------------------


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


def test_a_mapping_that_is_not_there_fails_and_says_what_to_do(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    sandbox.mappings.all().delete()
    deliver()
    assert only().status == "failed"
    assert only().error_code == "mapping_incomplete"
    assert "CRM Link" in str(only().error)


def test_a_defect_of_a_provider_stops_only_its_invocation(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.providers.sandbox.provider import SandboxProvider

    create = SandboxProvider.create

    def defective(self: Any, remote_object: str, values: Any, *, key: str) -> Any:
        if values["Name"] == "First":
            raise ZeroDivisionError("oh")
        return create(self, remote_object, values, key=key)

    monkeypatch.setattr(SandboxProvider, "create", defective)
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
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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


@pytest.mark.parametrize("odd", [Decimal("1.5"), object(), "a\0b", "\ud800", float("nan"), {1: 2}])
def test_whatever_a_crm_answers_can_be_stored(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    from xkit_crm.providers.sandbox.provider import SandboxProvider

    def answering(self: Any, ref: RecordRef, fields: Any) -> RemoteRecord:
        return RemoteRecord(ref, dict.fromkeys(fields, odd))

    monkeypatch.setattr(SandboxProvider, "get", answering)
    create()
    assert only().status == "succeeded"
    assert only().record_id == "Opportunity:00001"


def test_words_of_the_crm_that_no_database_holds_are_told_without(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.providers.sandbox.provider import SandboxProvider

    def refusing(self: Any, *args: Any, **named: Any) -> Any:
        raise RejectedByCRM("No\0!", errors=[Problem("Name", "half \ud800 of it")])

    monkeypatch.setattr(SandboxProvider, "create", refusing)
    create()
    assert only().status == "failed"
    assert "No!" in str(only().error)


def test_an_answer_that_can_not_be_stored_ends_there_and_holds_up_nobody(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.providers.sandbox.provider import SandboxProvider

    create_record = SandboxProvider.create

    def naming(self: Any, remote_object: str, values: Any, *, key: str) -> RecordRef:
        ref = create_record(self, remote_object, values, key=key)
        return RecordRef("Opportunity", "9" * 300) if values["Name"] == "First" else ref

    monkeypatch.setattr(SandboxProvider, "create", naming)
    DealFactory.create(customer=customer, title="First")
    DealFactory.create(customer=customer, title="Second")
    deliver()
    assert states() == ["unknown", "succeeded"]
    assert Attempt.objects.count() == 2


def test_a_record_that_was_written_and_can_not_be_read_back_is_written(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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
    act("deal_created", transformations=[{"field": "Amount", "kind": "static", "value": 1}])
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
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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
    from xkit_crm.providers.sandbox.provider import SandboxProvider

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


# -- order ----------------------------------------------------------------------------------------


def test_later_changes_of_a_record_wait_and_other_records_go_on(
    sandbox: Connection, customer: Customer, misbehave: Misbehave, time_machine: Any
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    misbehave("locked_record", operation="create", retry_after=60)
    first = DealFactory.create(customer=customer, title="First")
    first.title = "First, renamed"
    first.save()
    DealFactory.create(customer=customer, title="Second")
    deliver()
    assert names() == ["Second"]
    assert states() == ["pending", "pending", "succeeded"]
    time_machine.move_to("2026-01-01T00:01:01Z", tick=False)
    deliver()
    assert names() == ["Second", "First, renamed"]


def test_events_fired_by_record_id_and_by_its_row_keep_their_order(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    deliver()
    deal.title = "Two"
    deal.save()
    xkit_crm.invoke(
        "acme", "opportunity", "deal_updated", {"name": "Three"}, "Opportunity:00001", wait=False
    )
    assert len(set(Invocation.objects.values_list("record_key", flat=True))) == 1
    deliver()
    assert names() == ["Three"]
