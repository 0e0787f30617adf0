"""The log in the admin: found, read, and repaired by who may."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import xkit_crm
from tests.admin.conftest import Staff
from tests.admin.log import LIST, page, rows, shown
from tests.delivery.conftest import create
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery import walking
from xkit_crm.models import Connection, EventDefinition, Invocation
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

# -- the list -------------------------------------------------------------------------------------


def test_the_list_leads_from_page_to_page(connection: Connection, admin_client: Client) -> None:
    made = [one.pk for one in InvocationFactory.create_batch(120, connection=connection)][::-1]
    assert rows(admin_client) == made[:50]
    first = admin_client.get(LIST)
    assert b"Newer" not in first.content
    second = admin_client.get(LIST + first.context["cl"].older_query())
    assert b"Newer" in second.content
    assert [row.pk for row in second.context["cl"].result_list] == made[50:100]
    back = admin_client.get(LIST + second.context["cl"].newer_query())
    assert [row.pk for row in back.context["cl"].result_list] == made[:50]


def test_every_page_of_the_list_costs_the_same_few_queries_and_counts_nothing(
    sandbox: Connection, admin_client: Client
) -> None:
    def queries(**query: Any) -> list[str]:
        with CaptureQueriesContext(database) as captured:
            shown(admin_client, LIST, **query)
        return [one["sql"] for one in captured]

    InvocationFactory.create_batch(3, connection=sandbox, status="failed", error_code="x")
    asked = {"status": "trouble", "connection": "acme", "source": "python", "when": "week"}
    before = len(queries()), len(queries(**asked)), len(queries(q="too large"))
    InvocationFactory.create_batch(60, connection=sandbox, status="failed", error_code="x")
    after = queries(), queries(**asked), queries(q="too large")
    assert tuple(map(len, after)) == before
    assert max(before) <= 15
    assert "COUNT(" not in str(after).upper()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 4),
        ({"status": "failed"}, 1),
        ({"status": "trouble"}, 2),
        ({"error": "crm_error"}, 1),
        ({"event": "opportunity.deal_updated"}, 1),
        ({"event": "deal_updated"}, 1),
        ({"event": "opportunity.deal_updated", "object": "contact"}, 0),
        ({"event": "nothing"}, 0),
        ({"object": "contact"}, 0),
        ({"object": "opportunity", "status": "pending"}, 2),
        ({"connection": "acme", "source": "api"}, 1),
        ({"when": "hour"}, 4),
        ({"until": "2020-01-01T00:00"}, 0),
        ({"since": "2020-01-01T00:00", "source": "api"}, 1),
        ({"q": "Opportunity:1"}, 1),
        ({"q": "nonsense"}, 1),
        ({"q": "nothing of this kind"}, 0),
    ],
)
def test_filters_and_words_find(
    connection: Connection, admin_client: Client, query: dict[str, str], expected: int
) -> None:
    detail = {"code": "crm_error", "message": "It answered nonsense."}
    made = {"status": "failed", "error_code": "crm_error", "error_detail": detail}
    InvocationFactory.create(connection=connection, **made)
    InvocationFactory.create(connection=connection, status="unknown", record_id="Opportunity:1")
    InvocationFactory.create(connection=connection, slug="deal_updated")
    InvocationFactory.create(connection=connection, source="api")
    assert len(rows(admin_client, **query)) == expected


def test_an_event_that_several_objects_have_is_offered_and_found_of_all_of_them(
    connection: Connection, admin_client: Client
) -> None:
    event = {"type": "create", "payloadSchema": {}}
    xkit_crm.define({slug: {"events": {"opened": event}} for slug in ("case", "ticket")})
    opened = EventDefinition.objects.filter(slug="opened").order_by("crm_object__slug")
    made = [InvocationFactory.create(connection=connection, event=one).pk for one in opened]
    InvocationFactory.create(connection=connection)
    assert '<option value="opened">opened</option>' in shown(admin_client, LIST)
    assert rows(admin_client, event="opened") == made[::-1]
    assert rows(admin_client, event="opened", object="ticket") == made[1:]
    assert rows(admin_client, event="case.opened") == made[:1]


def test_an_event_that_one_object_has_is_chosen_by_its_slug(
    connection: Connection, admin_client: Client
) -> None:
    told = shown(admin_client, LIST, event="deal_updated")
    assert '<option value="opportunity.deal_updated" selected>deal_updated</option>' in told


def test_the_invocations_of_a_row_are_found_by_its_name(
    failed: Invocation, admin_client: Client
) -> None:
    create("other")
    assert rows(admin_client, row=f"products.deal:{failed.object_pk}") == [failed.pk]
    assert "There is no such row" in shown(admin_client, LIST, row="products.nothing:1")


def test_what_is_looked_for_and_is_not_there_is_told(
    sandbox: Connection, admin_client: Client
) -> None:
    create()
    answer = shown(admin_client, LIST, connection="acm")
    assert "There is no connection “acm”. Did you mean acme?" in answer
    assert "There is no filter “payload__contains”." in shown(
        admin_client, LIST, payload__contains="x"
    )
    assert rows(admin_client, payload__contains="x") == []
    assert rows(admin_client, status="nope") == []
    assert rows(admin_client, before="x", after="99999999999999999999") != []


def test_a_list_that_was_not_looked_through_says_so_and_goes_on(
    connection: Connection, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "REACH", 10)
    wanted = InvocationFactory.create(connection=connection, source="api")
    InvocationFactory.create_batch(15, connection=connection)
    answer = admin_client.get(LIST, {"source": "api"})
    assert b"Nothing was found as far as it was looked." in answer.content
    assert b"Look further back" in answer.content
    further = answer.context["cl"].further_query()
    assert [row.pk for row in admin_client.get(LIST + further).context["cl"].result_list] == [
        wanted.pk
    ]


@pytest.mark.parametrize(
    "given", [{"since": "yesterday"}, {"until": "2026-13-45T00:00"}, {"since": "2020-01-01T99:00"}]
)
def test_dates_that_are_none_are_refused_kindly(
    sandbox: Connection, admin_client: Client, given: dict[str, str]
) -> None:
    create()
    assert "Enter a valid date" in shown(admin_client, LIST, **given)
    assert rows(admin_client, **given) == []


# -- the page -------------------------------------------------------------------------------------


def test_the_page_tells_the_life_of_an_invocation(failed: Invocation, admin_client: Client) -> None:
    told = shown(admin_client, page(failed))
    assert "The CRM&#x27;s own validation refused it." in told
    assert "data value too large" in told
    assert "Correct the row, or the mapping of the field that is named, then replay." in told
    assert "Try 1: create Opportunity" in told
    assert "version 1" in told
    assert told.index("Made by: a saved model") < told.index("Try 1")


def test_what_is_not_of_the_pages_language_stands_apart(
    failed: Invocation, admin_client: Client
) -> None:
    """Read from right to left, its dots and numbers would go to the wrong side."""
    for address, texts in (
        (page(failed), ("The CRM refused the Opportunity.", "Try 1: create", "acme", "deal ")),
        (reverse("admin:xkit_crm_failures"), ("acme", "opportunity.", "Correct the values")),
    ):
        told = re.sub(r"</?a\b[^>]*>", "", shown(admin_client, address))
        assert [text for text in texts if f"<bdi>{text}" not in told] == []


def test_what_joined_it_is_on_its_page_and_it_on_theirs(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deal.title = "Pear"
    deal.save()
    deliver()
    first, second = Invocation.objects.order_by("id")
    told = shown(admin_client, page(first))
    assert "Joined by deal_updated" in told
    assert "Joined: deal_updated" in told
    assert page(second) in told
    assert page(first) in shown(admin_client, page(second))


@pytest.mark.parametrize(
    ("address", "is_a_link"), [("https://crm.example/1", True), ("javascript:alert(1)", False)]
)
def test_its_record_leads_into_the_crm_and_to_nothing_else(
    sandbox: Connection,
    admin_client: Client,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    is_a_link: bool,
) -> None:
    monkeypatch.setattr(SandboxProvider, "record_url", lambda self, ref: address)
    told = shown(admin_client, page(create()))
    assert "Opportunity:00001" in told
    assert (f'href="{address}"' in told) == is_a_link


def test_the_page_costs_the_same_whatever_happened(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    def changed(times: int) -> Invocation:
        deal = DealFactory.create(customer=customer)
        for number in range(times):
            deal.title = f"Name {number}"
            deal.save()
        return Invocation.objects.get(object_pk=deal.pk, event__slug="deal_created")

    def cost(invocation: Invocation) -> int:
        with CaptureQueriesContext(database) as queries:
            shown(admin_client, page(invocation))
        return len(queries)

    seldom, often = changed(2), changed(10)
    deliver()
    assert cost(seldom) == cost(often) <= 15


def test_an_invocation_that_is_gone_is_told(connection: Connection, admin_client: Client) -> None:
    for pk in ("4711", "abc"):
        answer = admin_client.get(f"{LIST}{pk}/change/", follow=True)
        assert b"doesn\xe2\x80\x99t exist. Perhaps it was deleted?" in answer.content


# -- who may see what -----------------------------------------------------------------------------


def test_payloads_are_hidden_from_who_may_not_see_them(
    failed: Invocation, client: Client, staff: Staff
) -> None:
    Invocation.objects.update(
        error_detail={"code": "rejected_by_crm", "message": "The name Apple is taken."},
        folded=[{"event": failed.event_id, "payload": {"name": "Cherry"}}],
        result={"records": [{"type": "opportunity", "id": "Opportunity:1", "data": {"n": "Plum"}}]},
    )
    failed.attempts.update(
        sent={"Name": "Apple"},
        received={"records": [{"id": "Opportunity:1", "data": {"n": "Plum"}}]},
        error={"code": "rejected_by_crm", "message": "'Apple' is taken."},
    )
    attempt = failed.attempts.get()
    addresses = [
        page(failed),
        LIST,
        page(failed, "replay"),
        reverse("admin:xkit_crm_attempt_change", args=[attempt.pk]),
        "/admin/xkit_crm/attempt/",
        reverse("admin:xkit_crm_failures"),
    ]
    user = staff(OPERATE)
    for address in addresses:
        told = shown(client, address)
        assert not re.search("Apple|Pear|Cherry|Plum", told), address
    assert "hidden: needs the permission" in shown(client, page(failed))
    assert "The name ••• is taken." in shown(client, page(failed))
    user.user_permissions.add(Permission.objects.get(codename=SEE_PAYLOADS.partition(".")[2]))
    told = shown(client, page(failed))
    assert all(name in told for name in ("Apple", "Cherry", "Plum"))
    assert "Pear" in shown(client, page(failed, "replay"))


def test_the_last_hour_is_the_last_hour(connection: Connection, admin_client: Client) -> None:
    hours = timezone.now() - timedelta(hours=3)
    InvocationFactory.create(connection=connection, created_at=hours)
    new = InvocationFactory.create(connection=connection)
    assert rows(admin_client, when="hour") == [new.pk]


def test_the_product_has_nothing_to_do_with_what_is_only_looked_at(
    failed: Invocation, admin_client: Client
) -> None:
    before = list(Invocation.objects.values())
    for address in (page(failed), page(failed, "replay"), LIST):
        shown(admin_client, address)
    assert list(Invocation.objects.values()) == before
    assert xkit_crm.links(Deal.objects.get()).count() == 0
