"""Storing what came of tries: what a database holds, what it doesn't, and one that is busy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import create, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer
from tests.threads import begun
from xkit_crm import catalogue
from xkit_crm.delivery import outcomes
from xkit_crm.delivery.drain import take_turn
from xkit_crm.exceptions import Problem, RejectedByCRM
from xkit_crm.mappings import versions
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.providers.base import Draft, RecordRef, RemoteRecord
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("odd", [Decimal("1.5"), object(), "a\0b", "\ud800", float("nan"), {1: 2}])
def test_whatever_a_crm_answers_can_be_stored(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    def answering(self: Any, ref: RecordRef, fields: Any) -> RemoteRecord:
        return RemoteRecord(ref, dict.fromkeys(fields, odd))

    monkeypatch.setattr(SandboxProvider, "get", answering)
    create()
    assert only().status == "succeeded"
    assert only().record_id == "Opportunity:00001"


def test_words_of_the_crm_that_no_database_holds_are_told_without(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(self: Any, *args: Any, **named: Any) -> Any:
        raise RejectedByCRM("No\0!", errors=[Problem("Name", "half \ud800 of it")])

    monkeypatch.setattr(SandboxProvider, "create", refusing)
    create()
    assert only().status == "failed"
    assert "No!" in str(only().error)


def test_an_answer_that_can_not_be_stored_ends_there_and_holds_up_nobody(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_record = SandboxProvider._create

    def naming(self: Any, struck: Any, remote_object: str, draft: Draft) -> RecordRef:
        ref = create_record(self, struck, remote_object, draft)
        return RecordRef("Opportunity", "9" * 300) if draft.values["Name"] == "First" else ref

    monkeypatch.setattr(SandboxProvider, "_create", naming)
    DealFactory.create(customer=customer, title="First")
    DealFactory.create(customer=customer, title="Second")
    deliver()
    assert states() == ["unknown", "succeeded"]
    assert Attempt.objects.count() == 2


def busy(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """A lock lasts too long for so many of the statements that store what came of tries; the
    database is well otherwise."""
    together, left = outcomes.together, [times]

    def cancelling(writes: Any) -> Any:
        if len(writes) > 1 and left[0]:
            left[0] -= 1
            raise OperationalError("canceling statement due to statement timeout")
        return together(writes)

    monkeypatch.setattr(outcomes, "together", cancelling)


def test_what_a_busy_database_stores_at_the_second_try_is_stored(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(monkeypatch, 1)
    DealFactory.create(customer=customer)
    take_turn("acme")
    assert only().status == "succeeded"


def test_what_a_busy_database_does_not_store_is_taken_up_and_the_crm_is_asked(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(monkeypatch, 2)
    deal = DealFactory.create(customer=customer, title="Apple")
    with pytest.raises(OperationalError):
        take_turn("acme")
    assert (only().status, only().doubtful) == ("pending", True)
    deliver()
    assert only().status == "succeeded"
    assert names() == ["Apple"]
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"


def test_of_a_batch_a_busy_database_loses_nothing(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(monkeypatch, 4)  # all at once, and then the first by itself
    titles = ["First", "Second", "Third"]
    for title in titles:
        DealFactory.create(customer=customer, title=title)
    with pytest.raises(OperationalError):
        take_turn("acme")
    assert states() == ["pending"] * 3
    deliver()
    assert states() == ["succeeded"] * 3
    assert names() == titles
    assert RecordLink.objects.count() == 3


def test_what_is_taken_back_with_the_next_call_is_stored_by_itself(
    sandbox: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is over and what comes next share a transaction, and the next may break it."""
    record = create().record
    assert record is not None
    changes = {"name": "Renamed"}
    xkit_crm.invoke("acme", "opportunity", "deal_updated", changes, record.id, wait=False)
    Invocation.objects.filter(event__slug="deal_updated").update(record_id="Contact:00001")
    create("Pear", wait=False)
    together, broken = outcomes.together, [DatabaseError("a deadlock")]

    def breaking(writes: Any) -> Any:
        if len(writes) > 1 and writes[-1].runs and broken:
            raise broken.pop()
        return together(writes)

    monkeypatch.setattr(outcomes, "together", breaking)
    assert deliver() == 2
    assert states() == ["succeeded", "failed", "succeeded"]
    assert not broken
    assert names() == ["Sales", "Pear"]
    assert "lease ran out" not in caplog.text


@pytest.mark.postgresql
def test_what_came_of_a_try_is_stored_without_reading_the_log(sandbox: Connection) -> None:
    event = catalogue.event("opportunity", "deal_created").definition
    earlier = {"connection": sandbox, "event": event, "payload": {}, "status": "succeeded"}
    Invocation.objects.bulk_create(
        Invocation(record_key=f"record {n}", **earlier) for n in range(5_000)
    )
    with database.cursor() as cursor:
        cursor.execute("ANALYZE xkit_crm_invocation")

    with CaptureQueriesContext(database) as captured:
        create()

    changes = [q["sql"] for q in captured if 'UPDATE "xkit_crm_invocation"' in q["sql"]]
    assert len(changes) == 2  # it begins, and it is over
    with database.cursor() as cursor:
        for change in changes:
            cursor.execute(f"EXPLAIN {change}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on xkit_crm_invocation" not in plan


@pytest.mark.skipif(database.vendor != "mysql", reason="others take as much as there is")
@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_too_large_for_the_database_ends_there(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def search(self: SandboxProvider, *_: object, **__: object) -> list[RemoteRecord]:
        calls.append(1)
        found = RemoteRecord(RecordRef("Opportunity", "1"), {"Name": "x" * 9_000_000})
        return [found] * 2

    monkeypatch.setattr(SandboxProvider, "search", search)
    xkit_crm.invoke("acme", "opportunity", "find_deals", {"name": "x"}, wait=False)
    deliver()
    deliver()
    assert (states(), calls) == (["failed"], [1])


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_the_connection_has_stored_nothing_that_its_holder_may_wait_for(
    sandbox: Connection, customer: Customer
) -> None:
    """Else the two would wait for each other where a customer decides anew, and it may be their
    decision that the database would end."""
    if database.vendor != "mysql":
        pytest.skip("only MariaDB shows what is not committed yet")
    DealFactory.create(customer=customer)
    deliver()
    DealFactory.create(customer=customer)
    with database.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    with transaction.atomic():
        versions.lock(sandbox)
        theirs = begun(deliver)
        theirs.join(0.7)
        assert theirs.is_alive(), "its new link should wait for the connection"
        assert states() == ["succeeded", "running"]
    theirs.join(20)
    database.close()  # and its isolation
    assert states() == ["succeeded", "succeeded"]
