"""Trying an event in the admin: chosen, and looked at before it is sent, by who may."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from tests.admin.conftest import Staff
from tests.admin.reading import text
from tests.admin.trying_pages import CREATE, DELETE, UPDATE, page, sending, value
from tests.delivery.conftest import act, held
from tests.factories import DealFactory
from tests.products.models import Deal
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventDefinition,
    Invocation,
    ObjectMapping,
    RecordLink,
)
from xkit_crm.permissions import DEFINE, OPERATE, SEE_PAYLOADS

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])


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


@pytest.mark.parametrize("name", ["connection", "event", "record", "row"])
def test_a_character_that_no_database_takes_names_nothing(
    linked: Deal, admin_client: Client, name: str
) -> None:
    row = f"products.deal:{linked.pk}"
    odd = {**UPDATE, "record": "Opportunity:00001", "row": row, "p.name": "x"}
    odd[name] += "\x00"
    for answer in (
        admin_client.get(page("try_offered"), odd),
        admin_client.get(page("try_offered"), {"connection": odd["connection"]}),
        admin_client.get(page("try"), odd),
        admin_client.get(page("try_fill"), odd),
        admin_client.post(page("try_check"), odd),
        admin_client.post(page("try_send"), {**odd, **sending({"name": "x"}, **odd)}),
    ):
        assert answer.status_code == 200
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
