"""Erasing a row or a record: its personal data leaves the log, and the log's shape stays."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import act, create, held, states
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy
from xkit_crm import signals
from xkit_crm.delivery import shadow
from xkit_crm.delivery.replay import replay, send_again
from xkit_crm.erasure import Erasure
from xkit_crm.exceptions import (
    ConfigurationError,
    IdempotencyMismatch,
    InProgress,
    RejectedByCRM,
    UnknownConnection,
    UnknownRecord,
)
from xkit_crm.mapping.erased import ERASED
from xkit_crm.models import Attempt, Connection, Invocation, MarkedRow, RecordLink
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync.digests import FORGOTTEN
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

SECRET = "Ada Lovelace"
RECORD = "Opportunity:00001"


def log() -> str:
    """Everything that the log holds, as text."""
    rows = [
        *Invocation.objects.values(
            "payload", "folded", "result", "error_detail", "request_digest", "record_key"
        ),
        *Attempt.objects.values("sent", "received", "error", "target"),
        *RecordLink.objects.values("delivered", "written"),
    ]
    return json.dumps(rows)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    return [shape(entry) for entry in value] if isinstance(value, list) else "leaf"


@pytest.fixture
def ada(sandbox: Connection, customer: Customer) -> Deal:
    """A row that was created and changed in the CRM."""
    deal = DealFactory.create(customer=customer, title=SECRET, tags=["Renewal"])
    deliver()
    deal.title = f"{SECRET} II"
    deal.save()
    deliver()
    assert states() == ["succeeded"] * 2
    return deal


def test_values_go_and_keys_and_shape_and_everything_else_stay(ada: Deal) -> None:
    values = ("payload", "folded", "result", "error_detail")
    kept = ("uuid", "status", "tries", "record_id", "object_pk", "created_at", "finished_at")
    before = list(Invocation.objects.order_by("id").values(*values, *kept))
    tries = list(Attempt.objects.order_by("id").values("sent", "received", "number", "duration"))

    assert xkit_crm.erase(ada) == Erasure(invocations=2, attempts=2, links=1)

    assert SECRET not in log()
    assert SECRET in held()[0]["Name"]
    for row, old in zip(
        Invocation.objects.order_by("id").values(*values, *kept), before, strict=True
    ):
        assert {name: row[name] for name in kept} == {name: old[name] for name in kept}
        assert [shape(row[name]) for name in values] == [shape(old[name]) for name in values]
    for row, old in zip(
        Attempt.objects.order_by("id").values("sent", "received", "number", "duration"),
        tries,
        strict=True,
    ):
        assert shape(row["sent"]) == shape(old["sent"])
        assert shape(row["received"]) == shape(old["received"])
        assert (row["number"], row["duration"]) == (old["number"], old["duration"])
    invocation = Invocation.objects.earliest("id")
    assert invocation.payload["tags"] == [ERASED]
    assert invocation.record is not None
    assert invocation.record.id == RECORD
    link = xkit_crm.links(ada).get()
    assert (link.record_id, link.delivered, link.written) == (RECORD, FORGOTTEN, {})


def test_what_is_not_there_stays_absent(ada: Deal) -> None:
    xkit_crm.erase(ada)
    assert Invocation.objects.filter(folded__isnull=True, error_detail__isnull=True).count() == 2
    assert Attempt.objects.filter(error__isnull=True).count() == 2


def test_erasing_again_finds_nothing(ada: Deal) -> None:
    xkit_crm.erase(ada)
    assert xkit_crm.erase(ada) == Erasure()


def test_a_dry_run_counts_and_changes_nothing(ada: Deal) -> None:
    before = log()
    assert xkit_crm.erase(ada, dry_run=True) == Erasure(invocations=2, attempts=2, links=1)
    assert log() == before


def test_other_rows_are_left_alone(ada: Deal, customer: Customer) -> None:
    DealFactory.create(customer=customer, title="Grace Hopper")
    deliver()
    xkit_crm.erase(ada)
    assert "Grace Hopper" in log()
    assert SECRET not in log()


def test_a_row_is_erased_in_every_connection_or_in_one(ada: Deal) -> None:
    ConnectionFactory.create(id="second")
    link = xkit_crm.link(ada, "second", "Deal:9")
    link.delivered = {"name": "0123"}
    link.save()
    one = Invocation.objects.earliest("id")
    copy = {name: getattr(one, name) for name in ("event", "payload", "content_type", "object_pk")}
    Invocation.objects.create(connection_id="second", record_key="x", status="succeeded", **copy)
    assert xkit_crm.erase(ada, connection="acme").invocations == 2
    assert SECRET in log()
    assert xkit_crm.erase(ada) == Erasure(invocations=1, links=1)
    assert SECRET not in log()


def test_a_row_is_the_same_by_each_of_its_models(sandbox: Connection, customer: Customer) -> None:
    big = BigDeal.objects.create(customer=customer, title=SECRET)
    deliver()
    assert xkit_crm.erase(DealProxy.objects.get(pk=big.pk), dry_run=True).invocations == 1
    assert xkit_crm.erase(big).invocations == 1
    assert SECRET not in log()


def test_calls_that_named_the_record_are_about_the_row_too(ada: Deal) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_updated", {"name": SECRET}, record=RECORD)
    assert xkit_crm.erase(ada).invocations == 3
    assert SECRET not in log()


def test_searches_lose_what_they_found_of_it(ada: Deal, customer: Customer) -> None:
    act_on_search()
    DealFactory.create(customer=customer, title="Grace Lovelace")
    deliver()
    found = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "Lovelace"})
    assert len(found.records) == 2
    other = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "Grace"})
    xkit_crm.erase(ada)
    found.refresh_from_db()
    names = {record.id: record.data["document_name"] for record in found.records}
    assert names == {RECORD: ERASED, "Opportunity:00002": "Grace Lovelace"}
    assert found.payload == {"name": ERASED}
    other.refresh_from_db()
    assert other.payload == {"name": "Grace"}
    assert SECRET not in log()


def test_searches_lose_what_the_crm_once_said_of_what_was_asked(
    ada: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_on_search()

    def refuse(*_: Any, **__: Any) -> None:
        raise RejectedByCRM(f"{SECRET} can't be searched for.")

    with monkeypatch.context() as refusing:
        refusing.setattr(SandboxProvider, "search", refuse)
        found = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": SECRET})
    replay([found])
    deliver()
    assert states()[-1] == "succeeded"
    xkit_crm.erase(ada)
    assert SECRET not in log()


def test_a_search_that_is_to_be_made_again_is_no_exception(ada: Deal) -> None:
    """It fails, as any replay of what was erased."""
    act_on_search()
    found = xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": SECRET})
    assert send_again(found)
    xkit_crm.erase(ada)
    assert SECRET not in log()
    deliver()
    assert states()[-1] == "failed"


def act_on_search() -> None:
    act(
        "find_deals",
        action="search",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name", "operator": "contains"}
        ],
    )


def test_a_record_is_erased_with_the_row_that_is_linked_to_it(ada: Deal) -> None:
    assert xkit_crm.erase_record("acme", RECORD) == Erasure(2, 2, 1)
    assert SECRET not in log()


def test_a_record_is_erased_with_the_row_that_it_was_of(ada: Deal) -> None:
    """Of what joined another event of the row, nothing else says which record it is about."""
    for name in (f"{SECRET} III", f"{SECRET} IV"):
        ada.title = name
        ada.save()
    deliver()
    ada.delete()
    deliver()
    assert "superseded" in states()
    assert not RecordLink.objects.exists()
    xkit_crm.erase_record("acme", RECORD)
    assert SECRET not in log()


def test_a_row_that_stands_for_another_record_by_now_is_not_erased_with_the_old_one(
    ada: Deal, sandbox: Connection
) -> None:
    xkit_crm.link(ada, sandbox, "Opportunity:00002")
    assert xkit_crm.erase_record("acme", RECORD) == Erasure(2, 2)
    ada.title = "A new name"
    ada.save()
    assert xkit_crm.erase_record("acme", RECORD) == Erasure()


def test_a_record_without_a_row_is_erased_in_its_connection_only(sandbox: Connection) -> None:
    create(SECRET)
    second = ConnectionFactory.create(id="second")
    assert xkit_crm.erase_record(second, RECORD) == Erasure()
    assert xkit_crm.erase_record(sandbox, RECORD) == Erasure(1, 1)
    assert SECRET not in log()
    with pytest.raises(UnknownRecord):
        xkit_crm.erase_record("acme", "00001")
    with pytest.raises(UnknownConnection, match="no connection 'nobody'"):
        xkit_crm.erase_record("nobody", RECORD)


def test_a_row_that_is_gone_is_named_by_its_key(ada: Deal) -> None:
    pk = ada.pk
    ada.delete()
    with pytest.raises(ConfigurationError, match="no primary key"):
        xkit_crm.erase(ada)
    deliver()
    assert not RecordLink.objects.exists()
    assert xkit_crm.erase(Deal(pk=str(pk))).invocations == 3
    assert SECRET not in log()
    assert states() == ["succeeded"] * 3


def test_an_error_keeps_what_it_is_and_loses_its_words(sandbox: Connection) -> None:
    failed = create(SECRET)
    detail = {"code": "rejected_by_crm", "message": SECRET, "hint": "", "outcome": "unknown"}
    detail["errors"] = [{"path": "payload.name", "error": f"{SECRET} is too long"}]
    Invocation.objects.filter(pk=failed.pk).update(
        status="failed", record_id=RECORD, error_code="rejected_by_crm", error_detail=detail
    )
    xkit_crm.erase_record("acme", RECORD)
    failed.refresh_from_db()
    assert failed.error is not None
    assert failed.error_code == failed.error.code == "rejected_by_crm"
    assert failed.error.outcome_unknown
    assert [str(problem) for problem in failed.error.errors] == [f"payload.name: {ERASED}"]
    assert SECRET not in log()


# -- what is not settled ---------------------------------------------------------------------------


def test_nothing_is_erased_while_something_waits_to_be_sent(ada: Deal) -> None:
    ada.title = "A new name"
    ada.save()
    before = log()
    with pytest.raises(InProgress, match="1 waiting to be sent"):
        xkit_crm.erase(ada)
    assert log() == before
    deliver()
    assert held()[0]["Name"] == "A new name"
    assert xkit_crm.erase(ada).invocations == 3


@pytest.mark.parametrize("cancel", [False, True])
def test_nothing_is_erased_while_the_row_is_marked(ada: Deal, cancel: bool) -> None:
    record_id = RecordLink.objects.get().record_id
    MarkedRow.objects.create(model="products.deal", object_pk=str(ada.pk))
    MarkedRow.objects.create(model="products.deal", object_pk="0")
    with pytest.raises(InProgress, match="1 written, and not looked at yet") as raised:
        xkit_crm.erase(ada, cancel=cancel)
    assert raised.value.retry_after == 1
    with pytest.raises(InProgress, match="1 written, and not looked at yet"):
        xkit_crm.erase_record("acme", record_id, cancel=cancel)


def test_what_waits_is_cancelled_where_that_is_wanted(ada: Deal) -> None:
    heard = []
    ada.title = f"{SECRET} III"
    ada.save()

    def hear(invocation: Invocation, **_: Any) -> None:
        heard.append(invocation.status)

    assert xkit_crm.erase(ada, cancel=True, dry_run=True) == Erasure(3, 2, 1, cancelled=1)
    assert states()[-1] == "pending"
    signals.invocation_finished.connect(hear)
    try:
        assert xkit_crm.erase(ada, cancel=True) == Erasure(3, 2, 1, cancelled=1)
    finally:
        signals.invocation_finished.disconnect(hear)
    assert states() == ["succeeded", "succeeded", "skipped"]
    assert "before it was sent" in str(Invocation.objects.latest("id").error)
    assert SECRET not in log()
    assert deliver() == 0
    assert held()[0]["Name"] == f"{SECRET} II"


def test_what_stands_behind_what_is_cancelled_goes_on(
    ada: Deal, django_capture_on_commit_callbacks: Any
) -> None:
    pk = ada.pk
    ada.title = f"{SECRET} III"
    ada.save()
    first = Invocation.objects.latest("id")
    later = timezone.now() + timedelta(hours=1)
    Invocation.objects.filter(pk=first.pk).update(due_at=later, retry=False)
    ada.delete()
    Invocation.objects.filter(status="pending").update(due_at=later)
    xkit_crm.erase(Deal(pk=pk), cancel=True)
    deliver()
    assert held() == []


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"status": "running"}, "1 being sent"),
        ({"status": "pending", "doubtful": True}, "1 of unknown outcome"),
    ],
)
def test_what_may_have_been_written_can_not_be_cancelled(
    ada: Deal, state: dict[str, Any], told: str
) -> None:
    ada.title = "A new name"
    ada.save()
    Invocation.objects.filter(status="pending").update(**state)
    with pytest.raises(InProgress, match=told):
        xkit_crm.erase(ada, cancel=True)
    assert SECRET in log()


@pytest.mark.django_db(transaction=True)
def test_a_delete_that_waits_still_goes_out(ada: Deal) -> None:
    pk = ada.pk
    ada.delete()
    xkit_crm.erase(Deal(pk=pk))
    assert SECRET not in log()
    assert states()[-1] == "pending"
    deliver()
    assert held() == []
    assert states() == ["succeeded"] * 3


def test_a_delete_that_updates_sends_what_needs_no_payload_and_never_the_marker(ada: Deal) -> None:
    act(
        "deal_deleted",
        action="update",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name"},
            {"field": "StageName", "kind": "static", "value": "Closed Lost"},
        ],
    )
    pk = ada.pk
    ada.delete()
    xkit_crm.erase(Deal(pk=pk))
    deliver()
    (record,) = held()
    assert (record["Name"], record["StageName"]) == (f"{SECRET} II", "Closed Lost")


def test_a_delete_that_waits_keeps_nothing_of_what_would_be_sent(
    ada: Deal, sandbox: Connection
) -> None:
    """It was rehearsed, or tried in vain."""
    name = {"field": "Name", "kind": "direct", "key": "name"}
    act("deal_deleted", action="update", transformations=[name])
    shadow.start(sandbox)
    pk = ada.pk
    ada.delete()
    deliver()
    assert Attempt.objects.latest("id").sent == {"Name": f"{SECRET} II"}
    erased = xkit_crm.erase(Deal(pk=pk), dry_run=True)
    assert xkit_crm.erase(Deal(pk=pk)) == erased == Erasure(3, 3, 1)
    assert SECRET not in log()
    assert Invocation.objects.filter(status="pending", payload={}, folded__isnull=True).exists()
    shadow.go_live(sandbox)
    deliver()
    assert states() == ["succeeded"] * 3
    assert held()[0]["Name"] == f"{SECRET} II"


def test_what_was_erased_can_not_be_sent_by_a_replay(sandbox: Connection) -> None:
    invocation = create(SECRET)
    Invocation.objects.update(status="failed")
    xkit_crm.erase_record("acme", RECORD)
    assert replay([invocation]) == 1
    deliver()
    invocation.refresh_from_db()
    assert invocation.status == "failed"
    assert "erased" in str(invocation.error)
    assert ERASED not in json.dumps(held())


def test_a_row_is_written_as_it_is_now_when_what_was_erased_is_replayed(ada: Deal) -> None:
    Invocation.objects.update(status="failed")
    xkit_crm.erase(ada)
    Deal.objects.filter(pk=ada.pk).update(title="Anonymous")
    replay([Invocation.objects.latest("id")])
    deliver()
    assert states()[-1] == "succeeded"
    assert held()[0]["Name"] == "Anonymous"


def test_a_used_idempotency_key_stays_used(sandbox: Connection) -> None:
    create(SECRET, idempotency_key="k")
    xkit_crm.erase_record("acme", RECORD)
    with pytest.raises(IdempotencyMismatch):
        create(SECRET, idempotency_key="k")
    assert len(held()) == 1


def test_a_long_log_is_erased_in_batches(ada: Deal, django_assert_max_num_queries: Any) -> None:
    one = Invocation.objects.latest("id")
    names = ("connection", "event", "payload", "content_type", "object_pk", "result")
    copy = {name: getattr(one, name) for name in names}
    made = Invocation.objects.bulk_create(
        Invocation(record_key="x", status="succeeded", **copy) for _ in range(450)
    )
    Attempt.objects.bulk_create(
        Attempt(invocation=i, number=1, sent={"Name": SECRET}, duration=one.attempts.get().duration)
        for i in made
    )
    with django_assert_max_num_queries(60):
        assert xkit_crm.erase(ada) == Erasure(452, 452, 1)
    assert SECRET not in log()
