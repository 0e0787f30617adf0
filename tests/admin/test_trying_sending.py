"""Sending an event that is tried: once, to the CRM or in rehearsal, and what came of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

import xkit_crm
from tests.admin.reading import text
from tests.admin.trying_pages import CREATE, UPDATE, page, sending, value
from tests.delivery.conftest import Misbehave, act, held, misbehave, names  # noqa: F401 - fixtures
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Connection, Invocation
from xkit_crm.testing import deliver

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])


def test_it_is_sent_for_real_and_answered_step_by_step(
    sandbox: Connection, admin_client: Client
) -> None:
    looked = admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease"}).content.decode()
    sent = {name: value(looked, name) for name in ("connection", "event", "payload", "key")}
    answer = admin_client.post(page("try_send"), sent)
    invocation = Invocation.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == page("try_answer", invocation.pk)
    assert names() == ["Lease"]
    assert (invocation.source, invocation.status) == ("admin", "succeeded")
    answered = admin_client.get(answer["Location"])
    assert "Attempt 1 create Opportunity succeeded" in text(answered)
    assert "Delivered The CRM has it." in text(answered)
    html = answered.content.decode()
    assert re.search(r'<a href="[^"]+" rel="noopener">Opportunity:00001</a>', html)
    assert "every 2s" not in html
    (entry,) = LogEntry.objects.all()
    assert entry.get_change_message() == "Tried opportunity.deal_created in acme."
    assert entry.object_id == str(invocation.pk)


def test_a_page_that_is_sent_twice_is_sent_once(sandbox: Connection, admin_client: Client) -> None:
    first = admin_client.post(page("try_send"), sending({"name": "Lease"}))
    second = admin_client.post(page("try_send"), sending({"name": "Lease"}))
    assert first["Location"] == second["Location"]
    assert names() == ["Lease"]
    assert LogEntry.objects.count() == 1
    other = admin_client.post(page("try_send"), sending({"name": "Other"}))
    assert "used for another request" in text(other)
    assert names() == ["Lease"]


@pytest.mark.parametrize("key", ["", "nonsense", "x" * 500])
def test_a_page_whose_key_was_tampered_with_is_looked_at_again(
    sandbox: Connection, admin_client: Client, key: str
) -> None:
    answer = admin_client.post(page("try_send"), sending({"name": "Lease"}, key))
    assert "A new Opportunity would be made" in text(answer)
    assert held() == []


def test_what_was_tampered_with_is_checked_again(sandbox: Connection, admin_client: Client) -> None:
    answer = admin_client.post(page("try_send"), sending({"name": 7, "nme": "x"}))
    shown = text(answer)
    assert "payload.name: must be a string, but is a number" in shown
    assert "payload.nme: unknown key (did you mean name?)" in shown
    admin_client.post(page("try_send"), sending({"name": "x"}, **UPDATE))
    assert not Invocation.objects.exists()


def test_a_record_made_of_a_row_is_the_rows(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer)
    sent = {**sending({"name": "Lease"}), "row": f"products.deal:{deal.pk}"}
    admin_client.post(page("try_send"), sent)
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
    deal.title = "Renamed"
    deal.save()
    deliver()
    assert names() == ["Renamed"]


def test_a_row_of_another_customer_is_refused_at_every_step(
    sandbox: Connection, admin_client: Client
) -> None:
    with xkit_crm.muted():
        theirs = DealFactory.create(customer__connection_id="other")
    row = f"products.deal:{theirs.pk}"
    looked = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease", "row": row}))
    assert f"The connection 'acme' has no row {row!r}." in looked
    assert "Send it" not in looked
    sent = admin_client.post(page("try_send"), {**sending({"name": "Lease"}), "row": row})
    assert f"The connection 'acme' has no row {row!r}." in text(sent)
    assert held() == []
    assert not xkit_crm.links(theirs).exists()


def test_a_change_of_a_linked_record_is_sent_to_it(linked: Deal, admin_client: Client) -> None:
    sent = sending({"name": "By hand"}, **UPDATE, record="Opportunity:00001")
    admin_client.post(page("try_send"), sent)
    assert names() == ["By hand"]


def test_in_shadow_mode_it_is_rehearsed(sandbox: Connection, admin_client: Client) -> None:
    Connection.objects.update(shadow=True)
    looked = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease"}))
    assert "is in shadow mode" in looked
    assert "Rehearse it" in looked
    answer = admin_client.post(page("try_send"), sending({"name": "Lease"}), follow=True)
    shown = text(answer)
    assert "Attempt 1 create Opportunity rehearsed" in shown
    assert "The connection is in shadow mode: nothing is sent." in shown
    assert "every 2s" not in answer.content.decode()
    assert held() == []


def test_what_the_crm_refuses_is_told_with_what_to_do(
    sandbox: Connection, admin_client: Client
) -> None:
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    answer = admin_client.post(page("try_send"), sending({"name": "Lease"}), follow=True)
    assert "data value too large" in text(answer)
    assert Invocation.objects.get().status == "failed"


def test_what_is_tried_again_is_looked_at_until_it_is_done(
    sandbox: Connection,
    misbehave: Misbehave,  # noqa: F811
    admin_client: Client,
    settings: Any,
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "RETRY_BASE": 60.0}
    misbehave("unavailable", operation="create")
    answer = admin_client.post(page("try_send"), sending({"name": "Lease"}), follow=True)
    assert 'hx-trigger="every 2s"' in answer.content.decode()
    assert "What happens next It is tried again." in text(answer)
    Invocation.objects.update(due_at=timezone.now())
    deliver()
    again = admin_client.get(
        page("try_answer", Invocation.objects.get().pk), headers={"HX-Request": "true"}
    )
    assert "Delivered The CRM has it." in text(again)
    assert "every 2s" not in again.content.decode()
    assert "<html" not in again.content.decode()


def test_what_is_searched_for_is_listed(linked: Deal, admin_client: Client) -> None:
    sent = sending({"name": "Lease"}, connection="acme", event="opportunity.find_deals")
    shown = text(admin_client.post(page("try_send"), sent, follow=True))
    assert "1 record was found Opportunity:00001" in shown


def test_events_that_are_fired_elsewhere_are_tried_there(
    sandbox: Connection, admin_client: Client, settings: Any
) -> None:
    remote = {"base_url": "https://x", "publishable_key": "a", "secret_key": "b"}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "REMOTE": remote}
    answer = admin_client.post(page("try_send"), sending({"name": "Lease"}))
    assert "Events are fired in another deployment from here." in text(answer)
    assert not Invocation.objects.exists()
