"""The list of bindings in the admin, those from code beside them, and who may see and do what."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from example_project.documents.models import Workspace
from tests.admin.binding_pages import (
    ADD,
    IN_FORCE,
    LIST,
    event,
    form,
    made,
    page,
    parts,
    type_of,
)
from tests.admin.conftest import Staff
from tests.admin.reading import text
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer
from tests.sync.test_capture import fired
from xkit_crm.models import Connection, EventDefinition, ModelBinding
from xkit_crm.permissions import SEE_PAYLOADS

pytestmark = IN_FORCE


def test_who_may_only_look_sees_it_and_changes_nothing(
    sandbox: Connection,
    client: Client,
    staff: Staff,
) -> None:
    row = made(condition=[{"path": "name", "operator": "not_empty"}])
    staff(SEE_PAYLOADS)
    answer = client.get(page(row))
    assert "name is not empty" in text(answer)
    assert b'name="_save"' not in answer.content
    assert b"<select" not in answer.content
    assert client.post(page(row), form()).status_code == 403
    for name in ("parts", "preview"):
        address = reverse(f"admin:xkit_crm_modelbinding_{name}")
        assert client.post(address, form()).status_code == 403
    look = f"{reverse('admin:xkit_crm_modelbinding_look')}?id={row.pk}"
    assert client.get(look).status_code == 200


def test_who_may_not_look_sees_nothing(
    sandbox: Connection, client: Client, django_user_model: Any
) -> None:
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    for name in ("look", "code"):
        assert client.get(reverse(f"admin:xkit_crm_modelbinding_{name}")).status_code == 403
    assert client.get(LIST).status_code == 403


def test_what_is_not_there_is_not_found(sandbox: Connection, admin_client: Client) -> None:
    for query in ("?model=products.Deal&crm_object=contact", "?model=x", ""):
        address = reverse("admin:xkit_crm_modelbinding_code") + query
        assert admin_client.get(address).status_code == 404
    for asked in ("0", "nonsense", "9" * 40):
        address = f"{reverse('admin:xkit_crm_modelbinding_look')}?id={asked}"
        assert admin_client.get(address).status_code == 404


# -- from code, active, and broken ----------------------------------------------------------------


def test_bindings_from_code_are_listed_with_the_line_they_are_written_in(
    connection: Connection, admin_client: Client
) -> None:
    answer = admin_client.get(LIST)
    assert re.search(r"tests/products/crm\.py:\d+", text(answer))
    address = "/admin/xkit_crm/modelbinding/code/?model=products.Deal&amp;crm_object=opportunity"
    assert address in answer.content.decode()
    shown = text(admin_client.get(unescape(address)))
    assert "Deal (products.Deal)" in shown
    assert "owner__email" in shown
    assert "amount, owner_id, tags, title, views" in shown
    assert b'name="_save"' not in admin_client.get(unescape(address)).content


def test_a_binding_that_is_left_to_triggers_says_so(
    connection: Connection, twins_by_triggers: None, admin_client: Client
) -> None:
    address = reverse("admin:xkit_crm_modelbinding_code")
    for model, is_told in (("Twin", True), ("Ticket", False)):
        page = admin_client.get(
            address, {"model": f"products.{model}", "crm_object": "opportunity"}
        )
        told = is_told and database.vendor == "postgresql"
        assert ("by the triggers of the model's table" in text(page)) is told


def test_the_list_says_what_is_active_silent_off_and_broken(
    connection: Connection, admin_client: Client
) -> None:
    made()
    assert "Customer → Opportunity deal_created — active" in text(admin_client.get(LIST))
    EventDefinition.objects.filter(slug="deal_created").update(active=False)
    shown = text(admin_client.get(LIST))
    assert "partly silent on_create: deal_created is not active, so it fires nothing" in shown
    ModelBinding.objects.update(active=False)
    assert "switched off" in text(admin_client.get(LIST))
    ModelBinding.objects.update(payload={"name": "nme", "views": "pk", "no": "id"})
    shown = text(admin_client.get(LIST))
    assert "2 problems payload.no: is in the schema of none of these events" in shown
    assert "did you mean name?" in text(admin_client.get(page(ModelBinding.objects.get())))


def test_a_binding_whose_model_vanished_is_shown_and_can_be_switched_off(
    connection: Connection, admin_client: Client
) -> None:
    gone = ContentType.objects.create(app_label="gone", model="thing")
    row = made(model_id=gone.pk)
    assert "its app is not installed any more" in text(admin_client.get(LIST))
    assert "its app is not installed any more" in text(admin_client.get(page(row)))
    chosen_ = {"action": "switch_off", "_selected_action": [row.pk]}
    admin_client.post(LIST, chosen_)
    row.refresh_from_db()
    assert not row.active
    told = admin_client.post(LIST, {**chosen_, "action": "switch_on"}, follow=True)
    assert "its app is not installed any more" in text(told)
    row.refresh_from_db()
    assert not row.active
    assert [str(entry.get_change_message()) for entry in LogEntry.objects.all()] == [
        "Switched off."
    ]


def test_switching_on_puts_it_into_force(connection: Connection, admin_client: Client) -> None:
    row = made(active=False)
    Customer.objects.create(name="Before", connection_id="acme")
    admin_client.post(LIST, {"action": "switch_on", "_selected_action": [row.pk]})
    Customer.objects.create(name="After", connection_id="acme")
    assert [payload["name"] for _, payload in fired()] == ["After"]


def test_a_binding_that_broke_fails_no_save_and_is_told_by_the_check(
    connection: Connection, admin_client: Client
) -> None:
    made(payload={"name": "nme"})
    Customer.objects.create(name="Saved all the same", connection_id="acme")
    assert fired() == []
    messages = run_checks(tags=["database"], databases=["default"])
    (told,) = [m for m in messages if m.id == "xkit_crm.W022"]
    assert "payload.name: Customer has no nme; did you mean name?" in told.msg


def test_markup_in_labels_is_shown_as_it_is(connection: Connection, admin_client: Client) -> None:
    created = event("deal_created")
    created.label = "<script>alert(1)</script>"
    created.payload_schema["name"] |= {"label": "<i>Name</i>", "description": "<b>x</b>"}
    created.save()
    CustomerFactory.create(name="<u>Ada</u>", connection_id="acme")
    html = parts(admin_client, **form())
    for address in (page(made()), LIST):
        html += admin_client.get(address).content.decode()
    html += admin_client.post(
        reverse("admin:xkit_crm_modelbinding_preview"), form()
    ).content.decode()
    for markup in ("<script>alert", "<i>Name", "<b>x", "<u>Ada"):
        assert markup not in html
    assert "&lt;u&gt;Ada" in html


# -- what it costs --------------------------------------------------------------------------------


def test_no_screen_costs_more_than_fifteen_queries(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    row = made(condition=[{"path": "name", "operator": "not_empty"}])
    for _ in range(30):
        DealFactory.create(customer=customer)
    look = reverse("admin:xkit_crm_modelbinding_look")
    coded = "model=products.Deal&crm_object=opportunity"
    query, sent = f"?id={row.pk}", form()
    visits: dict[str, Any] = {
        "list": lambda: admin_client.get(LIST),
        "add": lambda: admin_client.get(ADD),
        "change": lambda: admin_client.get(page(row)),
        "parts": lambda: admin_client.post(
            reverse("admin:xkit_crm_modelbinding_parts") + query, sent
        ),
        "preview": lambda: admin_client.post(
            reverse("admin:xkit_crm_modelbinding_preview") + query, sent
        ),
        "look": lambda: admin_client.get(f"{look}?{coded}"),
        "code": lambda: admin_client.get(f"{look.replace('look', 'code')}?{coded}"),
    }
    for name, visit in visits.items():
        visit()
        with CaptureQueriesContext(database) as queries:
            visit()
        assert len(queries) <= 15, name


def test_a_list_costs_the_same_for_many_bindings(
    connection: Connection, admin_client: Client
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            admin_client.get(LIST)
        return len(queries)

    made()
    cost()
    before = cost()
    for model in (Workspace, User):
        made(model_id=type_of(model), payload={}, connection_path="id")
    assert cost() <= before
