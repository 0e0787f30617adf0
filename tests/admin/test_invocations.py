"""The log in the admin: found, read, and repaired by who may."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import xkit_crm
from tests.admin.conftest import Staff
from tests.delivery.conftest import act, create, names
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery import repairing, walking
from xkit_crm.models import Connection, Invocation
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

LIST = "/admin/xkit_crm/invocation/"
NAME = {"field": "Name", "kind": "direct", "key": "name"}


def page(invocation: Invocation, name: str = "change") -> str:
    return reverse(f"admin:xkit_crm_invocation_{name}", args=[invocation.pk])


def shown(client: Client, address: str, **query: Any) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(client: Client, **query: Any) -> list[int]:
    """The ids that the list shows, in order."""
    found = re.findall(r'name="_selected_action" value="(\d+)"', shown(client, LIST, **query))
    links = re.findall(
        r'href="/admin/xkit_crm/invocation/(\d+)/change/', shown(client, LIST, **query)
    )
    return [int(pk) for pk in found or dict.fromkeys(links)]


def said(client: Client) -> list[str]:
    """What was said of the last thing that was done."""
    context = client.get(LIST).context
    return [str(message) for message in context["messages"]]


@pytest.fixture
def failed(sandbox: Connection, customer: Customer) -> Invocation:
    """A row that the CRM refused, by a mapping that is mended by now. It says Apple, and its row
    says Pear."""
    act("deal_created", transformations=[{**NAME, "kind": "template", "template": "{name}" * 50}])
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    act("deal_created", transformations=[NAME])
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    return Invocation.objects.get(status="failed")


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


def test_arabic_digits_and_dates_that_are_none_are_refused_kindly(
    sandbox: Connection, admin_client: Client
) -> None:
    assert "Enter a valid date" in shown(admin_client, LIST, since="yesterday")


# -- the page -------------------------------------------------------------------------------------


def test_the_page_tells_the_life_of_an_invocation(failed: Invocation, admin_client: Client) -> None:
    told = shown(admin_client, page(failed))
    assert "The CRM&#x27;s own validation refused it." in told
    assert "data value too large" in told
    assert "Correct the row, or the mapping of the field that is named, then replay." in told
    assert "Try 1: create Opportunity" in told
    assert "version 1" in told
    assert told.index("Made by: a saved model") < told.index("Try 1")


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


def test_the_page_costs_the_same_whatever_happened(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    deal = DealFactory.create(customer=customer)
    first = Invocation.objects.get()

    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            shown(admin_client, page(first))
        return len(queries)

    before = cost()
    for number in range(10):
        deal.title = f"Name {number}"
        deal.save()
    deliver()
    assert max(before, cost()) <= 15


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


DOORS = ["replay", "skip"]


@pytest.mark.parametrize("door", DOORS)
def test_repair_needs_its_permission(
    failed: Invocation, client: Client, staff: Staff, door: str
) -> None:
    staff(SEE_PAYLOADS)
    every = reverse("admin:xkit_crm_invocation_repair_all", args=[door])
    for address in (page(failed), LIST + "?status=failed", reverse("admin:xkit_crm_failures")):
        told = client.get(address).content.decode()
        assert page(failed, door) not in told
        assert every not in told
        assert f"{door}_selected" not in told
    for address in (page(failed, door), every):
        assert client.get(address).status_code == 403
        assert client.post(address, {"way": "renewed"}).status_code == 403
    client.post(LIST, {"action": f"{door}_selected", "_selected_action": [failed.pk]})
    failed.refresh_from_db()
    assert failed.status == "failed"


def test_nobody_gets_in_without_looking_permission(client: Client, failed: Invocation) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    for address in (LIST, page(failed), reverse("admin:xkit_crm_failures"), page(failed, "replay")):
        assert client.get(address).status_code == 403


@pytest.mark.parametrize("door", DOORS)
def test_nothing_changes_by_looking(failed: Invocation, admin_client: Client, door: str) -> None:
    assert admin_client.get(page(failed, door), {"way": "renewed"}).status_code == 200
    assert admin_client.post(page(failed, "replay")).status_code == 200  # it asks in which way
    address = reverse("admin:xkit_crm_invocation_repair_all", args=[door])
    assert admin_client.get(address, {"status": "failed"}).status_code == 200
    failed.refresh_from_db()
    assert failed.status == "failed"
    assert admin_client.delete(page(failed, door)).status_code == 405


# -- one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "written", "told"),
    [
        ("renewed", "Pear", "Replayed with its row of now."),
        ("as_it_was", "Apple", "Replayed as it was."),
    ],
)
def test_a_failed_one_is_replayed_in_the_way_that_is_chosen(
    failed: Invocation, admin_client: Client, way: str, written: str, told: str
) -> None:
    asked = shown(admin_client, page(failed, "replay"))
    assert "Apple" in asked
    assert "Pear" in asked
    assert "(differs)" in asked
    answer = admin_client.post(page(failed, "replay"), {"way": way}, follow=True)
    assert b"1 invocation is queued again." in answer.content
    deliver()
    assert names() == [written]
    entry = LogEntry.objects.get(object_id=str(failed.pk))
    assert entry.get_change_message() == told
    assert f"admin: {told}" in shown(admin_client, page(failed))


def test_a_replay_that_would_overwrite_something_newer_says_so(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    first = Invocation.objects.get()
    Invocation.objects.update(status="failed")
    deal.title = "Pear"
    deal.save()
    deliver()
    assert "1 later change of this row was delivered" in shown(admin_client, page(first, "replay"))


def test_what_was_delivered_asks_first_and_is_sent_again(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    deal.title = "Pear"
    deal.save()
    deliver()
    update = Invocation.objects.latest("id")
    assert "Send again" in shown(admin_client, page(update))
    assert "It was delivered. Sent again" in shown(admin_client, page(update, "replay"))
    admin_client.post(page(update, "replay"), {"way": "renewed"})
    update.refresh_from_db()
    assert update.status == "pending"
    deliver()
    assert names() == ["Pear"]


def test_a_create_is_never_made_twice(sandbox: Connection, admin_client: Client) -> None:
    made = create("Apple")
    assert "a second one must not be" in shown(admin_client, page(made, "replay"))
    answer = admin_client.post(page(made, "replay"), {"way": "as_it_was"}, follow=True)
    assert b"0 invocations are queued again." in answer.content
    deliver()
    assert names() == ["Apple"]


def test_one_is_skipped_after_it_was_asked(failed: Invocation, admin_client: Client) -> None:
    assert "the row's next change creates it" in shown(admin_client, page(failed, "skip"))
    answer = admin_client.post(page(failed, "skip"), follow=True)
    assert b"1 invocation is skipped." in answer.content
    failed.refresh_from_db()
    assert failed.status == "skipped"
    assert LogEntry.objects.get(object_id=str(failed.pk)).get_change_message() == "Skipped."
    assert "There is nothing to skip" in shown(admin_client, page(failed, "skip"))


def test_one_that_would_create_its_row_again_is_left_and_told(
    failed: Invocation, admin_client: Client
) -> None:
    Invocation.objects.update(status="unknown")
    assert "link the row to the record" in shown(admin_client, page(failed, "skip"))
    answer = admin_client.post(page(failed, "skip"), follow=True)
    assert b"Some would create their row again" in answer.content
    failed.refresh_from_db()
    assert failed.status == "unknown"


# -- some, and all that match ---------------------------------------------------------------------


def test_the_ticked_ones_are_replayed_and_what_is_done_is_left(
    failed: Invocation, admin_client: Client
) -> None:
    done = create("Done")
    chosen = {"action": "replay_selected", "_selected_action": [failed.pk, done.pk]}
    assert b"1 invocation is queued again." in admin_client.post(LIST, chosen, follow=True).content
    assert set(Invocation.objects.values_list("status", flat=True)) == {"pending", "succeeded"}
    assert LogEntry.objects.get().object_id == str(failed.pk)


def test_the_ticked_ones_are_skipped(failed: Invocation, admin_client: Client) -> None:
    chosen = {"action": "skip_selected", "_selected_action": [failed.pk]}
    assert b"1 invocation is skipped." in admin_client.post(LIST, chosen, follow=True).content
    assert LogEntry.objects.get().get_change_message() == "Skipped."


def every(door: str, **query: Any) -> str:
    address = reverse("admin:xkit_crm_invocation_repair_all", args=[door])
    return f"{address}?{urlencode(query)}"


@pytest.fixture
def many(sandbox: Connection) -> list[Invocation]:
    """Some that failed, one that is unknown, and one that was delivered."""
    made = {"error_code": "crm_error", "connection": sandbox}
    return [
        *InvocationFactory.create_batch(5, status="failed", **made),
        InvocationFactory.create(status="unknown", **made),
        create("Done"),
    ]


@pytest.mark.parametrize(("door", "state"), [("replay", "pending"), ("skip", "skipped")])
def test_all_that_match_are_counted_then_repaired_with_one_entry_in_the_log(
    many: list[Invocation], admin_client: Client, door: str, state: str
) -> None:
    address = every(door, error="crm_error")
    assert "<strong>5</strong>" in shown(admin_client, address)
    assert f"{door.title()} all that match" in shown(admin_client, LIST, error="crm_error")
    admin_client.post(address)
    states = list(Invocation.objects.order_by("id").values_list("status", flat=True))
    assert states == [*[state] * 5, "unknown", "succeeded"]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (None, "5 invocations")
    assert entry.change_message.endswith("5 that match: error: crm_error.")


def test_the_unknown_ones_are_replayed_where_that_is_ticked(
    many: list[Invocation], admin_client: Client
) -> None:
    address = every("replay", status="trouble")
    assert "The unknown ones too: 1." in shown(admin_client, address).replace("\n    ", " ")
    admin_client.post(address, {"unknown": "on"})
    assert Invocation.objects.filter(status="pending").count() == 6


def test_what_fails_after_it_was_counted_is_not_repaired_unseen(
    many: list[Invocation], admin_client: Client
) -> None:
    address = every("replay", status="failed")
    asked = shown(admin_client, address)
    (upto,) = re.findall(r'name="upto" value="(\d+)"', asked)
    later = InvocationFactory.create(connection_id="acme", connection=None, status="failed")
    admin_client.post(address, {"upto": upto})
    later.refresh_from_db()
    assert later.status == "failed"


def test_more_than_one_request_takes_are_gone_on_with(
    many: list[Invocation], admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairing, "BATCH", 2)
    monkeypatch.setattr(repairing, "SECONDS", 0.0)
    address = every("replay", status="failed")
    answer = admin_client.post(address)
    assert b"2 are done, and the time of one request is over." in answer.content
    for _ in range(3):
        fields = dict(re.findall(r'name="(\w+)" value="(\d+)"', answer.content.decode()))
        answer = admin_client.post(address, fields)
        if answer.status_code == 302:
            break
    assert "5 invocations are queued again." in said(admin_client)
    assert Invocation.objects.filter(status="pending").count() == 5


def test_a_mistaken_filter_repairs_nothing(many: list[Invocation], admin_client: Client) -> None:
    for query in ({"connection": "nobody"}, {"staus": "failed"}, {"status": "nope"}):
        assert admin_client.post(every("replay", **query)).status_code == 302
    assert not Invocation.objects.filter(status="pending").exists()
    assert (
        admin_client.get(reverse("admin:xkit_crm_invocation_repair_all", args=["x"])).status_code
        == 404
    )


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
