"""The admin pages: each opens, finds, and costs the same for many rows as for few."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.db.models.signals import pre_save
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm import models, signals
from xkit_crm.models import APIKey, Connection, Invocation
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db
#: All but the counters, which the overview shows.
REGISTERED = [getattr(models, name) for name in models.__all__ if name != "Tally"]


def page(model: Any, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_every_model_is_listed_searched_and_shown(
    log: Connection, admin_client: Client, model: Any
) -> None:
    assert admin_client.get(page(model, "changelist")).status_code == 200
    if admin.site._registry[model].search_fields:
        assert admin_client.get(page(model, "changelist"), {"q": "acme"}).status_code == 200
    for row in model.objects.all()[:3]:
        assert admin_client.get(page(model, "change", row.pk)).status_code == 200
    if admin.site._registry[model].has_add_permission(admin_client.get("/admin/").wsgi_request):
        assert admin_client.get(page(model, "add")).status_code == 200


@pytest.mark.parametrize(
    "model",
    [
        models.Invocation,
        models.RecordLink,
        models.Attempt,
        models.EventAction,
        models.ObjectMapping,
        models.EventDefinition,
        models.Connection,
        models.MappingVersion,
    ],
    ids=lambda model: model.__name__,
)
def test_a_list_costs_the_same_for_many_rows(
    log: Connection, customer: Customer, admin_client: Client, model: Any
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            admin_client.get(page(model, "changelist"))
        return len(queries)

    cost()
    before = cost()
    for number in range(3):
        other = xkit_crm.connect(f"more-{number}", provider="sandbox")
        customer.connection_id = other.pk
        customer.save()
        DealFactory.create(customer=customer)
    deliver()
    assert cost() <= before


def test_a_log_can_not_be_edited(log: Connection, admin_client: Client) -> None:
    invocation = Invocation.objects.first()
    assert invocation is not None
    for model in (models.Invocation, models.Attempt, models.Lane):
        assert admin_client.get(page(model, "add")).status_code == 403
    assert admin_client.post(page(Invocation, "delete", invocation.pk)).status_code == 403


# -- secrets --------------------------------------------------------------------------------------


CONNECTION_FORM = {
    "context": "workspace-1",
    "provider": "sandbox",
    "status": "enabled",
    "status_reason": "",
    "quota_reserve": 0,
    "mappings-TOTAL_FORMS": "0",
    "mappings-INITIAL_FORMS": "0",
}


def test_a_status_chosen_in_the_form_is_told_to_the_product(
    log: Connection, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[tuple[str, str]] = []

    def on_changed(old_status: str, new_status: str, **_: object) -> None:
        told.append((old_status, new_status))

    signals.connection_status_changed.connect(on_changed)
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(
            page(Connection, "change", "acme"), {**CONNECTION_FORM, "status": "disabled"}
        )
    assert Connection.objects.get(pk="acme").status == "disabled"
    assert told == [("enabled", "disabled")]


def test_credentials_are_written_and_never_shown(log: Connection, admin_client: Client) -> None:
    form, address = CONNECTION_FORM, page(Connection, "change", "acme")
    admin_client.post(address, {**form, "credentials": '{"token": "very-secret"}'})
    assert Connection.objects.get(pk="acme").credentials == {"token": "very-secret"}
    assert b"very-secret" not in admin_client.get(address).content
    mistaken = {**form, "provider": "nope", "credentials": '{"token": "very-secret"}'}
    assert b"very-secret" not in admin_client.post(address, mistaken).content
    admin_client.post(address, {**form, "credentials": ""})
    assert Connection.objects.get(pk="acme").credentials == {"token": "very-secret"}


def test_with_new_credentials_nothing_holds_that_was_learned_of_the_crm(
    log: Connection, admin_client: Client
) -> None:
    paused = {"paused_until": timezone.now() + timedelta(hours=3), "quota": 100, "quota_left": 0}
    models.Lane.objects.update_or_create(connection=log, defaults=paused)
    address = page(Connection, "change", "acme")
    admin_client.post(address, {**CONNECTION_FORM, "context": "elsewhere"})
    assert models.Lane.objects.get().paused_until == paused["paused_until"]
    admin_client.post(address, {**CONNECTION_FORM, "credentials": '{"token": "another"}'})
    assert models.Lane.objects.get().paused_until is None
    assert models.Lane.objects.get().quota_left is None
    assert Connection.objects.get().description_key != log.description_key


def test_a_token_that_is_renewed_while_somebody_saves_the_page_stays(
    log: Connection, admin_client: Client
) -> None:
    def renew(sender: Any, **_: Any) -> None:
        renewed = Connection()
        renewed.credentials = {"token": "renewed"}
        cipher = renewed.credentials_cipher
        Connection.objects.filter(pk="acme").update(credentials_cipher=cipher)

    pre_save.connect(renew, sender=Connection)
    try:
        address = page(Connection, "change", "acme")
        admin_client.post(address, {**CONNECTION_FORM, "context": "elsewhere"})
    finally:
        pre_save.disconnect(renew, sender=Connection)
    changed = Connection.objects.get()
    assert (changed.context, changed.credentials) == ("elsewhere", {"token": "renewed"})


def test_the_secret_of_a_new_key_is_shown_once(admin_client: Client) -> None:
    added = admin_client.post(page(APIKey, "add"), {"name": "backend", "contexts": "a\n\nb"})
    key = APIKey.objects.get()
    assert "xsk_" not in str(added.cookies)
    assert "no-store" in added["Cache-Control"]
    assert key.contexts == ["a", "b"]
    secret = added.content.decode().split("xsk_")[1].split("<")[0]
    assert APIKey.objects.authenticate(key.publishable_key, f"xsk_{secret}") == key
    assert b"xsk_" not in admin_client.get(page(APIKey, "changelist")).content
    assert b"xsk_" not in admin_client.get(page(APIKey, "change", key.pk)).content


def test_keys_are_revoked_in_the_list(admin_client: Client) -> None:
    key, _ = APIKey.objects.issue("backend")
    admin_client.post(
        page(APIKey, "changelist"), {"action": "revoke", "_selected_action": [key.pk]}
    )
    key.refresh_from_db()
    assert not key.is_live


# -- what operators make --------------------------------------------------------------------------


def test_a_row_linked_in_the_admin_is_updated_not_created(
    sandbox: Connection, deal: Deal, admin_client: Client
) -> None:
    existing = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Theirs"})
    assert existing.record is not None
    crm_object = models.CRMObject.objects.get(slug="opportunity")
    form = {
        "connection": "acme",
        "crm_object": crm_object.pk,
        "content_type": ContentType.objects.get_for_model(Deal).pk,
        "object_pk": deal.pk,
    }
    refused = admin_client.post(page(models.RecordLink, "add"), {**form, "record_id": "09876"})
    assert b"is not a record id" in refused.content
    nobody = {**form, "object_pk": "abc", "record_id": existing.record.id}
    assert (
        b"There is no such row" in admin_client.post(page(models.RecordLink, "add"), nobody).content
    )
    admin_client.post(page(models.RecordLink, "add"), {**form, "record_id": existing.record.id})
    deal.title = "Ours now"
    deal.save()
    deliver()
    last = Invocation.objects.first()
    assert last is not None
    assert (last.event.slug, last.record_id) == ("deal_updated", existing.record.id)


def test_pages_open_although_what_they_are_about_is_gone(
    log: Connection, admin_client: Client
) -> None:
    gone = ContentType.objects.create(app_label="gone", model="gone")
    models.RecordLink.objects.update(content_type=gone)
    models.RecordLink.objects.update(object_pk="abc")
    assert admin_client.get(page(models.RecordLink, "changelist")).status_code == 200
    Connection.objects.update(provider="uninstalled")
    Invocation.objects.update(content_type=gone)
    for invocation in Invocation.objects.all():
        assert admin_client.get(page(Invocation, "change", invocation.pk)).status_code == 200


def test_an_action_that_names_a_key_the_event_does_not_have_is_refused(
    sandbox: Connection, admin_client: Client
) -> None:
    action = models.EventAction.objects.get(event__slug="deal_created")
    form = {
        "mapping": action.mapping_id,
        "event": action.event_id,
        "action": "create",
        "workflow": "",
        "transformations": '[{"field": "Name", "kind": "direct", "key": "nmae"}]',
    }
    answer = admin_client.post(page(models.EventAction, "change", action.pk), form)
    assert b"the event has no payload key nmae" in answer.content


def test_a_connection_in_shadow_mode_says_so_and_what_it_would_send(
    log: Connection, admin_client: Client
) -> None:
    changelist = page(Connection, "changelist")
    for action, told in (("start_shadow", "Nothing is sent any more"), ("go_live", "Went live")):
        chosen = {"action": action, "_selected_action": ["acme"]}
        answer = admin_client.post(changelist, chosen, follow=True).content.decode()
        assert told in answer
        assert ("xkit-status-shadow" in answer) == (action == "start_shadow")
        shown = admin_client.get(page(Connection, "change", "acme")).content.decode()
        assert ("Nothing is sent." in shown) == (action == "start_shadow")
