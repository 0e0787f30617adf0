"""`xkit_crm.invoke()`: the one door, from Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from django.utils.translation import gettext_lazy

import xkit_crm
from tests.objects import OBJECTS
from tests.products.models import Deal
from tests.threads import begun, together
from xkit_crm import invoking
from xkit_crm.delivery.drain import take_turn
from xkit_crm.exceptions import (
    ConnectionNotEnabled,
    CRMUnavailable,
    IdempotencyMismatch,
    Malformed,
    MappingIncomplete,
    PayloadInvalid,
    UnknownConnection,
    UnknownEvent,
    UnknownObject,
    UnknownRecord,
    WrongEventType,
)
from xkit_crm.models import Connection, EventAction, Invocation, Lane
from xkit_crm.models.invocation import Priority, Source
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def create(payload: dict[str, Any] | None = None, **named: Any) -> Invocation:
    return xkit_crm.invoke("acme", "opportunity", "deal_created", payload or {"name": "x"}, **named)


def test_an_event_is_carried_out_before_it_returns(sandbox: Connection) -> None:
    invocation = create()
    assert invocation.status == "succeeded"
    assert invocation.error is None
    assert invocation.record is not None
    assert invocation.record.type == "opportunity"
    assert invocation.record.data == {"document_name": "x", "document_tags": {}}


def test_a_connection_may_be_named_or_given(sandbox: Connection) -> None:
    invocation = xkit_crm.invoke(sandbox, "opportunity", "deal_created", {"name": "x"})
    assert invocation.status == "succeeded"


def test_an_update_and_a_delete_name_their_record(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    updated = xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": "y"}, record.id)
    assert updated.record is not None
    assert updated.record.data["document_name"] == "y"
    deleted = xkit_crm.invoke("acme", "opportunity", "deal_deleted", {}, record=record.id)
    assert deleted.record is not None
    assert (deleted.record.id, deleted.record.data) == (record.id, {})


def test_without_waiting_it_is_pending(sandbox: Connection) -> None:
    assert create(wait=False).status == "pending"
    assert not Record.objects.exists()


def test_pythons_own_values_become_json(sandbox: Connection) -> None:
    invocation = create(
        {
            "name": gettext_lazy("Sales"),
            "amount": Decimal("12.50"),
            "tags": ("a", "b"),
            "views": 3,
        },
        wait=False,
    )
    invocation.refresh_from_db()
    assert invocation.payload == {"name": "Sales", "amount": 12.5, "tags": ["a", "b"], "views": 3}
    moment = datetime(2022, 5, 17, 23, 17, 53, tzinfo=UTC)
    record = create().record
    assert record is not None
    updated = xkit_crm.invoke(
        "acme", "opportunity", "deal_updated", {"updated_at": moment}, record.id
    )
    assert updated.payload == {"updated_at": "2022-05-17T23:17:53Z"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nobody", "opportunity", "deal_created", {}), UnknownConnection),
        (("acme", "oportunity", "deal_created", {}), UnknownObject),
        (("acme", "opportunity", "deal_crated", {}), UnknownEvent),
        (("acme", "opportunity", "deal_updated", {}, "09876"), UnknownRecord),
        (("acme", "opportunity", "deal_updated", {}), WrongEventType),
        (("acme", "opportunity", "deal_created", {}, "Opportunity:1"), WrongEventType),
        (("acme", "opportunity", "find_deals", {}, "Opportunity:1"), WrongEventType),
        (("acme", "opportunity", "deal_created", {"name": 1}), PayloadInvalid),
        (
            ("acme", "opportunity", "deal_created", {"name": date(2022, 5, 17), "x": 1}),
            PayloadInvalid,
        ),
        (("acme", "opportunity", "deal_created", {"name": object()}), PayloadInvalid),
    ],
)
def test_what_is_wrong_is_raised_and_nothing_is_written(
    sandbox: Connection, arguments: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        xkit_crm.invoke(*arguments)
    assert not Invocation.objects.exists()


@pytest.mark.parametrize("status", ["pending", "disabled", "errored"])
def test_a_connection_that_is_not_enabled_says_so(sandbox: Connection, status: str) -> None:
    Connection.objects.update(status=status)
    with pytest.raises(ConnectionNotEnabled, match=status):
        create()


def test_an_event_that_the_customer_has_not_decided_is_incomplete(sandbox: Connection) -> None:
    EventAction.objects.filter(event__slug="deal_created").delete()
    with pytest.raises(MappingIncomplete) as raised:
        create()
    assert raised.value.errors[0].path == "events.deal_created"


def test_a_required_field_that_nothing_feeds_is_incomplete(sandbox: Connection) -> None:
    EventAction.objects.filter(event__slug="deal_created").update(transformations=[])
    with pytest.raises(MappingIncomplete, match="Opportunity Name is required"):
        create()
    assert not Invocation.objects.exists()


def test_a_crm_that_can_not_be_asked_turns_no_event_away(sandbox: Connection) -> None:
    org = Org.objects.get(slug="acme")
    outage = Misbehaviour.objects.create(org=org, kind="unavailable", retry_after=60)
    waiting = create(wait=False)
    assert waiting.status == "pending"
    outage.delete()
    deliver()
    waiting.refresh_from_db()
    assert waiting.status == "succeeded"


def test_refused_credentials_are_not_waited_for(sandbox: Connection, settings: Any) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "WAIT_TIMEOUT": 3600}
    Misbehaviour.objects.create(
        org=Org.objects.get(slug="acme"), kind="expired_token", operation="create"
    )
    waiting = create()
    assert waiting.status == "pending"
    assert waiting.error is not None
    assert "401" in str(waiting.error)
    assert Connection.objects.get().status == "errored"


def test_what_waits_for_the_same_record_is_carried_out_first(sandbox: Connection) -> None:
    record = create().record
    assert record is not None
    for name in ("One", "Two", "Three"):
        last = xkit_crm.invoke(
            "acme",
            "opportunity",
            "deal_updated",
            {"name": name},
            record.id,
            wait=name == "Three",
        )
    assert last.status == "succeeded"
    assert Record.objects.get().values["Name"] == "Three"
    statuses = list(Invocation.objects.order_by("id").values_list("status", flat=True))
    # The two that waited became one; the one whose caller waits stays one of its own.
    assert statuses == ["succeeded", "succeeded", "superseded", "succeeded"]


def test_what_waits_for_a_later_time_in_front_of_it_is_not_waited_for(
    sandbox: Connection, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "WAIT_TIMEOUT": 3600}
    record = create().record
    assert record is not None
    update = ("acme", "opportunity", "deal_updated")
    later = xkit_crm.invoke(*update, {"name": "One"}, record.id, wait=False)
    for changes in ({"due_at": timezone.now() + timedelta(hours=1)}, {"status": "unknown"}):
        Invocation.objects.filter(pk=later.pk).update(**changes)
        assert xkit_crm.invoke(*update, {"name": "Two"}, record.id).status == "pending"


def test_a_connection_deleted_while_it_is_waited_for_is_said(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import drain

    hour = timezone.now() + timedelta(hours=1)
    Lane.objects.update_or_create(
        connection=sandbox, defaults={"holder": "elsewhere/1/1", "leased_until": hour}
    )
    clock = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda _: Connection.objects.get().delete()
    )
    monkeypatch.setattr(drain, "time", clock)
    with pytest.raises(UnknownConnection, match="deleted meanwhile"):
        create()


def put_and_go_away(monkeypatch: pytest.MonkeyPatch, ended: Callable[[], object]) -> Invocation:
    """The answer for a caller whose wait ends while a worker has it in hand; at this very moment
    it `ended`."""

    def waiting(invocation: Invocation, **_: object) -> Invocation:
        Invocation.objects.update(status="running", tries=1)
        invocation.refresh_from_db()
        ended()
        return invocation

    monkeypatch.setattr(invoking, "deliver", waiting)
    request = invoking.read("acme", "opportunity", "deal_created", {"name": "x"}, None)
    return invoking.put(request, source=Source.API, retry=False, timeout=0.1)[0]


def test_a_caller_who_waits_no_longer_leaves_it_to_the_engine(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert put_and_go_away(monkeypatch, lambda: None).status == "running"
    left = Invocation.objects.get()
    assert (left.retry, left.priority) == (True, Priority.NORMAL)


def test_what_ends_when_its_caller_has_just_stopped_waiting_is_answered_with_its_end(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended() -> None:
        Invocation.objects.update(status="failed", error_code="crm_unavailable")

    assert put_and_go_away(monkeypatch, ended).status == "failed"
    assert not Invocation.objects.get().retry


def test_what_another_caller_begins_again_when_its_caller_stops_waiting_is_left_to_the_engine(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_again = invoking.read_again

    def reading(invocation: Invocation) -> Invocation:
        Invocation.objects.update(status="pending")
        return read_again(invocation)

    monkeypatch.setattr(invoking, "read_again", reading)
    ended = partial(Invocation.objects.update, status="failed")
    assert put_and_go_away(monkeypatch, ended).status == "pending"
    assert Invocation.objects.get().retry


@pytest.mark.django_db(transaction=True)
def test_what_passes_is_tried_again_by_the_engine_once_its_caller_was_answered(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, answered = threading.Event(), threading.Event()
    create_record, wait_for = SandboxProvider.create, invoking.deliver

    def failing_late(*_: object, **__: object) -> None:
        monkeypatch.setattr(SandboxProvider, "create", create_record)
        called.set()
        answered.wait(10)
        raise CRMUnavailable("It did not answer in time.")

    workers: list[threading.Thread] = []

    def second(invocation: Invocation, **named: Any) -> Invocation:
        workers.append(begun(lambda: take_turn("acme")))  # who is quicker than the caller
        called.wait(10)
        return wait_for(invocation, **named)

    monkeypatch.setattr(SandboxProvider, "create", failing_late)
    monkeypatch.setattr(invoking, "deliver", second)
    request = invoking.read("acme", "opportunity", "deal_created", {"name": "x"}, None)
    answer, _ = invoking.put(request, source=Source.API, retry=False, timeout=0.1)
    answered.set()
    workers[0].join()
    assert answer.status == "running"
    assert Invocation.objects.get().status == "pending"
    deliver()
    assert Invocation.objects.get().status == "succeeded"


# -- doing it once --------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_invocation(sandbox: Connection) -> None:
    assert create(idempotency_key="k") == create(idempotency_key="k")
    assert Record.objects.count() == 1


def test_the_same_key_for_something_else_is_refused(sandbox: Connection) -> None:
    create(idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        create({"name": "y"}, idempotency_key="k")
    xkit_crm.connect("other", provider="sandbox")
    with pytest.raises(IdempotencyMismatch):
        xkit_crm.invoke("other", "opportunity", "deal_created", {"name": "x"}, idempotency_key="k")


def test_the_same_key_is_answered_again_whatever_changed_since(sandbox: Connection) -> None:
    first = create(idempotency_key="k")
    Connection.objects.update(status="disabled")
    assert create(idempotency_key="k") == first
    EventAction.objects.all().delete()
    assert create(idempotency_key="k") == first


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_empty_or_too_long_is_refused(sandbox: Connection, key: str) -> None:
    with pytest.raises(Malformed, match="idempotency key"):
        create(idempotency_key=key)


def test_what_stands_behind_one_that_its_caller_tries_again_goes_on(
    sandbox: Connection, deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put() -> Invocation:
        request = invoking.read("acme", "opportunity", "deal_created", {"name": "One"}, None)
        return invoking.put(
            request, source=Source.API, retry=False, idempotency_key="k", instance=deal
        )[0]

    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "can_find_created", False)
        org = Org.objects.get()
        Misbehaviour.objects.create(org=org, kind="timeout_after", operation="create", remaining=1)
        assert put().status == "unknown"
    deal.title = "Two"
    deal.save()
    deliver()
    assert put().status == "succeeded"
    deliver()
    assert Record.objects.get().values["Name"] == "Two"


def test_callers_who_try_again_with_one_key_do_it_once(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = invoking.read("acme", "opportunity", "deal_created", {"name": "x"}, None)
    outage = Misbehaviour.objects.create(
        org=Org.objects.get(slug="acme"), kind="unavailable", operation="create"
    )

    def ask() -> Invocation:
        put = invoking.put(request, source=Source.API, idempotency_key="k", retry=False)
        return put[0]

    assert ask().status == "failed"
    outage.delete()
    # The second caller has read the failure when the first one has already made it good.
    stale = invoking._used_before(request, "k")
    assert ask().status == "succeeded"
    with monkeypatch.context() as late:
        late.setattr(invoking, "_used_before", lambda *_: stale)
        assert ask().status == "succeeded"
    assert Record.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_moment_makes_one_record(sandbox: Connection) -> None:
    made = together(*[partial(create, idempotency_key="k")] * 4)
    assert [invocation.status for invocation in made] == ["succeeded"] * 4
    assert len({invocation.pk for invocation in made}) == 1
    assert Record.objects.count() == 1


# -- searching ------------------------------------------------------------------------------------


def test_a_search_gives_what_it_found(definitions: None) -> None:
    objects = {**OBJECTS, "opportunity": {**OBJECTS["opportunity"]}}
    objects["opportunity"]["events"] = {
        **OBJECTS["opportunity"]["events"],
        "find_deals": {
            "type": "search",
            "payloadSchema": {"name": {"type": "string"}, "limit": {"type": "integer"}},
        },
    }
    xkit_crm.define(objects)
    xkit_crm.connect("acme", provider="sandbox")
    for name in ("One", "Two", "Two"):
        create({"name": name})
    found = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "Two"})
    assert [record.data["document_name"] for record in found.records] == ["Two", "Two"]
    limited = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "Two", "limit": 1})
    assert len(limited.records) == 1
    every = xkit_crm.invoke("acme", "opportunity", "find_deals", {})
    assert len(every.records) == 3
