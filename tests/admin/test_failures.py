"""The page of failures: by cause, with what to do, and doors to repair them."""

from __future__ import annotations

import re

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import escape

from tests.factories import InvocationFactory
from xkit_crm.delivery import explaining, failures
from xkit_crm.models import Connection, EventAction, Invocation

pytestmark = pytest.mark.django_db

PAGE = "/admin/xkit_crm/invocation/failures/"


def fail(connection: Connection, words: str, count: int = 1, **named: object) -> list[Invocation]:
    error = {
        "code": "rejected_by_crm",
        "message": "Refused.",
        "hint": "Shorten it.",
        "errors": [{"path": "amount", "error": words}],
    }
    named = {"status": "failed", "error_code": "rejected_by_crm", "error_detail": error} | named
    return InvocationFactory.create_batch(count, connection=connection, **named)


def shown(client: Client, address: str = PAGE) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode().replace("<bdi>", "").replace("</bdi>", "")


def doors(told: str) -> list[str]:
    """Where the buttons of the page lead, in order."""
    found = re.findall(r'class="xkit-button[^"]*" href="([^"]+)"', told)
    return [address.replace("&amp;", "&") for address in found]


def test_the_page_is_on_the_way_between_the_screens(admin_client: Client) -> None:
    told = shown(admin_client)
    assert 'aria-current="page">Failures' in told
    assert "Nothing failed, and nothing is unknown." in told


def test_a_cause_says_how_many_what_and_what_to_do(
    sandbox: Connection, admin_client: Client
) -> None:
    fail(sandbox, "Amount: value too large: 1", 3)
    fail(sandbox, "Amount: value too large: 2", status="unknown")
    told = shown(admin_client)
    assert "4 × Amount: value too large: …" in told
    assert "1 unknown" in told
    assert "Shorten it." in told
    assert escape("The CRM's own validation refused it.") in told
    action = EventAction.objects.get(event__slug="deal_created")
    assert reverse("admin:xkit_crm_eventaction_change", args=[action.pk]) in told


def test_of_what_is_unknown_nobody_is_told_to_replay_it_unseen(
    sandbox: Connection, admin_client: Client
) -> None:
    fail(sandbox, "value too large", status="unknown")
    told = shown(admin_client)
    assert escape(str(explaining.DECIDE)) in told
    assert "Shorten it." not in told
    assert not [door for door in doors(told) if "replay" in door]
    fail(sandbox, "value too large")
    told = shown(admin_client)
    assert escape(str(explaining.DECIDE)) in told
    assert "Shorten it." in told


def test_its_doors_lead_to_those_of_the_cause_and_no_others(
    sandbox: Connection, admin_client: Client
) -> None:
    large = fail(sandbox, "value too large: 1", 3)
    small = fail(sandbox, "value too small")
    listed, newest, replay, skip = doors(shown(admin_client))[:4]
    assert newest == reverse("admin:xkit_crm_invocation_change", args=[large[-1].pk])
    rows = admin_client.get(listed).context["cl"].result_list
    assert [row.pk for row in rows] == [row.pk for row in reversed(large)]
    assert "<strong>3</strong>" in shown(admin_client, replay)
    admin_client.post(replay)
    assert Invocation.objects.filter(status="pending").count() == 3
    Invocation.objects.update(status="failed")
    admin_client.post(skip)
    assert Invocation.objects.filter(status="skipped").count() == 3
    small[0].refresh_from_db()
    assert small[0].status == "failed"


def test_a_label_with_markup_is_only_text(sandbox: Connection, admin_client: Client) -> None:
    fail(sandbox, "<script>alert()</script> is no amount")
    told = shown(admin_client)
    assert "<script>alert()" not in told
    assert "&lt;script&gt;alert()&lt;/script&gt; is no amount" in told


def test_the_page_costs_the_same_for_many_and_says_when_there_are_more(
    sandbox: Connection, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            shown(admin_client)
        return len(queries)

    fail(sandbox, "too large")
    before = cost()
    for number in range(20):
        other = Connection.objects.create(id=f"more-{number}", provider="sandbox")
        fail(other, "too large", 2)
    assert cost() == before <= 15
    assert "There are more than these" not in shown(admin_client)
    monkeypatch.setattr(failures, "NEWEST", 10)
    assert "There are more than these: the newest 10 that failed" in shown(admin_client)


def test_the_failures_of_one_connection(sandbox: Connection, admin_client: Client) -> None:
    other = Connection.objects.create(id="other", provider="sandbox")
    fail(sandbox, "mine")
    fail(other, "theirs")
    told = shown(admin_client, PAGE + "?connection=acme")
    assert "1 × mine" in told
    assert "theirs" not in told
