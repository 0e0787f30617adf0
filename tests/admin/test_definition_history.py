"""History in the admin: who changed what, and going back after a look at what it does."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from tests.admin.forms import sent_by
from tests.products.models import Customer
from xkit_crm.admin import definition_history
from xkit_crm.definitions import remove
from xkit_crm.models import (
    Connection,
    CRMObject,
    DefinitionVersion,
    EventDefinition,
    ModelBinding,
)
from xkit_crm.models.definition_version import changed_by

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]


def event(slug: str = "deal_created") -> EventDefinition:
    return EventDefinition.objects.select_related("crm_object").get(slug=slug)


def relabelled(label: str) -> EventDefinition:
    row = event()
    row.label = label
    with changed_by("ada", "by hand"):
        row.save()
    return row


def version(row: Any, number: int) -> DefinitionVersion:
    return DefinitionVersion.objects.of(row).get(number=number)


def restoring(of: DefinitionVersion) -> str:
    return reverse("admin:xkit_crm_definitionversion_restore", args=[of.pk])


def shown(response: Any) -> str:
    return unescape(response.content.decode())


def test_the_history_of_an_event_says_who_changed_what_and_how(admin_client: Client) -> None:
    relabelled("Made")
    text = shown(
        admin_client.get(reverse("admin:xkit_crm_eventdefinition_history", args=[event().pk]))
    )
    assert "ada · by hand" in text
    assert "opportunity.deal_created.label" in text
    assert '<del>"Deal Created"</del>' in text
    assert '<ins>"Made"</ins>' in text
    assert "xkit_crm.define()" in text


def test_the_history_of_an_object_has_that_of_its_events_page_by_page(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    relabelled("Made")
    monkeypatch.setattr(definition_history, "PAGE", 2)
    address = reverse("admin:xkit_crm_crmobject_history", args=[event().crm_object_id])
    first = shown(admin_client.get(address))
    assert "opportunity.deal_created: 2" in first
    assert "Older" in first
    assert "opportunity: 1" not in first
    assert "opportunity: 1" in shown(admin_client.get(address, {"p": "3"}))


def test_a_version_is_restored_after_a_look_at_what_it_does(
    sandbox: Connection, admin_client: Client
) -> None:
    row = event()
    row.payload_schema = {k: d for k, d in row.payload_schema.items() if k != "stage"}
    row.payload_schema["stage"] = {"type": "string"}
    row.save()
    first = version(row, 1)
    answer = admin_client.post(restoring(first))
    assert "opportunity.deal_created.payload_schema.stage" in shown(answer)
    assert "stage" in event().payload_schema
    answer = admin_client.post(restoring(first), sent_by(answer), follow=True)
    assert "opportunity.deal_created: 1 is restored" in shown(answer).lower()
    assert "stage" not in event().payload_schema
    last = DefinitionVersion.objects.of(row)[0]
    assert (last.author, last.reason) == ("admin", "version 1 restored")
    assert LogEntry.objects.get().change_message == "Restored version 1."


def test_a_version_that_would_break_something_says_so_first(
    sandbox: Connection, admin_client: Client
) -> None:
    row = event()
    before = row.payload_schema
    row.payload_schema = {}
    row.save()
    row.payload_schema = before
    row.save()
    answer = admin_client.post(restoring(version(row, 2)))
    assert "is gone — what it feeds is no longer written" in shown(answer)
    assert event().payload_schema == before


def test_what_is_in_force_need_not_be_restored(admin_client: Client) -> None:
    answer = admin_client.post(restoring(version(event(), 1)), follow=True)
    assert "That is what it is already" in shown(answer)


def test_a_version_that_can_not_be_is_refused_with_the_reason(admin_client: Client) -> None:
    EventDefinition.objects.filter(slug="deal_created").update(type="search")
    relabelled("Made")
    EventDefinition.objects.filter(slug="deal_created").update(type="create")
    answer = admin_client.post(restoring(version(event(), 2)), follow=True)
    assert "can't be restored; nothing was changed" in shown(answer)
    assert "DealSync fires it" in shown(answer)
    assert event().type == "create"


def test_what_was_deleted_is_found_and_restored(admin_client: Client) -> None:
    row = event("find_deals")
    first = version(row, 1)
    remove(row)
    address = reverse("admin:xkit_crm_definitionversion_changelist")
    assert "opportunity.find_deals" in shown(admin_client.get(address, {"q": "find_deals"}))
    answer = admin_client.post(restoring(first))
    admin_client.post(restoring(first), sent_by(answer))
    assert EventDefinition.objects.filter(slug="find_deals").exists()


def test_a_binding_is_restored_after_a_look_too(admin_client: Client) -> None:
    binding = ModelBinding.objects.create(
        model=ContentType.objects.get_for_model(Customer),
        crm_object=CRMObject.objects.get(slug="opportunity"),
        on_create=event(),
        payload={"name": "name"},
        connection_path="connection_id",
    )
    try:
        binding.active = False
        binding.save()
        page = reverse("admin:xkit_crm_modelbinding_change", args=[binding.pk])
        sent = {"payload": '{"name": "name"}', "active": "on"}
        admin_client.post(page, sent_by(admin_client.get(page), **sent))
        binding.refresh_from_db()
        last = version(binding, 3)
        assert (last.author, last.reason) == ("admin", "in the admin")
        history = reverse("admin:xkit_crm_modelbinding_history", args=[binding.pk])
        assert "products.customer → opportunity.active" in shown(admin_client.get(history))
        off = version(binding, 2)
        answer = admin_client.post(restoring(off))
        binding.refresh_from_db()
        assert binding.active
        admin_client.post(restoring(off), sent_by(answer))
        binding.refresh_from_db()
        assert not binding.active
    finally:
        binding.delete()


def test_restoring_needs_the_permission_to_define(client: Client) -> None:
    relabelled("Made")
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    history = reverse("admin:xkit_crm_eventdefinition_history", args=[event().pk])
    first = version(event(), 1)
    page = reverse("admin:xkit_crm_definitionversion_change", args=[first.pk])
    for address in (history, page):
        assert restoring(first) not in shown(client.get(address))
    assert client.post(restoring(first)).status_code == 403
    assert client.get(restoring(first)).status_code == 405
    user.user_permissions.clear()
    client.force_login(User.objects.get(pk=user.pk))
    assert client.get(history).status_code == 403


def test_there_is_no_history_of_what_is_not_there(admin_client: Client) -> None:
    address = reverse("admin:xkit_crm_eventdefinition_history", args=[99_999])
    assert admin_client.get(address).status_code == 404
