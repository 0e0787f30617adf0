"""A binding made in the admin by picking: what is offered, kept and refused."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.test import Client

from tests.admin.binding_pages import (
    ADD,
    IN_FORCE,
    chosen,
    event,
    form,
    made,
    options,
    page,
    parts,
    rule,
    type_of,
)
from tests.admin.reading import text
from tests.products.models import BigDeal, Customer, Deal, Plain, Ticket
from tests.sync.test_capture import fired
from xkit_crm.models import Connection, CRMObject, ModelBinding

pytestmark = IN_FORCE


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
        ({"connection_path": "*", "connection_path:typed": "name.town"}, "has no town"),
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


def test_a_binding_that_clashes_with_one_from_code_is_refused_with_the_reason(
    connection: Connection, admin_client: Client
) -> None:
    for model in (Deal, BigDeal):
        sent = form(model=type_of(model), **{"payload:name": "title", "connection_path": "title"})
        shown = text(admin_client.post(ADD, sent))
        assert "tests.products.crm.DealSync" in shown
    assert not ModelBinding.objects.exists()
