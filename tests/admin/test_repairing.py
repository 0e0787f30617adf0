"""Repair in the admin: replay and skip, of one, of some, and of all that match, by who may."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

import xkit_crm
from tests.admin.conftest import Staff
from tests.admin.forms import sent_by
from tests.admin.log import LIST, page, said, shown
from tests.delivery.conftest import create, names
from tests.factories import DealFactory, InvocationFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery import repairing
from xkit_crm.models import Connection, Invocation
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

# -- who may --------------------------------------------------------------------------------------

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


def test_a_way_that_is_none_any_more_is_asked_for_again(
    failed: Invocation, admin_client: Client
) -> None:
    xkit_crm.link(failed.instance, "acme", "Opportunity:00099")
    answer = admin_client.post(page(failed, "replay"), {"way": "as_it_was"})
    assert "As it was" not in answer.content.decode()
    assert "With its row as it is now" in answer.content.decode()
    failed.refresh_from_db()
    assert failed.status == "failed"


def told_in_order(told: str, *words: str) -> bool:
    """Whether a page tells what happened in this order."""
    life = told.partition('class="xkit-life"')[2]
    places = [life.index(word) for word in words]
    return places == sorted(places)


@pytest.mark.django_db(transaction=True)
def test_a_replay_stands_in_front_of_what_came_of_it(
    failed: Invocation, admin_client: Client, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "immediate"}
    admin_client.post(page(failed, "replay"), {"way": "renewed"})
    told = shown(admin_client, page(failed))
    assert told_in_order(told, "Try 1", "admin: Replayed", "Try 2", "succeeded</span></bdi>")


def test_a_skip_stands_in_front_of_the_end(failed: Invocation, admin_client: Client) -> None:
    admin_client.post(page(failed, "skip"))
    assert told_in_order(shown(admin_client, page(failed)), "Try 1", "admin: Skipped", "skipped<")


@pytest.mark.parametrize("title", ["Zoë Pear", 'Zoë "Pear" Lovelace', "Pear " * 20])
def test_what_is_wrong_with_the_row_as_it_is_now_names_nobody_without_the_permission(
    failed: Invocation, client: Client, staff: Staff, title: str
) -> None:
    user = staff(OPERATE)
    schema = {"name": {"type": "string", "enum": ["Cherry", "Plum"]}}
    event = {"type": "create", "payloadSchema": schema}
    xkit_crm.define({"opportunity": {"events": {"deal_created": event}}})
    Deal.objects.update(title=title)
    told = shown(client, page(failed, "replay"))
    assert "gives an invalid payload for deal_created" in told
    # However the rest of the name is spelled; a token of the form may hold any two letters.
    assert not re.search(r"\bZo(?![A-Za-z0-9])|Pear|Lovelace", told)
    user.user_permissions.add(Permission.objects.get(codename=SEE_PAYLOADS.partition(".")[2]))
    assert "Pear" in shown(client, page(failed, "replay"))


def test_a_replay_that_would_overwrite_something_newer_says_so(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    for title in ("Pear", "Plum"):
        deal.title = title
        deal.save()
        deliver()
    created, changed, newer = Invocation.objects.order_by("id")
    Invocation.objects.update(status="failed")
    Invocation.objects.filter(pk=newer.pk).update(status="succeeded")
    told = shown(admin_client, page(changed, "replay"))
    assert "1 later change of this row was delivered" in told
    assert "As it was" in told
    told = shown(admin_client, page(created, "replay"))
    assert "later change" not in told
    assert "As it was" not in told


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
    assert b"a second one must not be" in answer.content
    made.refresh_from_db()
    assert made.status == "succeeded"
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


def test_what_is_unknown_is_not_replayed_with_the_ticked_ones(
    failed: Invocation, admin_client: Client
) -> None:
    unknown = InvocationFactory.create(connection_id="acme", connection=None, status="unknown")
    chosen = {"action": "replay_selected", "_selected_action": [failed.pk, unknown.pk]}
    told = admin_client.post(LIST, chosen, follow=True).content.decode()
    assert "1 invocation is queued again." in told
    assert "1 is unknown and was left: look in the CRM" in told
    unknown.refresh_from_db()
    assert unknown.status == "unknown"
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(failed.pk)]
    told = admin_client.post(LIST, chosen | {"_selected_action": [unknown.pk]}, follow=True)
    assert "queued again" not in told.content.decode()


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


@pytest.mark.parametrize(("door", "state"), [("replay", "pending"), ("skip", "skipped")])
def test_where_all_are_unknown_none_is_repaired_without_that_tick(
    many: list[Invocation], admin_client: Client, door: str, state: str
) -> None:
    address = every(door, status="unknown")
    asked = shown(admin_client, address)
    assert "They may have been written" in asked
    assert 'name="unknown" id="unknown" required' in asked
    assert "The unknown ones: 1." in asked.replace("\n    ", " ")
    assert "How many" not in asked
    admin_client.post(address)
    assert Invocation.objects.filter(status="unknown").count() == 1
    admin_client.post(address, {"unknown": "on"})
    assert not Invocation.objects.filter(status="unknown").exists()
    assert Invocation.objects.filter(status=state).count() == 1


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


def test_numbers_with_their_thousands_set_apart_repair_no_more_than_was_counted(
    sandbox: Connection, admin_client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    monkeypatch.setattr(repairing, "BATCH", 1)
    monkeypatch.setattr(repairing, "SECONDS", 0.0)
    failed = {"connection": sandbox, "status": "failed"}
    for pk in (5001, 5002):
        InvocationFactory.create(pk=pk, **failed)
    address = every("replay", status="failed")
    answer = admin_client.get(address)
    later = InvocationFactory.create(pk=5003, **failed)
    while answer.status_code == 200:
        answer = admin_client.post(address, sent_by(answer))
    assert "2 invocations are queued again." in said(admin_client)
    later.refresh_from_db()
    assert later.status == "failed"


def test_a_mistaken_filter_repairs_nothing(many: list[Invocation], admin_client: Client) -> None:
    for query in ({"connection": "nobody"}, {"staus": "failed"}, {"status": "nope"}):
        assert admin_client.post(every("replay", **query)).status_code == 302
    assert not Invocation.objects.filter(status="pending").exists()
    assert (
        admin_client.get(reverse("admin:xkit_crm_invocation_repair_all", args=["x"])).status_code
        == 404
    )


def test_everything_is_not_ticked_by_hand(failed: Invocation, admin_client: Client) -> None:
    chosen = {"action": "replay_selected", "_selected_action": [failed.pk], "select_across": "1"}
    admin_client.post(LIST, chosen)
    failed.refresh_from_db()
    assert failed.status == "failed"
