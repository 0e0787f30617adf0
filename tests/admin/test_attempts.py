"""Attempts in the admin: a log of its own, in pages that cost the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.delivery.conftest import create
from tests.factories import InvocationFactory
from xkit_crm.delivery import walking
from xkit_crm.models import Attempt, Connection, Invocation

pytestmark = pytest.mark.django_db

LIST = "/admin/xkit_crm/attempt/"


def attempts(connection: Connection, count: int, **named: Any) -> list[Attempt]:
    named = {"number": 1, "operation": "create", "outcome": "succeeded"} | named
    made = InvocationFactory.create_batch(count, connection=connection)
    return [
        Attempt.objects.create(invocation=one, duration=timedelta(milliseconds=12), **named)
        for one in made
    ]


def found(client: Client, **query: Any) -> list[int]:
    return [row.pk for row in client.get(LIST, query).context["cl"].result_list]


def test_the_list_costs_the_same_few_queries_and_counts_nothing(
    connection: Connection, admin_client: Client
) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(database) as captured:
            admin_client.get(LIST, {"outcome": "failed"})
        return [one["sql"] for one in captured]

    attempts(connection, 2, outcome="failed")
    before = len(queries())
    attempts(connection, 60, outcome="failed")
    after = queries()
    assert len(after) == before <= 15
    assert "COUNT(" not in str(after).upper()


def test_attempts_are_found_by_what_they_were_about(
    connection: Connection, admin_client: Client
) -> None:
    (record,) = attempts(connection, 1, target="Opportunity:00012", operation="update")
    (failed,) = attempts(connection, 1, target="Contact", outcome="failed")
    assert found(admin_client) == [failed.pk, record.pk]
    assert found(admin_client, q="Opportunity:000") == [record.pk]
    assert found(admin_client, q=str(failed.invocation.uuid)) == [failed.pk]
    assert found(admin_client, outcome="failed") == [failed.pk]
    assert found(admin_client, operation="update", outcome="failed") == []


def test_pages_lead_on(connection: Connection, admin_client: Client) -> None:
    made = [one.pk for one in attempts(connection, 60)][::-1]
    first = admin_client.get(LIST)
    older = admin_client.get(LIST + first.context["cl"].older_query())
    assert [row.pk for row in older.context["cl"].result_list] == made[50:]


def test_a_search_looks_so_far_and_says_so(
    connection: Connection, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "REACH", 5)
    attempts(connection, 8, target="Contact")
    answer = admin_client.get(LIST, {"q": "Opportunity"})
    assert b"Look further back" in answer.content


def test_an_attempt_shows_what_was_sent_and_received(
    sandbox: Connection, admin_client: Client
) -> None:
    create("Apple")
    attempt = Attempt.objects.get(invocation=Invocation.objects.get())
    shown = admin_client.get(f"{LIST}{attempt.pk}/change/").content.decode()
    assert "Apple" in shown
    assert "create Opportunity" in shown
