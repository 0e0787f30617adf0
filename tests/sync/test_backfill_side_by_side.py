"""Two backfills at once: they share the rows, and double and mislink none."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.db import connection as database

import xkit_crm
from tests.products.models import Customer, Deal
from tests.sync.test_backfill import BY_NAME, remote, rows, run
from tests.threads import together
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync import backfill as backfilling
from xkit_crm.sync.backfill import BackfillResult, Outcome, backfill

pytestmark = pytest.mark.django_db


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_share_the_rows_and_double_none(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, *(f"Deal {number}" for number in range(60)))
    results = together(*[partial(run, match=[], batch_size=3)] * 2)
    created = Invocation.objects.values_list("object_pk", flat=True)
    assert len(created) == len(set(created)) == 60
    assert sum(result.counts.get(Outcome.CREATED, 0) for result in results) == 60


def test_a_row_that_another_run_has_linked_meanwhile_is_linked_already(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(customer, "Sales")
    remote("Sales")
    search = backfilling._Run._one_search

    def and_is_overtaken(self: Any, *args: Any) -> Any:
        found = search(self, *args)
        monkeypatch.setattr(backfilling._Run, "_one_search", search)
        assert run().counts == {Outcome.LINKED: 1}
        return found

    monkeypatch.setattr(backfilling._Run, "_one_search", and_is_overtaken)
    result = run()
    assert result.counts == {Outcome.ALREADY_LINKED: 1}
    assert not result.findings


def test_a_record_that_is_just_being_made_of_one_row_is_not_linked_to_another(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = rows(customer, "Sales", "Sales")
    other = Deal.objects.filter(pk=second.pk)
    create = SandboxProvider.create
    found: list[BackfillResult] = []

    def before_it_is_linked(self: SandboxProvider, *args: Any, **named: Any) -> Any:
        made = create(self, *args, **named)
        found.append(backfill(other, "acme", match=BY_NAME))
        return made

    backfill(Deal.objects.filter(pk=first.pk), "acme", match=BY_NAME)
    monkeypatch.setattr(SandboxProvider, "create", before_it_is_linked)
    drain("acme")
    found.append(backfill(other, "acme", match=BY_NAME))
    assert [result.counts for result in found] == [{Outcome.AMBIGUOUS: 1}] * 2
    assert not xkit_crm.links(second).exists()


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_never_link_two_rows_to_one_record(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = rows(customer, "Sales", "Sales")
    record_id = remote("Sales")
    both = threading.Barrier(2)
    results: list[BackfillResult] = []
    written = backfilling._Run._written

    def when_both_have_looked(self: Any, *args: Any) -> Any:
        with suppress(threading.BrokenBarrierError):  # one that begins again is alone
            both.wait(20)
        both.abort()
        return written(self, *args)

    def one(row: Deal) -> None:
        results.append(backfill(Deal.objects.filter(pk=row.pk), "acme", match=BY_NAME))
        database.close()

    monkeypatch.setattr(backfilling._Run, "_written", when_both_have_looked)
    threads = [threading.Thread(target=one, args=[row]) for row in same]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert RecordLink.objects.get().record_id == record_id
    outcomes = sum((Counter(result.counts) for result in results), Counter())
    assert outcomes == {Outcome.LINKED: 1, Outcome.AMBIGUOUS: 1}
