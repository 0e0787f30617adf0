"""Shadow mode: what would be sent is seen before anything is, and one switch sends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, act, create, held, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from tests.threads import elsewhere
from xkit_crm.connections import disconnect
from xkit_crm.delivery import line, outcomes, shadow
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.replay import replay, skip
from xkit_crm.exceptions import CRMError, CRMUnauthorized, CRMUnavailable, RateLimited
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.models.invocation import NEVER
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox.models import Flow, Request
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.fixture
def shadowed(sandbox: Connection) -> Connection:
    shadow.start(sandbox)
    return sandbox


def test_what_is_captured_is_mapped_and_logged_and_not_sent(
    shadowed: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer, title="Apple")
    assert deliver() == 1
    assert deliver() == 0
    assert held() == []
    assert not Request.objects.exists()
    assert states() == ["pending"]
    attempt = Attempt.objects.get()
    assert attempt.outcome == "rehearsed"
    assert attempt.sent["Name"] == "Apple"


def test_the_report_says_what_would_happen(shadowed: Connection, customer: Customer) -> None:
    DealFactory.create_batch(3, customer=customer)
    changed = DealFactory.create(customer=customer)
    changed.title = "Renamed"
    changed.save()
    deliver()
    found = shadow.report(shadowed)
    assert (found.waiting, found.not_rehearsed) == (4, 0)
    assert dict(found.writes) == {("create", "Opportunity"): 4}
    assert found.calls == 1


def test_the_report_says_what_would_fail(shadowed: Connection, customer: Customer) -> None:
    DealFactory.create(customer=customer)
    shadowed.mappings.all().delete()
    deliver()
    ((message, count),) = shadow.report(shadowed).problems.items()
    assert "has not decided" in message
    assert count == 1
    assert states() == ["pending"]


def test_the_report_says_where_nothing_would_be_done_and_counts_no_call_for_it(
    sandbox: Connection, customer: Customer, capsys: pytest.CaptureFixture[str]
) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.all().delete()  # it never reached the CRM
    shadow.start(sandbox)
    deal.delete()
    act("deal_created", action="noop", transformations=[])
    create()
    deliver()
    found = shadow.report(sandbox)
    assert (found.waiting, found.nothing, found.calls) == (2, 2, 0)
    assert (found.writes, found.problems) == ({}, {})
    call_command("xkit_shadow", "acme")
    assert capsys.readouterr().out == "2 invocation(s) wait.\n        2  nothing to do\n"


def test_what_joins_later_is_rehearsed_again(shadowed: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, title="First")
    deliver()
    deal.title = "Second"
    deal.save()
    deliver()
    assert states() == ["pending", "superseded"]
    assert Attempt.objects.latest("id").sent["Name"] == "Second"


def test_going_live_sends_what_waits_in_its_order(shadowed: Connection, customer: Customer) -> None:
    first = DealFactory.create(customer=customer, title="First")
    DealFactory.create(customer=customer, title="Second")
    deliver()
    first.title = "First, renamed"
    first.save()
    deliver()
    assert shadow.go_live(shadowed) == 2
    deliver()
    assert names() == ["First, renamed", "Second"]
    assert states() == ["succeeded", "succeeded", "superseded"]


def test_going_live_overlooks_nothing_that_is_rehearsed_at_that_moment(
    shadowed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rehearsal = outcomes.write_rehearsal

    def after_going_live(*args: Any) -> int:
        shadow.go_live(shadowed)
        return write_rehearsal(*args)

    monkeypatch.setattr(outcomes, "write_rehearsal", after_going_live)
    create()
    assert not Invocation.objects.filter(status="pending", due_at=NEVER).exists()


@pytest.mark.django_db(transaction=True)
def test_nobody_who_saves_waits_for_a_rehearsal(
    shadowed: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.features.has_select_for_no_key_update:
        pytest.skip("only PostgreSQL tells who refers to a row from who changes it")
    still_waiting = outcomes._still_waiting

    def while_another_is_saved(tries: Any) -> Any:
        elsewhere(lambda: DealFactory.create(customer=customer))
        return still_waiting(tries)

    create(wait=False)
    monkeypatch.setattr(outcomes, "_still_waiting", while_another_is_saved)
    assert drain("acme", limit=1) == 1


def test_what_is_skipped_while_it_is_rehearsed_may_be_replayed(
    shadowed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt of a try that isn't counted would be in the way of the next one for ever."""
    write_rehearsal = outcomes.write_rehearsal

    def after_it_was_skipped(*args: Any) -> int:
        skip([only()])
        return write_rehearsal(*args)

    create(wait=False)
    with monkeypatch.context() as patched:
        patched.setattr(outcomes, "write_rehearsal", after_it_was_skipped)
        deliver()
    assert states() == ["skipped"]
    assert not Attempt.objects.exists()
    replay([only()])
    deliver()
    assert shadow.go_live(shadowed) == 1
    deliver()
    assert states() == ["succeeded"]
    assert names() == ["Sales"]


def test_what_a_caller_waits_for_is_rehearsed_and_sent_with_the_others(
    sandbox: Connection, customer: Customer, flow: Flow
) -> None:
    """Although it stands behind one that has been rehearsed, and doesn't join it."""
    act(
        "deal_created",
        action="create",
        workflow="",
        transformations=[{"field": "Name", "kind": "direct", "key": "name"}],
    )
    deal = DealFactory.create(customer=customer)
    deliver()
    act(
        "deal_updated",
        action="workflow",
        workflow="new_deal",
        transformations=[{"field": "title", "kind": "direct", "key": "name"}],
    )
    shadow.start(sandbox)
    deal.title = "Two"
    deal.save()
    deliver()
    record_id = RecordLink.objects.get().record_id
    xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "Three"}, record_id)
    assert not Invocation.objects.filter(status="pending").exclude(due_at=NEVER).exists()
    shadow.go_live(sandbox)
    deliver()
    assert states() == ["succeeded", "deferred", "deferred"]


def test_who_read_the_connection_before_it_went_into_the_shadow_sends_nothing(
    sandbox: Connection,
) -> None:
    read_before = Connection.objects.get()
    shadow.start(sandbox)
    xkit_crm.invoke(read_before, "opportunity", "deal_created", {"name": "Sales"})
    assert held() == []
    assert Attempt.objects.get().outcome == "rehearsed"


def slow_down(
    monkeypatch: pytest.MonkeyPatch, before_each: Callable[[SandboxProvider], None]
) -> None:
    """Have each record made by a call of its own, which takes half as long as it is good for what
    is known of the connection."""
    create = SandboxProvider.create

    def create_slowly(self: SandboxProvider, *args: Any, **named: Any) -> RecordRef:
        before_each(self)
        time.sleep(line.KNOWN / 2)
        return create(self, *args, **named)

    monkeypatch.setattr(line, "KNOWN", 0.05)
    monkeypatch.setattr(SandboxProvider, "batch_size", 1)
    monkeypatch.setattr(SandboxProvider, "create", create_slowly)


def switch_off(connection: Connection) -> None:
    disconnect(connection, "The customer has left.")


@pytest.mark.parametrize("stop", [shadow.start, switch_off])
def test_who_stops_a_connection_need_not_wait_for_all_that_a_worker_looked_at_before(
    sandbox: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[Connection], None],
) -> None:
    """With a slow CRM that takes long, and nobody may be called for a customer who has left."""

    def step_in(_: SandboxProvider) -> None:
        if not held():
            stop(Connection.objects.get())

    slow_down(monkeypatch, step_in)
    DealFactory.create_batch(20, customer=customer)
    drain("acme")
    assert 1 <= len(held()) <= 4
    assert states().count("pending") == 20 - len(held())


def test_a_rehearsal_that_no_database_holds_says_so_and_holds_up_nobody(
    shadowed: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe_fields(*_: object) -> None:
        raise CRMError("Broken answer: \0")

    with monkeypatch.context() as broken:
        broken.setattr(SandboxProvider, "describe_fields", describe_fields)
        DealFactory.create(customer=customer)
        deliver()
    (attempt,) = only().attempts.all()
    assert attempt.error["message"].startswith("Broken answer: ")
    assert only().due_at == NEVER


def test_nor_is_it_written_to_the_account_that_the_customer_has_left(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_as: list[Any] = []

    def step_in(provider: SandboxProvider) -> None:
        if not written_as:
            xkit_crm.connect("acme", provider="sandbox", credentials={"account": "another"})
        written_as.append(provider.access.credentials.get("account"))

    slow_down(monkeypatch, step_in)
    DealFactory.create_batch(20, customer=customer)
    drain("acme")
    assert 1 <= written_as.count(None) <= 4
    assert written_as.count("another") == 20 - written_as.count(None)


@pytest.mark.parametrize(
    "passing", [CRMUnavailable("It is down."), RateLimited("Slower!", retry_after=0.1)]
)
def test_what_passes_by_itself_is_not_told_as_what_would_go_wrong(
    shadowed: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    time_machine: Any,
    passing: CRMError,
) -> None:
    with monkeypatch.context() as away:
        away.setattr(SandboxProvider, "describe_fields", raising(passing))
        DealFactory.create(customer=customer, title="Apple")
        deliver()
        assert deliver() == 0
        time_machine.move_to(timezone.now() + timedelta(minutes=1))
        deliver()
    found = shadow.report(shadowed)
    assert (found.waiting, found.not_rehearsed, found.problems) == (1, 1, {})
    assert not Attempt.objects.exists()  # an outage of hours would fill the log with them
    time_machine.move_to(timezone.now() + timedelta(minutes=1))
    deliver()
    assert dict(shadow.report(shadowed).writes) == {("create", "Opportunity"): 1}


def test_refused_credentials_are_told_and_what_waits_is_rehearsed_with_new_ones(
    shadowed: Connection,
    customer: Customer,
    monkeypatch: pytest.MonkeyPatch,
    time_machine: Any,
) -> None:
    with monkeypatch.context() as refusing:
        refused = CRMUnauthorized("The token was revoked.")
        refusing.setattr(SandboxProvider, "describe_fields", raising(refused))
        DealFactory.create(customer=customer, title="Apple")
        deliver()
    shadowed.refresh_from_db()
    assert (shadowed.status, shadowed.status_reason) == ("errored", "The token was revoked.")
    xkit_crm.connect("acme", provider="sandbox")
    time_machine.move_to(timezone.now() + timedelta(minutes=1))
    deliver()
    found = shadow.report(shadowed)
    assert (found.not_rehearsed, found.problems) == (0, {})
    assert dict(found.writes) == {("create", "Opportunity"): 1}


def test_credentials_that_were_refused_are_not_tried_again_for_what_is_left(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"field": "Name", "kind": "direct", "key": "name", "mode": "protect"}
    act("deal_updated", transformations=[name])
    deals = DealFactory.create_batch(3, customer=customer)
    deliver()
    shadow.start(sandbox)
    asked: list[RecordRef] = []

    def get(self: SandboxProvider, ref: RecordRef, names: Any) -> None:
        asked.append(ref)
        raise CRMUnauthorized("The token was revoked.")

    monkeypatch.setattr(SandboxProvider, "batch_size", 1)
    monkeypatch.setattr(SandboxProvider, "get", get)
    with transaction.atomic():
        for deal in deals:
            deal.title += " again"
            deal.save()
    deliver()
    assert len(asked) == 1
    assert Connection.objects.get().status == "errored"


def raising(error: CRMError) -> Any:
    def describe_fields(*_: object) -> None:
        raise error

    return describe_fields


def test_the_product_hears_of_what_is_discarded(
    shadowed: Connection,
    customer: Customer,
    heard: list[Invocation],
    django_capture_on_commit_callbacks: Any,
) -> None:
    DealFactory.create(customer=customer)
    deliver()
    with django_capture_on_commit_callbacks(execute=True):
        shadow.go_live(shadowed, discard=True)
    assert [one.status for one in heard] == ["skipped"]


def test_rehearsing_uses_up_no_tries(
    shadowed: Connection, customer: Customer, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 1}
    DealFactory.create(customer=customer)
    deliver()
    shadow.go_live(shadowed)
    deliver()
    assert only().status == "succeeded"
    assert only().tries == 2


def test_going_live_may_leave_out_what_waits(shadowed: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, title="Old")
    deliver()
    assert shadow.go_live(shadowed, discard=True) == 1
    deliver()
    assert held() == []
    deal.title = "New"
    deal.save()
    deliver()
    assert names() == ["New"]
    assert states() == ["skipped", "succeeded"]


@pytest.fixture
def in_doubt(sandbox: Connection, customer: Customer, misbehave: Misbehave) -> Deal:
    """A row that may have been created when shadow mode began."""
    misbehave("timeout_after", operation="create")
    deal: Deal = DealFactory.create(customer=customer, title="Old")
    drain("acme", limit=1)
    shadow.start(sandbox)
    return deal


def test_a_create_that_may_have_been_made_is_not_left_out(
    sandbox: Connection, customer: Customer, in_doubt: Deal
) -> None:
    DealFactory.create(customer=customer, title="Other")
    drain("acme")
    assert shadow.go_live(sandbox, discard=True) == 1
    in_doubt.title = "New"
    in_doubt.save()
    deliver()
    assert names() == ["New"]
    assert states() == ["succeeded", "skipped", "succeeded"]


def test_a_create_that_may_have_been_made_is_left_out_once_its_row_is_linked(
    sandbox: Connection, in_doubt: Deal
) -> None:
    xkit_crm.link(in_doubt, sandbox, "Opportunity:00001")
    assert shadow.go_live(sandbox, discard=True) == 1
    in_doubt.title = "New"
    in_doubt.save()
    deliver()
    assert names() == ["New"]
    assert states() == ["skipped", "succeeded"]


def test_a_caller_who_waits_is_told_that_it_is_pending(shadowed: Connection) -> None:
    assert create().status == "pending"
    assert Attempt.objects.get().outcome == "rehearsed"
    assert held() == []


def test_an_event_with_nothing_to_do_waits_as_well(shadowed: Connection) -> None:
    act("deal_created", action="noop", transformations=[])
    create()
    assert states() == ["pending"]
    act(
        "deal_created",
        action="create",
        transformations=[{"field": "Name", "kind": "static", "value": "x"}],
    )
    shadow.go_live(shadowed)
    deliver()
    assert names() == ["x"]


def test_the_command_reports_and_switches(
    sandbox: Connection, customer: Customer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="no connection 'nobody'"):
        call_command("xkit_shadow", "nobody")
    with pytest.raises(CommandError, match="not in shadow mode"):
        call_command("xkit_shadow", "acme")
    call_command("xkit_shadow", "acme", "--start")
    DealFactory.create(customer=customer)
    deliver()
    call_command("xkit_shadow", "acme")
    said = capsys.readouterr().out
    assert "1 invocation(s) wait.\nThey would take 1 call(s), of several each:" in said
    assert "1  create Opportunity" in said
    call_command("xkit_shadow", "acme", "--live")
    assert "acme is live; 1 invocation(s) released." in capsys.readouterr().out
    deliver()
    assert len(held()) == 1
    assert not Invocation.objects.exclude(status="succeeded").exists()


def test_one_that_is_not_known_is_settled_by_a_person_who_looked(
    sandbox: Connection, customer: Customer
) -> None:
    from xkit_crm.delivery.replay import skip

    deal = DealFactory.create(customer=customer, title="Apple")
    Invocation.objects.update(status="unknown", doubtful=True)
    deal.title = "Pear"
    deal.save()
    deliver()
    assert states() == ["unknown", "pending"]
    # The CRM was asked by hand and has it; but nobody said which record the row stands for.
    made = create("Apple").record
    assert made is not None
    assert skip(Invocation.objects.filter(status="unknown")).count == 0
    xkit_crm.link(deal, sandbox, made.id)
    assert skip(Invocation.objects.filter(status="unknown")).count == 1
    deliver()
    assert names() == ["Pear"]
