"""Trying an event in the admin: chosen, filled, looked at, sent once, answered."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import xkit_crm
from tests.admin.conftest import Staff
from tests.delivery.conftest import Misbehave, act, held, misbehave, names  # noqa: F401 - fixtures
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventDefinition,
    Invocation,
    ObjectMapping,
    RecordLink,
)
from xkit_crm.permissions import DEFINE, OPERATE, SEE_PAYLOADS
from xkit_crm.testing import deliver

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])

KEY = "0190163d-8694-739b-aea5-966c26f8ad91"
CREATE = {"connection": "acme", "event": "opportunity.deal_created"}
UPDATE = {"connection": "acme", "event": "opportunity.deal_updated"}
DELETE = {"connection": "acme", "event": "opportunity.deal_deleted"}


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:xkit_crm_invocation_{name}", args=args)


def text(answer: Any) -> str:
    """What an answer says, without its tags."""
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())))


def value(html: str, name: str) -> str:
    """What a box holds."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', html)
    assert found is not None, name
    return unescape(found[1])


def sending(payload: dict[str, Any], key: str = KEY, **chosen: str) -> dict[str, str]:
    return {**(chosen or CREATE), "payload": json.dumps(payload), "key": key}


@pytest.fixture
def linked(sandbox: Connection, customer: Customer) -> Deal:
    """A deal that the CRM has as `Opportunity:00001`."""
    deal = DealFactory.create(customer=customer, title="Lease")
    deliver()
    Invocation.objects.all().delete()
    return deal


# -- choosing -------------------------------------------------------------------------------------


def test_it_is_reached_from_an_event_a_connection_and_a_record_link(
    linked: Deal, admin_client: Client
) -> None:
    begin = page("try")
    link = "connection=acme&record=Opportunity%3A00001&object=opportunity"
    for row, preset in (
        (EventDefinition.objects.get(slug="deal_updated"), "event=opportunity.deal_updated"),
        (Connection.objects.get(), "connection=acme"),
        (RecordLink.objects.get(), link),
    ):
        name = f"admin:xkit_crm_{row._meta.model_name}_change"
        html = admin_client.get(reverse(name, args=[row.pk])).content.decode()
        assert f'href="{begin}?{preset}"' in unescape(html)
        assert "Go on" in text(admin_client.get(f"{begin}?{preset}"))


def test_what_one_came_from_is_chosen_already(linked: Deal, admin_client: Client) -> None:
    html = admin_client.get(page("try"), {"event": "opportunity.deal_updated"}).content.decode()
    assert '<option value="opportunity.deal_updated" selected>' in html
    from_link = {"connection": "acme", "record": "Opportunity:00001", "object": "opportunity"}
    html = admin_client.get(page("try"), from_link).content.decode()
    assert value(html, "connection") == "acme"
    assert value(html, "record") == "Opportunity:00001"
    assert "opportunity.deal_updated" in html
    assert "opportunity.deal_created" not in html  # which happens to no record
    assert "contact_deleted" not in html


def test_connections_and_records_are_offered_while_one_types(
    linked: Deal, admin_client: Client
) -> None:
    offered = page("try_offered")
    assert "acme" in admin_client.get(offered, {"connection": "ac"}).content.decode()
    assert "acme" in admin_client.get(offered, {"connection": "workspace"}).content.decode()
    assert "acme" not in admin_client.get(offered, {"connection": "zz"}).content.decode()
    for typed in ("", "Oppo", str(linked.pk)):
        html = admin_client.get(offered, {**UPDATE, "record": typed}).content.decode()
        assert "Opportunity:00001" in html
    html = admin_client.get(offered, {**DELETE, "record": "Contact"}).content.decode()
    assert "<option" not in html


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "Choose one."),
        ({"connection": "nobody", "event": CREATE["event"]}, "There is no connection 'nobody'."),
        ({"connection": "acme", "event": "opportunity.deal_craeted"}, "Did you mean"),
        ({"connection": "acme", "event": "nonsense"}, "There is no CRM object 'nonsense'."),
        ({"connection": "acme"}, "Choose one."),
    ],
)
def test_what_there_is_not_is_told_where_it_was_chosen(
    sandbox: Connection, admin_client: Client, chosen: dict[str, str], said: str
) -> None:
    assert said in text(admin_client.get(page("try_fill"), chosen))
    for name in ("try_check", "try_send"):
        assert said in text(admin_client.post(page(name), chosen))
    assert not Invocation.objects.exists()


def test_an_event_that_was_switched_off_meanwhile_is_told(
    sandbox: Connection, admin_client: Client
) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    event.active = False
    event.save()
    answer = admin_client.post(page("try_send"), sending({"name": "x"}))
    assert "has no event 'deal_created'" in text(answer)
    assert not Invocation.objects.exists()
    change = reverse("admin:xkit_crm_eventdefinition_change", args=[event.pk])
    assert "?event=" not in admin_client.get(change).content.decode()


# -- filling in -----------------------------------------------------------------------------------


def test_the_form_is_made_of_the_schema_and_filled_from_its_examples(
    sandbox: Connection, admin_client: Client
) -> None:
    html = admin_client.get(page("try_fill"), CREATE).content.decode()
    assert 'type="number" id="id_p_amount"' in html
    assert 'type="email" id="id_p_owner_email"' in html
    assert 'placeholder="Opportunity Name"' in html
    assert value(html, "p.name") == ""
    html = admin_client.get(page("try_fill"), {**CREATE, "from": "sample"}).content.decode()
    assert value(html, "p.name") == "Opportunity Name"


def test_it_is_filled_from_a_row_by_its_binding(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer, title="Lease", tags=["a", "b"])
    html = admin_client.get(page("try_fill"), CREATE).content.decode()
    key = f"products.deal:{deal.pk}"
    assert f"row=products.deal%3A{deal.pk}" in html
    html = admin_client.get(page("try_fill"), {**CREATE, "row": key}).content.decode()
    assert (value(html, "p.name"), value(html, "p.amount")) == ("Lease", "1200.5")
    assert (value(html, "p.tags.0"), value(html, "p.tags.1")) == ("a", "b")
    assert 'name="p.owner_email:null" checked' in html
    for gone in ("products.deal:0", "products.deal:x", "nonsense", "products.customer:1"):
        html = admin_client.get(page("try_fill"), {**CREATE, "row": gone}).content.decode()
        assert value(html, "p.name") == ""


def test_what_is_wrong_with_a_row_is_told_at_its_boxes(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer, title="x" * 90)
    row = {**CREATE, "row": f"products.deal:{deal.pk}"}
    assert "is 10 characters too long" in text(admin_client.get(page("try_fill"), row))


def test_a_linked_row_brings_its_record(linked: Deal, admin_client: Client) -> None:
    row = {**UPDATE, "row": f"products.deal:{linked.pk}"}
    html = admin_client.get(page("try_fill"), row).content.decode()
    assert value(html, "record") == "Opportunity:00001"


def test_entries_of_lists_are_added(sandbox: Connection, admin_client: Client) -> None:
    sent = {**CREATE, "p.name": "Lease", "p.tags.0": "a", "_add": "p.tags"}
    html = admin_client.post(page("try_boxes"), sent).content.decode()
    assert value(html, "p.name") == "Lease"
    assert value(html, "p.tags.1") == ""


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({**CREATE, "p.name": "x" * 90}, "is 10 characters too long (at most 80)"),
        ({**CREATE, "p.views": "1.5"}, "is 1.5, but must be an integer"),
        ({**CREATE, "p.owner_email": "ada"}, "is not an email address"),
        ({**UPDATE, "p.name": "x"}, "is required: this event happens to a record"),
        ({**UPDATE, "p.name": "x", "record": "nonsense"}, "A record id is the remote object"),
        ({**CREATE, "p.name": "nul \x00"}, "NUL character"),
    ],
)
def test_every_violation_is_told_at_its_box_and_what_was_typed_stays(
    sandbox: Connection, admin_client: Client, sent: dict[str, str], said: str
) -> None:
    answer = admin_client.post(page("try_check"), sent)
    assert said in text(answer)
    assert 'aria-invalid="true"' in answer.content.decode()
    assert "Look at what would be sent" in text(answer)
    assert sent.get("p.owner_email", "") in answer.content.decode()


def test_several_violations_are_told_at_once(sandbox: Connection, admin_client: Client) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    event.payload_schema["name"]["required"] = True
    event.save()
    shown = text(admin_client.post(page("try_check"), {**CREATE, "p.amount": "much"}))
    assert "is required" in shown
    assert "must be a number, but is a string" in shown


# -- looking --------------------------------------------------------------------------------------


def test_what_would_be_sent_is_shown_by_the_crms_own_labels(
    sandbox: Connection, admin_client: Client
) -> None:
    shown = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease"}))
    assert "A new Opportunity would be made" in shown
    assert "Opportunity Name Name Lease" in shown
    assert held() == []
    assert not Invocation.objects.exists()


def test_a_change_is_shown_beside_what_the_record_holds(linked: Deal, admin_client: Client) -> None:
    sent = {**UPDATE, "record": "Opportunity:00001", "p.name": "Renamed"}
    shown = text(admin_client.post(page("try_check"), sent))
    assert "Opportunity:00001 would be changed" in shown
    assert "Opportunity Name Name Lease Renamed changes" in shown
    sent["p.name"] = "Lease"
    assert "changes" not in text(admin_client.post(page("try_check"), sent))


def test_what_would_be_deleted_is_shown(linked: Deal, admin_client: Client) -> None:
    ObjectMapping.objects.filter(crm_object__slug="opportunity").update(
        fields={"document_name": "Name"}
    )
    shown = text(admin_client.post(page("try_check"), {**DELETE, "record": "Opportunity:00001"}))
    assert "Opportunity:00001 would be deleted" in shown
    assert "What it holds now Opportunity Name Lease" in shown


def test_a_search_and_nothing_are_told_apart(sandbox: Connection, admin_client: Client) -> None:
    find = {"connection": "acme", "event": "opportunity.find_deals", "p.name": "Lease"}
    shown = text(admin_client.post(page("try_check"), find))
    assert "Opportunity would be searched for" in shown
    act("deal_created", action="noop", transformations=[])
    shown = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "x"}))
    assert "this event does nothing in their CRM" in shown


def test_what_is_missing_is_told_and_can_not_be_sent(
    sandbox: Connection, admin_client: Client
) -> None:
    act("deal_created", transformations=[])
    shown = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease"}))
    assert "The mapping of deal_created in connection 'acme' is not complete." in shown
    assert "transformations.Name: Opportunity Name is required by the CRM" in shown
    assert "The customer completes it in CRM Link" in shown
    assert "Send it" not in shown


@pytest.mark.parametrize("status", ["disabled", "pending", "errored"])
def test_a_connection_that_is_not_enabled_is_told_at_every_step(
    sandbox: Connection, admin_client: Client, status: str
) -> None:
    Connection.objects.update(status=status)
    assert "nothing can be sent to it now" in text(admin_client.get(page("try_fill"), CREATE))
    shown = text(admin_client.post(page("try_check"), {**CREATE, "p.name": "Lease"}))
    assert f"The connection 'acme' is {status}." in shown
    assert "Send it" not in shown
    admin_client.post(page("try_send"), sending({"name": "x"}))
    assert not Invocation.objects.exists()


def test_a_record_of_another_object_or_none_is_told(linked: Deal, admin_client: Client) -> None:
    for record, said in (
        ("Contact:00001", "is no opportunity in this connection"),
        ("Opportunity:99999", "99999"),
    ):
        sent = {**UPDATE, "record": record, "p.name": "x"}
        shown = text(admin_client.post(page("try_check"), sent))
        assert said in shown
        assert "Send it" not in shown


def test_a_row_that_is_in_the_crm_is_not_made_again(linked: Deal, admin_client: Client) -> None:
    sent = {**CREATE, "row": f"products.deal:{linked.pk}", "p.name": "Lease"}
    shown = text(admin_client.post(page("try_check"), sent))
    assert "is in this CRM already, as Opportunity:00001." in shown
    admin_client.post(page("try_send"), {**sending({"name": "x"}), "row": sent["row"]})
    assert not Invocation.objects.exists()


def test_one_goes_back_to_what_was_filled_in(sandbox: Connection, admin_client: Client) -> None:
    sent = {**CREATE, "payload": json.dumps({"name": "Lease", "tags": ["a"]})}
    html = admin_client.post(page("try_fill"), sent).content.decode()
    assert (value(html, "p.name"), value(html, "p.tags.0")) == ("Lease", "a")
    for odd in ("", "[]", "{", "[" * 100_000):
        html = admin_client.post(page("try_fill"), {**CREATE, "payload": odd}).content.decode()
        assert value(html, "p.name") == ""


# -- sending --------------------------------------------------------------------------------------


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
    assert "The CRM has done it." in text(answered)
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
    assert "Nothing was sent: the connection is in shadow mode." in shown
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
    assert "It is tried again at" in text(answer)
    Invocation.objects.update(due_at=timezone.now())
    deliver()
    again = admin_client.get(
        page("try_answer", Invocation.objects.get().pk), headers={"HX-Request": "true"}
    )
    assert "The CRM has done it." in text(again)
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


# -- who may --------------------------------------------------------------------------------------


def test_looking_needs_the_permission_to_see_payloads(
    sandbox: Connection,
    client: Client,
    staff: Staff,
) -> None:
    staff(OPERATE, DEFINE)
    for name in ("try", "try_fill", "try_offered"):
        assert client.get(page(name), CREATE).status_code == 403
    for name in ("try_check", "try_send", "try_boxes", "try_fill"):
        assert client.post(page(name), sending({"name": "x"})).status_code == 403
    assert client.get(page("try_answer", 1)).status_code == 403
    change = reverse("admin:xkit_crm_connection_change", args=["acme"])
    assert page("try") not in client.get(change).content.decode()
    assert not Invocation.objects.exists()


def test_sending_needs_the_permission_to_operate(
    sandbox: Connection,
    client: Client,
    staff: Staff,
) -> None:
    staff(SEE_PAYLOADS)
    change = reverse("admin:xkit_crm_connection_change", args=["acme"])
    assert page("try") in client.get(change).content.decode()
    shown = text(client.post(page("try_check"), {**CREATE, "p.name": "Lease"}))
    assert "A new Opportunity would be made" in shown
    assert "Send it" not in shown
    assert client.post(page("try_send"), sending({"name": "Lease"})).status_code == 403
    assert held() == []


def test_what_changes_something_is_sent_by_a_form(
    sandbox: Connection, admin_client: Client, admin_user: Any
) -> None:
    for name in ("try_send", "try_check", "try_boxes"):
        assert admin_client.get(page(name), CREATE).status_code == 405
    assert admin_client.post(page("try"), CREATE).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(page("try_send"), sending({"name": "x"})).status_code == 403
    assert admin_client.get(page("try_answer", 99999)).status_code == 404


def test_markup_is_shown_as_it_is(sandbox: Connection, admin_client: Client) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    event.label = "<script>1</script>"
    event.payload_schema["name"] |= {"label": "<i>Name</i>", "description": "<b>x</b>"}
    event.save()
    CRMObject.objects.update(label="<u>Object</u>")
    typed = {**CREATE, "p.name": "<s>Lease</s>"}
    html = "".join(
        answer.content.decode()
        for answer in (
            admin_client.get(page("try"), {**CREATE, "connection": "<q>"}),
            admin_client.get(page("try_fill"), CREATE),
            admin_client.post(page("try_check"), typed),
            admin_client.post(page("try_send"), sending({"name": "<s>Lease</s>"}), follow=True),
        )
    )
    for markup in ("<script>1", "<i>Name", "<b>x", "<u>Object", "<s>Lease", "<q>"):
        assert markup not in html
    assert "&lt;s&gt;Lease" in html


# -- what it costs --------------------------------------------------------------------------------


def test_no_screen_costs_more_than_fifteen_queries(linked: Deal, admin_client: Client) -> None:
    with xkit_crm.muted():
        DealFactory.create_batch(30, customer=linked.customer)
    admin_client.post(page("try_send"), sending({"name": "Lease"}))
    answer = page("try_answer", Invocation.objects.get().pk)
    row, record = f"products.deal:{linked.pk}", "Opportunity:00001"
    checked = {**UPDATE, "p.name": "x", "record": record, "row": row}
    visits: dict[str, Any] = {
        "try": lambda: admin_client.get(page("try"), CREATE),
        "fill": lambda: admin_client.get(page("try_fill"), {**UPDATE, "row": row}),
        "offered": lambda: admin_client.get(page("try_offered"), {**UPDATE, "record": ""}),
        "boxes": lambda: admin_client.post(page("try_boxes"), CREATE),
        "check": lambda: admin_client.post(page("try_check"), checked),
        "answer": lambda: admin_client.get(answer),
    }
    for name, visit in visits.items():
        visit()
        with CaptureQueriesContext(database) as queries:
            visit()
        # Another CRM would be asked over the network.
        assert sum("xkit_sandbox" not in query["sql"] for query in queries) <= 15, name
