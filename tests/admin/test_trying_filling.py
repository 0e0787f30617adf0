"""Filling in an event that is tried, from a sample, a row or by hand, and what is wrong with it."""

from __future__ import annotations

import json

import pytest
from django.test import Client

import xkit_crm
from tests.admin.reading import text
from tests.admin.trying_pages import CREATE, UPDATE, page, value
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Connection, EventDefinition

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])


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


def test_one_goes_back_to_what_was_filled_in(sandbox: Connection, admin_client: Client) -> None:
    sent = {**CREATE, "payload": json.dumps({"name": "Lease", "tags": ["a"]})}
    html = admin_client.post(page("try_fill"), sent).content.decode()
    assert (value(html, "p.name"), value(html, "p.tags.0")) == ("Lease", "a")
    for odd in ("", "[]", "{", "[" * 100_000):
        html = admin_client.post(page("try_fill"), {**CREATE, "payload": odd}).content.decode()
        assert value(html, "p.name") == ""


def test_a_row_that_has_no_name_is_offered_by_its_key(
    sandbox: Connection, deal: Deal, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deal, "__str__", lambda deal: deal.customer.nickname)
    assert f"deal {deal.pk}" in text(admin_client.get(page("try_fill"), CREATE))


def test_a_row_of_another_customer_fills_nothing(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        theirs = DealFactory.create(customer__connection_id="other", title="Secret")
    row = {**CREATE, "row": f"products.deal:{theirs.pk}"}
    answer = admin_client.get(page("try_fill"), row)
    assert value(answer.content.decode(), "p.name") == ""
    assert "Secret" not in answer.content.decode()
    sent = {**row, "payload": json.dumps({"name": "Lease"})}
    html = admin_client.post(page("try_fill"), sent).content.decode()
    assert (value(html, "p.name"), value(html, "row")) == ("Lease", "")
