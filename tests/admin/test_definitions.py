"""CRM objects and events in the admin: one page, and nobody's work lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from tests.admin.definitions import (
    ADD,
    MARKUP,
    NO_NAME,
    PREVIEW,
    event,
    free,
    opportunity,
    page_of,
    save,
    shown,
    typed,
)
from tests.admin.forms import sent_by
from tests.factories import ConnectionFactory
from tests.objects import PAYLOAD
from xkit_crm import catalogue
from xkit_crm.admin.definition_reviews import ReviewedAdmin
from xkit_crm.models import (
    Connection,
    CRMObject,
    DefinitionVersion,
    EventDefinition,
    Invocation,
)
from xkit_crm.models.definition_version import changed_by

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]


# -- one page -------------------------------------------------------------------------------------


def test_an_object_is_added_with_its_first_event(admin_client: Client) -> None:
    blocks = [["name", {"type": "string", "label": "Name"}], ["worth", {"type": "number"}]]
    form = {
        "label": "Ticket",
        "slug": "ticket",
        "fields": json.dumps([["title", {"type": "string"}]]),
        "events-0-label": "Ticket opened",
        "events-0-slug": "ticket_opened",
        "events-0-type": "create",
        "events-0-payload_schema": json.dumps(blocks),
    }
    answer = admin_client.post(ADD, sent_by(admin_client.get(ADD), **form))
    assert answer.status_code == 302
    made = CRMObject.objects.get(slug="ticket")
    assert made.fields == {"title": {"type": "string"}}
    (its,) = made.events.all()
    assert (its.slug, its.payload_schema) == ("ticket_opened", dict(map(tuple, blocks)))
    assert catalogue.event("ticket", "ticket_opened").type == "create"
    assert LogEntry.objects.get().object_id == str(made.pk)


def test_an_object_may_be_added_without_an_event(admin_client: Client) -> None:
    form = sent_by(admin_client.get(ADD), label="Ticket", slug="ticket")
    assert admin_client.post(ADD, form).status_code == 302
    assert not CRMObject.objects.get(slug="ticket").events.exists()


def test_an_event_that_was_left_out_again_is_none(admin_client: Client) -> None:
    form = sent_by(admin_client.get(ADD), label="Ticket", slug="ticket")
    kept = {name: value for name, value in form.items() if not name.startswith("events-0-")}
    assert admin_client.post(ADD, kept).status_code == 302
    assert not CRMObject.objects.get(slug="ticket").events.exists()


def test_a_page_that_is_saved_as_it_was_shown_changes_nothing(admin_client: Client) -> None:
    before = DefinitionVersion.objects.count()
    for row in (opportunity(), event()):
        assert save(admin_client, row).status_code == 302
    assert DefinitionVersion.objects.count() == before
    assert event().payload_schema == PAYLOAD


def test_events_are_edited_on_the_page_of_their_object(admin_client: Client) -> None:
    save(admin_client, opportunity(), **{"events-1-label": "Deal Changed"})
    assert event("deal_updated").label == "Deal Changed"
    last = DefinitionVersion.objects.of(event("deal_updated"))[0]
    assert (last.author, last.reason) == ("admin", "in the admin")
    assert not DefinitionVersion.objects.of(event()).filter(number=2).exists()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("{", "Enter a valid JSON."),
        ("[1]", "must be an object of keys and descriptions, but is an array"),
        ('{"a": {"type": "text"}}', 'payloadSchema.a.type: unknown type "text"'),
        (
            '[["a", {"type": "string"}], ["a", {"type": "string"}]]',
            "payloadSchema.a: is there twice",
        ),
        ("[" * 100_000, "is nested too deep"),
    ],
)
def test_a_schema_that_is_no_schema_is_refused_and_stays_in_its_box(
    admin_client: Client, sent: str, told: str
) -> None:
    answer = save(admin_client, event(), payload_schema=sent, label="Other")
    assert answer.status_code == 200
    assert told in shown(answer)
    assert sent_by(answer)["payload_schema"] == sent
    assert event().label == "Deal Created"


def test_labels_with_markup_are_shown_as_they_are(admin_client: Client) -> None:
    row = free()
    row.label = row.description = MARKUP
    row.save()
    closed = event("ticket_closed")
    closed.label = MARKUP
    closed.payload_schema = {"a": {"type": "string", "label": MARKUP}}
    closed.save()
    pages = [page_of(row), page_of(row, "history"), page_of(closed), page_of(row, "delete")]
    for address in (*pages, reverse("admin:xkit_crm_crmobject_changelist")):
        text = admin_client.get(address).content.decode()
        assert "<script>alert" not in text
        assert "<b>bold" not in text
    assert "&lt;script&gt;alert(1)" in text


# -- what may still change ------------------------------------------------------------------------


def test_a_slug_that_is_used_can_not_be_edited_and_says_why(admin_client: Client) -> None:
    text = shown(admin_client.get(page_of(event())))
    assert "Can't change any more: tests.products.crm" in text
    assert text.split('name="type"')[1].split("</select>")[0].count("<option") == 1
    answer = save(admin_client, event(), slug="other")
    assert "slug" in answer.context["adminform"].form.errors
    answer = save(admin_client, event(), type="update")
    assert "type" in answer.context["adminform"].form.errors
    assert (event().type, event().slug) == ("create", "deal_created")


def test_a_slug_that_nobody_uses_is_edited(admin_client: Client) -> None:
    row = free()
    save(admin_client, row, **{"slug": "issue", "events-0-slug": "issue_closed"})
    row.refresh_from_db()
    assert (row.slug, row.events.get().slug) == ("issue", "issue_closed")


def test_a_slug_that_is_none_or_taken_is_refused(admin_client: Client) -> None:
    form = sent_by(admin_client.get(ADD), label="x")
    assert "Use letters, digits" in shown(admin_client.post(ADD, {**form, "slug": "a b"}))
    assert "already exists" in shown(admin_client.post(ADD, {**form, "slug": "contact"}))


# -- what it does to others -----------------------------------------------------------------------


def test_what_is_not_safe_is_looked_at_before_it_is_saved(
    sandbox: Connection, admin_client: Client
) -> None:
    answer = save(admin_client, event(), payload_schema=NO_NAME)
    text = shown(answer)
    assert event().payload_schema == PAYLOAD
    assert "is gone — what it feeds is no longer written" in text
    assert "1 connection: acme" in text
    assert "tests.products.crm.DealSync" in text
    assert admin_client.post(page_of(event()), sent_by(answer)).status_code == 302
    assert "name" not in event().payload_schema
    assert LogEntry.objects.count() == 1


def test_nothing_of_what_was_not_saved_is_remembered(
    sandbox: Connection, admin_client: Client
) -> None:
    before = DefinitionVersion.objects.count()
    answer = save(admin_client, event(), payload_schema=NO_NAME)
    assert DefinitionVersion.objects.count() == before
    assert "was changed successfully" not in shown(answer)
    assert "was changed successfully" not in shown(admin_client.get(page_of(event())))
    assert "name" in catalogue.event("opportunity", "deal_created").payload_schema


def test_whoever_goes_back_finds_what_they_typed(sandbox: Connection, admin_client: Client) -> None:
    answer = save(admin_client, event(), payload_schema=NO_NAME, label="Typed")
    again = admin_client.post(page_of(event()), {**sent_by(answer), "_edit": "1"})
    assert event().label == "Deal Created"
    assert sent_by(again)["label"] == "Typed"
    assert sent_by(again)["payload_schema"] == NO_NAME
    assert "Please correct" not in shown(again)


def test_what_was_looked_at_is_shown_again_where_it_would_do_something_else(
    sandbox: Connection, admin_client: Client
) -> None:
    answer = save(admin_client, event(), payload_schema=NO_NAME)
    Invocation.objects.create(
        connection=sandbox, event=event(), payload={"name": "waits"}, record_key="x"
    )
    again = admin_client.post(page_of(event()), sent_by(answer))
    assert "Something changed since you looked at this" in shown(again)
    assert "1 invocation" in shown(again)
    assert event().payload_schema == PAYLOAD
    assert admin_client.post(page_of(event()), sent_by(again)).status_code == 302


def test_switching_off_is_looked_at_too(sandbox: Connection, admin_client: Client) -> None:
    for row, active in ((event(), "active"), (opportunity(), "active")):
        answer = save(admin_client, row, **{active: None})
        assert "is switched off — it no longer reaches the CRM" in shown(answer)
        row.refresh_from_db()
        assert row.active


# -- two people -----------------------------------------------------------------------------------


@pytest.fixture
def bob(client: Client) -> Client:
    user = User.objects.create_superuser("bob")
    client.force_login(user)
    return client


@pytest.mark.parametrize("name", ["label", "events-0-label"])
def test_the_second_of_two_people_is_told_what_the_first_changed(
    admin_client: Client, bob: Client, name: str
) -> None:
    row = event() if name == "label" else opportunity()
    form = sent_by(admin_client.get(page_of(row)), **{name: "Mine"})
    save(bob, row, **{name: "Theirs"})
    answer = admin_client.post(page_of(row), form)
    assert "bob changed this while you were editing" in shown(answer)
    assert '"Deal Created" -> "Theirs"' in shown(answer)
    assert sent_by(answer)[name] == "Mine"
    assert event().label == "Theirs"
    assert admin_client.post(page_of(row), sent_by(answer)).status_code == 302
    assert event().label == "Mine"


def test_what_only_the_other_changed_stays_changed(admin_client: Client, bob: Client) -> None:
    form = sent_by(admin_client.get(page_of(opportunity())), **{"events-1-label": "Mine"})
    save(bob, opportunity(), **{"label": "Theirs", "events-0-label": "Theirs"})
    assert admin_client.post(page_of(opportunity()), form).status_code == 302
    assert (opportunity().label, event().label) == ("Theirs", "Theirs")
    assert event("deal_updated").label == "Mine"


def test_two_people_who_make_the_same_change_are_of_one_mind(
    admin_client: Client, bob: Client
) -> None:
    form = sent_by(admin_client.get(page_of(event())), label="Same", description="mine")
    save(bob, event(), label="Same", description="mine")
    assert admin_client.post(page_of(event()), form).status_code == 302


def test_a_load_counts_as_another_person(admin_client: Client) -> None:
    form = sent_by(admin_client.get(page_of(event("find_deals"))), label="Mine")
    row = event("find_deals")
    row.label = "Loaded"
    with changed_by(reason="xkit_load crm_objects.json"):
        row.save()
    told = shown(admin_client.post(page_of(row), form))
    assert "xkit_load crm_objects.json changed this while you were editing" in told


# -- deleting -------------------------------------------------------------------------------------


def test_what_has_a_history_is_not_deleted_and_says_why(
    connection: Connection, admin_client: Client
) -> None:
    row = free()
    closed = row.events.get()
    Invocation.objects.create(connection=connection, event=closed, record_key="x")
    for used in (row, closed):
        for answer in (
            admin_client.get(page_of(used, "delete")),
            admin_client.post(page_of(used, "delete"), {"post": "yes"}),
        ):
            assert "the log has invocations of it" in shown(answer)
            assert "Switch it off instead" in shown(answer)
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    answer = admin_client.post(reverse("admin:xkit_crm_crmobject_changelist"), chosen)
    assert "Switch it off instead" in shown(answer)
    assert CRMObject.objects.filter(slug="ticket").exists()


def test_what_has_none_is_deleted_with_its_events(admin_client: Client) -> None:
    row = free()
    assert "ticket.ticket_closed" in shown(admin_client.get(page_of(row, "delete")))
    admin_client.post(page_of(row, "delete"), {"post": "yes"})
    assert not CRMObject.objects.filter(slug="ticket").exists()
    last = DefinitionVersion.objects.filter(name="ticket")[0]
    assert (last.document, last.author) == (None, "admin")


def test_several_that_have_none_are_deleted_at_once(admin_client: Client) -> None:
    row = free()
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    admin_client.post(reverse("admin:xkit_crm_crmobject_changelist"), chosen)
    assert not CRMObject.objects.filter(slug="ticket").exists()


@pytest.fixture
def taken(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> CRMObject:
    """An object that nobody uses until somebody has confirmed that it shall be deleted."""
    row = free()
    deleted = ReviewedAdmin.get_deleted_objects

    def and_then_it_is_used(self: Any, objs: Any, request: Any) -> Any:
        found = deleted(self, objs, request)
        Invocation.objects.create(connection=connection, event=row.events.get(), record_key="x")
        return found

    monkeypatch.setattr(ReviewedAdmin, "get_deleted_objects", and_then_it_is_used)
    return row


def test_who_begins_to_use_it_meanwhile_stops_it(taken: CRMObject, admin_client: Client) -> None:
    answer = admin_client.post(page_of(taken, "delete"), {"post": "yes"}, follow=True)
    assert "icket is in use; nothing was deleted" in shown(answer)
    assert CRMObject.objects.filter(slug="ticket").exists()


def test_of_several_none_is_deleted_where_somebody_begins_to_use_one(
    taken: CRMObject, admin_client: Client
) -> None:
    another = CRMObject.objects.create(slug="another")
    chosen = {"action": "delete_selected", "_selected_action": [another.pk, taken.pk]}
    page = reverse("admin:xkit_crm_crmobject_changelist")
    answer = admin_client.post(page, {**chosen, "post": "yes"}, follow=True)
    assert "icket is in use; nothing was deleted" in shown(answer)
    assert "Successfully" not in shown(answer)
    assert CRMObject.objects.filter(slug__in=["ticket", "another"]).count() == 2
    assert not LogEntry.objects.exists()


# -- who may, and what it costs -------------------------------------------------------------------


def look(client: Client) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)


def test_who_may_only_look_sees_everything_and_changes_nothing(client: Client) -> None:
    look(client)
    text = shown(client.get(page_of(opportunity())))
    assert '"label": "Opportunity Name"' in text
    assert 'name="_save"' not in text
    assert "data-add" not in text
    assert "xkit-preview" not in text
    assert client.get(page_of(opportunity(), "history")).status_code == 200
    for address, status in (
        (page_of(opportunity()), 403),
        (page_of(event()), 403),
        (page_of(event(), "delete"), 403),
        (PREVIEW, 403),
        ("/admin/xkit_crm/crmobject/preview/", 403),
    ):
        assert client.post(address, typed()).status_code == status


@pytest.fixture
def many() -> CRMObject:
    """An object with many events that many customers have decided."""
    row = opportunity()
    keys = {f"key_{n}": {"type": "string"} for n in range(30)}
    EventDefinition.objects.bulk_create(
        EventDefinition(crm_object=row, slug=f"e{n}", type="create", payload_schema=keys)
        for n in range(40)
    )
    for _ in range(5):
        xkit_crm.connect(ConnectionFactory.create().pk, provider="sandbox", context="")
    return row


def test_a_page_costs_the_same_for_many_events_and_connections(
    many: CRMObject, admin_client: Client
) -> None:
    some = EventDefinition.objects.get(slug="e3")
    for address in (
        page_of(many),
        page_of(some),
        page_of(many, "history"),
        page_of(some, "history"),
        page_of(some, "delete"),
        reverse("admin:xkit_crm_crmobject_changelist"),
        reverse("admin:xkit_crm_definitionversion_changelist"),
        ADD,
    ):
        admin_client.get(address)
        with CaptureQueriesContext(database) as queries:
            admin_client.get(address)
        assert len(queries) <= 15, address
