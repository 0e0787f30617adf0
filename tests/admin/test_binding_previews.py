"""The panel beside a binding: what becomes of a row, for whoever may see it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.urls import reverse

import xkit_crm
from tests.admin.binding_pages import (
    IN_FORCE,
    form,
    preview,
    rule,
    type_of,
)
from tests.admin.conftest import Staff
from tests.admin.reading import text
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal, Ticket
from tests.sync.test_capture import events, rebound
from xkit_crm.models import Connection, CRMObject, RecordLink
from xkit_crm.permissions import DEFINE

pytestmark = IN_FORCE


def test_the_preview_shows_the_newest_row_as_it_would_be_fired(
    sandbox: Connection, admin_client: Client
) -> None:
    CustomerFactory.create(name="Older", connection_id="acme")
    CustomerFactory.create(name="Newest", connection_id="acme")
    shown = preview(admin_client, **form(**{"payload:amount": "id"}))
    assert '"name": "Newest"' in shown
    assert "Older" not in shown.split("On create")[1]
    assert "On create: Deal Created valid" in shown
    assert "acme enabled has no record there yet: its next change creates one" in shown
    assert not events()


def test_another_row_is_found_by_its_key(sandbox: Connection, admin_client: Client) -> None:
    first = CustomerFactory.create(name="First", connection_id="acme")
    CustomerFactory.create(name="Second", connection_id="nobody")
    assert '"name": "First"' in preview(admin_client, **form(), preview_row=first.pk)
    for asked in ("0", "nonsense", "9" * 30, "x" * 5000, "\x00"):
        assert "There is no such row." in preview(admin_client, **form(), preview_row=asked)


def test_another_row_is_found_by_what_the_products_own_admin_searches(
    sandbox: Connection, admin_client: Client
) -> None:
    User.objects.create_user("ada", email="ada@example.com")
    User.objects.create_user("grace")
    bound = form(model=type_of(User), **{"payload:name": "username"}, connection_path="username")
    assert '"name": "ada"' in preview(admin_client, **bound, preview_row="ada@exam")
    assert "There is no such row." in preview(admin_client, **bound, preview_row="ada\x00")


def test_the_preview_tells_every_violation(sandbox: Connection, admin_client: Client) -> None:
    CustomerFactory.create(name="x" * 90, connection_id="acme")
    shown = preview(admin_client, **form(**{"payload:owner_email": "name"}))
    assert "payload.name: is 10 characters too long (at most 80)" in shown
    assert "payload.owner_email: is not an email address" in shown
    assert "On create: Deal Created 2 problems" in shown


def test_the_preview_tells_what_is_left_to_do(connection: Connection, admin_client: Client) -> None:
    CustomerFactory.create(name="Ada", connection_id="acme")
    wrong = {"payload:name": "*", "payload:name:typed": "nme", "payload:amount": "id"}
    shown = preview(admin_client, **form(**wrong, **rule(0, "name", "at_least")))
    assert "payload.name: Customer has no nme; did you mean name?" in shown
    assert "Rule 1: is required" in shown
    assert '"amount":' in shown  # what is right is shown all the same
    assert "Choose a model and a CRM object" in preview(admin_client, model="", crm_object="")


def test_the_preview_says_whether_the_condition_holds(
    sandbox: Connection, admin_client: Client
) -> None:
    CustomerFactory.create(name="Ada", connection_id="acme")
    shown = preview(admin_client, **form(**rule(0, "name", "is", "Grace")))
    assert "left out by the condition" in shown
    assert "does not hold: name is Grace" in shown
    shown = preview(admin_client, **form(**rule(0, "name", "is", "Ada")))
    assert "meets the condition" in shown


def test_the_preview_says_what_each_connection_makes_of_it(
    sandbox: Connection, admin_client: Client
) -> None:
    ticket = Ticket.objects.create(code="1", title="T", connection_ids=["acme", "new", "off"])
    xkit_crm.connect("off", provider="sandbox")
    Connection.objects.filter(pk="off").update(status="disabled", shadow=True)
    sandbox.mappings.all().delete()
    xkit_crm.link(ticket, "off", "Opportunity:00007")
    shown = text(
        admin_client.get(
            reverse("admin:xkit_crm_modelbinding_look"),
            {"model": "products.Ticket", "crm_object": "opportunity"},
        )
    )
    assert "new not connected yet" in shown
    assert "Deal Created: the customer has not decided what it does" in shown
    assert "off disabled shadow is Opportunity:00007 there: its next change updates it" in shown


def test_what_the_next_change_does_is_told_where_an_event_is_bound_to_it(
    sandbox: Connection, admin_client: Client
) -> None:
    customer = CustomerFactory.create(name="Ada", connection_id="acme")
    for unbound in ("on_create", "on_update"):
        shown = preview(admin_client, **form(**{unbound: ""}))
        assert "has no record there yet" in shown
        assert "next change" not in shown
    xkit_crm.link(customer, "acme", "Opportunity:00007", crm_object="opportunity")
    assert "Opportunity:00007 there: its next" in preview(admin_client, **form(on_create=""))
    shown = preview(admin_client, **form(on_update=""))
    assert "is Opportunity:00007 there" in shown
    assert "next change" not in shown


def test_a_preview_changes_nothing_whatever_the_products_code_does(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    class Careless(DealSync):
        def get_name(self, deal: Deal) -> str:
            Customer.objects.update(name="Changed")
            raise RuntimeError("<b>no</b>")

        def is_synced(self, deal: Deal) -> bool:
            raise RuntimeError("nor this")

        def get_connections(self, deal: Deal) -> Any:
            return 1 / 0

    with xkit_crm.muted():
        DealFactory.create(customer=customer)
    with rebound(Careless):
        answer = admin_client.get(
            reverse("admin:xkit_crm_modelbinding_look"),
            {"model": "products.Deal", "crm_object": "opportunity"},
        )
    shown = text(answer)
    assert "condition: can't be asked: RuntimeError: nor this" in shown
    assert "can't be read: ZeroDivisionError" in shown
    assert b"<b>no</b>" not in answer.content
    assert "RuntimeError: <b>no</b>" in shown
    assert not Customer.objects.filter(name="Changed").exists()


def test_record_links_of_a_preview_are_of_the_row(
    sandbox: Connection, admin_client: Client
) -> None:
    customer = CustomerFactory.create(name="Ada", connection_id="acme")
    RecordLink.objects.create(
        connection=sandbox,
        crm_object=CRMObject.objects.get(slug="opportunity"),
        content_type_id=type_of(Customer),
        object_pk=str(customer.pk),
        record_id="Opportunity:00042",
    )
    assert "is Opportunity:00042 there" in preview(admin_client, **form())


def test_a_query_of_the_products_code_that_fails_is_told_and_stops_nothing_else(
    sandbox: Connection, deal: Deal, admin_client: Client
) -> None:
    """On PostgreSQL nothing else could be asked in its transaction."""

    def fail() -> Any:
        with database.cursor() as cursor:
            cursor.execute("SELECT nothing_of_the_kind")

    class Conditional(DealSync):
        def is_synced(self, deal: Deal) -> bool:
            return bool(fail())

    class Computed(DealSync):
        def get_name(self, deal: Deal) -> Any:
            return fail()

    class Connected(DealSync):
        def get_connections(self, deal: Deal) -> Any:
            return fail()

    def shown(sync: type[DealSync]) -> str:
        named = {"model": "products.Deal", "crm_object": "opportunity"}
        with rebound(sync):
            return text(admin_client.get(reverse("admin:xkit_crm_modelbinding_look"), named))

    assert "condition: can't be asked" in shown(Conditional)
    assert "On update: Deal Updated valid" in shown(Conditional)
    assert "can't be read" in shown(Computed)
    assert "acme enabled" in shown(Computed)
    assert "connection_path: can't be read" in shown(Connected)
    assert '"name": "Sales contract"' in shown(Connected)


def test_values_are_for_those_who_may_see_them(
    sandbox: Connection,
    client: Client,
    staff: Staff,
) -> None:
    staff(DEFINE)
    CustomerFactory.create(name="Ada Lovelace" * 8, connection_id="acme")
    sent = form(**{"payload:owner_email": "name"})
    answer = client.post(reverse("admin:xkit_crm_modelbinding_preview"), sent)
    assert b"Ada Lovelace" not in answer.content
    shown = text(answer)
    assert "payload.name: is not valid" in shown
    assert "Keys: name, owner_email" in shown
    User.objects.create_user("ada")
    bound = form(model=type_of(User), **{"payload:name": "username"}, connection_path="username")
    assert "There is no such row." in preview(client, **bound, preview_row="ada")


def test_what_a_condition_says_of_a_row_is_for_those_who_may_see_its_values(
    sandbox: Connection, client: Client, staff: Staff
) -> None:
    staff(DEFINE)
    CustomerFactory.create(name="Ada", connection_id="acme")
    met, unmet = (
        preview(client, **form(**rule(0, "name", "is", asked))) for asked in ("Ada", "Eve")
    )
    assert "name is Ada" in met
    assert met.replace("Ada", "Eve") == unmet


def test_where_a_row_goes_is_told_by_connections_that_there_are(
    sandbox: Connection, client: Client, staff: Staff
) -> None:
    staff(DEFINE)
    CustomerFactory.create(name="Ada", connection_id="acme")
    assert "acme enabled" in preview(client, **form())
    shown = preview(client, **form(connection_path="name"))
    assert "Goes to not connected yet" in shown
    assert "Ada" not in shown
