"""Bindings in the admin: made by picking, previewed on a row, and those from code beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.checks import run_checks
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from example_project.documents.models import Workspace
from tests.admin.conftest import Staff
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import BigDeal, Customer, Deal, Plain, Ticket
from tests.sync.test_capture import events, fired, rebound
from xkit_crm.models import Connection, CRMObject, EventDefinition, ModelBinding, RecordLink
from xkit_crm.permissions import DEFINE, SEE_PAYLOADS
from xkit_crm.sync import bindings, kinds, readable

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])

LIST = "/admin/xkit_crm/modelbinding/"
ADD = f"{LIST}add/"


@pytest.fixture(autouse=True)
def _forget_rows() -> Iterator[None]:
    """What a test bound by rows is rolled back; what was loaded of it goes too."""
    yield
    bindings._from_rows.clear()
    bindings._by_class.clear()


def type_of(model: Any) -> int:
    return ContentType.objects.get_for_model(model).pk


def event(slug: str) -> EventDefinition:
    return EventDefinition.objects.get(slug=slug)


def form(**changes: Any) -> dict[str, Any]:
    """The form, filled in so that customers become opportunities."""
    return {
        "model": type_of(Customer),
        "crm_object": CRMObject.objects.get(slug="opportunity").pk,
        "on_create": event("deal_created").pk,
        "on_update": event("deal_updated").pk,
        "on_delete": "",
        "payload:name": "name",
        "connection_path": "connection_id",
        "active": "on",
        **changes,
    }


def rule(
    index: int, path: str, operator: str = "is", value: Any = "", typed: str = ""
) -> dict[str, Any]:
    begin = f"condition:{index}"
    return {
        f"{begin}:path": path,
        f"{begin}:path:typed": typed,
        f"{begin}:operator": operator,
        f"{begin}:value": value,
    }


def made(**changes: Any) -> ModelBinding:
    values: dict[str, Any] = {
        "model_id": type_of(Customer),
        "crm_object": CRMObject.objects.get(slug="opportunity"),
        "on_create": event("deal_created"),
        "payload": {"name": "name"},
        "connection_path": "connection_id",
    }
    return ModelBinding.objects.create(**values | changes)


def page(row: ModelBinding) -> str:
    return f"{LIST}{row.pk}/change/"


def text(answer: Any) -> str:
    """What an answer says, without its tags."""
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())))


def options(html: str, name: str) -> list[str]:
    """The values that a picker offers."""
    found = re.search(rf'<select[^>]*name="{re.escape(name)}".*?</select>', html, re.DOTALL)
    assert found is not None, name
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', found[0])]


def chosen(html: str, name: str) -> str:
    found = re.search(rf'<select[^>]*name="{re.escape(name)}".*?</select>', html, re.DOTALL)
    assert found is not None, name
    selected = re.search(r'<option value="([^"]*)"[^>]*selected', found[0])
    return unescape(selected[1]) if selected else ""


def parts(client: Client, **sent: Any) -> str:
    """The form's parts as they are renewed after a choice."""
    answer = client.post(reverse("admin:xkit_crm_modelbinding_parts"), sent)
    assert answer.status_code == 200
    return answer.content.decode()


def preview(client: Client, row: ModelBinding | None = None, **sent: Any) -> str:
    address = reverse("admin:xkit_crm_modelbinding_preview")
    return text(client.post(address + (f"?id={row.pk}" if row else ""), sent))


# -- making one -----------------------------------------------------------------------------------


def test_a_binding_that_there_is_is_changed_by_its_form(
    connection: Connection, admin_client: Client
) -> None:
    row = made()
    answer = admin_client.post(page(row), form(on_update="", connection_path="name"))
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.connection_path, row.on_update) == ("name", None)
    assert "Connection id" in LogEntry.objects.get().get_change_message()


def test_what_is_picked_is_bound(connection: Connection, admin_client: Client) -> None:
    answer = admin_client.post(ADD, form(**rule(0, "name", "is_not", "Test")))
    assert answer.status_code == 302
    row = ModelBinding.objects.get()
    assert row.payload == {"name": "name"}
    assert row.condition == [{"path": "name", "operator": "is_not", "value": "Test"}]
    assert (row.connection_path, row.active) == ("connection_id", True)
    for name in ("Test", "Real"):
        Customer.objects.create(name=name, connection_id="acme")
    assert [payload["name"] for _, payload in fired()] == ["Real"]
    assert LogEntry.objects.get().action_flag == 1


def test_what_is_switched_off_fires_nothing(connection: Connection, admin_client: Client) -> None:
    admin_client.post(ADD, form(active=""))
    Customer.objects.create(name="Ada", connection_id="acme")
    assert not ModelBinding.objects.get().active
    assert fired() == []


def test_every_mistake_is_told_at_once(connection: Connection, admin_client: Client) -> None:
    wrong = {
        "payload:name": "*",
        "payload:name:typed": "nme",
        "payload:nme": "name",
        "payload:amount": "*",
        "payload:amount:typed": "deals.delete",
        "connection_path": "*",
        "connection_path:typed": "conection_id",
    }
    answer = admin_client.post(ADD, form(**wrong, **rule(0, "*", "empty", typed="delete")))
    shown = text(answer)
    assert "Customer has no nme; did you mean name?" in shown
    assert "is in the schema of none of these events" in shown
    assert "Customer has no conection_id; did you mean connection_id?" in shown
    assert "delete changes data" in shown


def test_a_path_may_be_typed_and_is_checked(connection: Connection, admin_client: Client) -> None:
    typed = {"payload:name": "*", "payload:name:typed": " deals.count "}
    admin_client.post(ADD, form(**typed))
    assert ModelBinding.objects.get().payload == {"name": "deals.count"}
    wrong = {"payload:name": "*", "payload:name:typed": "nme"}
    answer = admin_client.post(page(ModelBinding.objects.get()), form(**wrong))
    assert "Customer has no nme; did you mean name?" in text(answer)
    assert 'value="nme"' in answer.content.decode()
    assert ModelBinding.objects.get().payload == {"name": "deals.count"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"payload:name": "", "on_create": ""}, "on_update"),
        ({"connection_path": ""}, "This field is required."),
        ({"connection_path": "*", "connection_path:typed": "nowhere"}, "has no nowhere"),
        ({"on_create": "", "on_update": ""}, "choose at least one event"),
        ({"model": ""}, "This field is required."),
        ({"model": "999999"}, "Select a valid choice"),
        ({"model": "nonsense"}, "Select a valid choice"),
        ({"crm_object": "0"}, "Select a valid choice"),
        ({"payload:nme": "name"}, "is in the schema of none of these events"),
        (rule(0, "*", typed="_state"), "_state is private"),
        (rule(0, "name"), "is required"),
        (rule(0, "name", "like", "x"), "unknown operator"),
        (rule(0, "id", "at_least", "many"), "no value of id"),
        (rule(0, "name", "one_of", "\n \n"), "must be a list of values"),
    ],
)
def test_a_mistake_is_told_at_its_place_and_nothing_is_made(
    connection: Connection, admin_client: Client, wrong: dict[str, str], said: str
) -> None:
    if said == "on_update":  # nothing is wrong with it
        assert admin_client.post(ADD, form(**wrong)).status_code == 302
        return
    assert said in text(admin_client.post(ADD, form(**wrong)))
    assert not ModelBinding.objects.exists()


def test_a_path_that_never_gives_what_the_event_takes_is_refused(
    connection: Connection, admin_client: Client
) -> None:
    opened = event("deal_created")
    opened.payload_schema["name"] = {"type": "object", "label": "Name"}
    opened.save()
    answer = admin_client.post(ADD, form(on_update=""))
    assert "name never gives what deal_created takes: object" in text(answer)
    assert not ModelBinding.objects.exists()


def test_events_of_another_object_or_type_can_not_be_chosen(
    connection: Connection, admin_client: Client
) -> None:
    for name, slug in (("on_create", "deal_updated"), ("on_delete", "contact_deleted")):
        wrong = form(**{name: event(slug).pk})
        assert "Select a valid choice" in text(admin_client.post(ADD, wrong))
    assert not ModelBinding.objects.exists()


def test_values_of_rules_are_kept_as_they_are_compared(
    connection: Connection, admin_client: Client
) -> None:
    sent = form(
        **rule(3, "name", "one_of", " Ada \r\nGrace\r\n"),
        **rule(0, "*", "at_least", "2", typed="deals.count"),
        **rule(1, ""),
        **rule(2, "connection_id", "not_empty", "left over"),
    )
    admin_client.post(ADD, sent)
    assert ModelBinding.objects.get().condition == [
        {"path": "deals.count", "operator": "at_least", "value": "2"},
        {"path": "connection_id", "operator": "not_empty"},
        {"path": "name", "operator": "one_of", "value": ["Ada", "Grace"]},
    ]
    shown = admin_client.get(page(ModelBinding.objects.get())).content.decode()
    assert "Ada\nGrace</textarea>" in shown
    assert 'value="deals.count"' in shown


def test_one_of_some_choices_is_chosen_among_them(
    connection: Connection, admin_client: Client
) -> None:
    sent = {"model": type_of(User), "was:model": type_of(User)}
    html = parts(admin_client, **form(**sent), **rule(0, "is_staff"))
    assert options(html, "condition:0:value") == ["", "True", "False"]
    assert 'type="number"' in parts(admin_client, **form(**sent), **rule(0, "id", "at_least"))
    assert 'type="datetime-local"' in parts(
        admin_client, **form(**sent), **rule(0, "last_login", "at_most")
    )
    html = parts(admin_client, **form(**sent), **rule(0, "email", "not_empty"))
    assert "condition:0:value" not in html


# -- what is offered ------------------------------------------------------------------------------


def test_models_are_offered_that_can_be_bound(connection: Connection, admin_client: Client) -> None:
    html = admin_client.get(ADD).content.decode()
    offered = options(html, "model")
    for model in (Customer, Deal, User):
        assert str(type_of(model)) in offered
    for model in (Session, Group, ContentType, Connection):
        assert str(type_of(model)) not in offered
    assert '<optgroup label="Products">' in html


def test_a_key_is_offered_what_fits_it(definitions: None) -> None:
    paths = readable.paths_of(Deal)

    def fitting(**description: Any) -> set[str]:
        return {one.path for one in paths if one.kind.fits(description)}

    assert {"title", "note", "customer.name", "owner.email", "owner.username"} <= fitting(
        type="string"
    )
    assert not {"views", "amount", "tags"} & fitting(type="string")
    assert {"amount", "views", "customer"} <= fitting(type="number")
    assert "amount" not in fitting(type="integer")
    assert fitting(type="string", format="datetime") == {
        "modified_at",
        "owner.last_login",
        "owner.date_joined",
    }
    assert fitting(type="string", format="date") == set()
    assert {"owner.email", "title"} <= fitting(type="string", format="email")
    assert "tags" in fitting(type="array") & fitting(type="object")
    assert fitting(type="boolean") == {"owner.is_superuser", "owner.is_staff", "owner.is_active"}


def test_computed_values_are_offered_by_what_they_say_to_return() -> None:
    from example_project.documents.models import Document

    paths = {one.path: one for one in readable.paths_of(Document)}
    assert paths["workspace.context"].kind == kinds.Kind("string")
    assert paths["get_status_display"].kind == kinds.Kind("string")
    assert paths["status"].choices[1] == ("sent", "Sent")
    assert not any(path.startswith("get_next_by") for path in paths)


def test_nobody_is_offered_hashes_or_many_rows_or_what_is_inherited_twice() -> None:
    paths = [one.path for one in readable.paths_of(BigDeal)]
    assert "owner.password" not in paths
    assert not any("hash" in path for path in paths)
    assert "customer.deals" not in paths
    assert {"title", "discount"} <= set(paths)
    assert not any(path.startswith(("deal_ptr", "bigdeal")) for path in paths)


def test_a_connection_is_looked_for_where_its_name_says_so(
    connection: Connection, admin_client: Client
) -> None:
    html = parts(admin_client, **form(model=type_of(Plain), connection_path=""))
    assert chosen(html, "connection_path") == "connection_id"
    assert options(html, "connection_path")[1] == "connection_id"
    assert "amount" not in options(html, "connection_path")


def test_choosing_an_object_chooses_its_only_event_of_each_type(
    connection: Connection, admin_client: Client
) -> None:
    sent = {"model": type_of(Customer), "crm_object": form()["crm_object"]}
    html = parts(admin_client, **sent)
    assert chosen(html, "on_create") == str(event("deal_created").pk)
    assert options(html, "on_delete") == ["", str(event("deal_deleted").pk)]
    assert chosen(html, "payload:name") == "name"  # which is called like the key
    assert chosen(html, "payload:amount") == ""
    contact = CRMObject.objects.get(slug="contact").pk
    html = parts(admin_client, **{**form(), "crm_object": contact, "was:crm_object": "1"})
    assert chosen(html, "on_create") == ""
    assert "payload:name" not in html


def test_another_model_keeps_what_it_has_too_and_loses_the_rest(
    connection: Connection, admin_client: Client
) -> None:
    sent = form(model=type_of(Ticket), **{"was:model": type_of(Customer)}, **rule(0, "name"))
    sent["was:crm_object"] = sent["crm_object"]
    html = parts(admin_client, **{**sent, "payload:views": "id"})
    assert chosen(html, "payload:views") == "id"
    assert chosen(html, "payload:name") == ""
    assert "condition:0:path" not in html


def test_rules_are_added_and_removed(connection: Connection, admin_client: Client) -> None:
    sent = form(**rule(0, "name", value="a"), **rule(1, "id", value="1"))
    sent |= {"was:model": sent["model"], "was:crm_object": sent["crm_object"]}
    html = parts(admin_client, **{**sent, "_rule": "add"})
    assert chosen(html, "condition:1:path") == "id"
    assert chosen(html, "condition:2:path") == ""
    html = parts(admin_client, **{**sent, "_rule": "remove:0"})
    assert chosen(html, "condition:0:path") == "id"
    assert "condition:1:path" not in html


def test_required_keys_are_marked(connection: Connection, admin_client: Client) -> None:
    created = event("deal_created")
    created.payload_schema["name"]["required"] = True
    created.save()
    html = parts(admin_client, **form())
    label = re.search(r'<label for="id_payload_name">.*?</label>', html, re.DOTALL)
    assert label is not None
    assert "xkit-required" in label[0]


# -- the preview ----------------------------------------------------------------------------------


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


# -- who may see and do it ------------------------------------------------------------------------


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


def test_a_binding_that_clashes_with_one_from_code_is_refused_with_the_reason(
    connection: Connection, admin_client: Client
) -> None:
    for model in (Deal, BigDeal):
        sent = form(model=type_of(model), **{"payload:name": "title", "connection_path": "title"})
        shown = text(admin_client.post(ADD, sent))
        assert "tests.products.crm.DealSync" in shown
    assert not ModelBinding.objects.exists()


def test_the_list_says_what_is_active_silent_off_and_broken(
    connection: Connection, admin_client: Client
) -> None:
    made()
    assert "active" in text(admin_client.get(LIST))
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
