"""Who may do what: four permissions, and Django's own for looking."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import Staff
from xkit_crm import models
from xkit_crm.models import Connection, EventDefinition
from xkit_crm.permissions import DEFINE, MANAGE_CREDENTIALS, OPERATE, SEE_PAYLOADS, may

pytestmark = pytest.mark.django_db


def opened(client: Client, model: type, name: str, *args: object) -> int:
    meta = model._meta  # type: ignore[attr-defined]
    return client.get(
        reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=args)
    ).status_code


def test_the_models_have_no_other_permissions_than_to_look_and_these_four(db: None) -> None:
    ours = Permission.objects.filter(content_type__app_label="xkit_crm")
    found = {f"xkit_crm.{one.codename}" for one in ours if not one.codename.startswith("view_")}
    assert found == {DEFINE, OPERATE, SEE_PAYLOADS, MANAGE_CREDENTIALS}


@pytest.mark.parametrize(
    ("model", "permission"),
    [
        (models.CRMObject, DEFINE),
        (models.EventDefinition, DEFINE),
        (models.ModelBinding, DEFINE),
        (models.ObjectMapping, OPERATE),
        (models.EventAction, OPERATE),
        (models.RecordLink, OPERATE),
        (models.Connection, MANAGE_CREDENTIALS),
        (models.APIKey, MANAGE_CREDENTIALS),
    ],
)
def test_rows_are_made_by_who_has_the_permission_for_them(
    client: Client, staff: Staff, model: type, permission: str
) -> None:
    user = staff(*({DEFINE, OPERATE, SEE_PAYLOADS, MANAGE_CREDENTIALS} - {permission}))
    assert opened(client, model, "changelist") == 200
    assert opened(client, model, "add") == 403
    user.user_permissions.add(Permission.objects.get(codename=permission.rpartition(".")[2]))
    assert opened(client, model, "add") == 200


def test_who_may_only_look_changes_nothing(
    client: Client, staff: Staff, connection: Connection
) -> None:
    staff()
    event = EventDefinition.objects.get(slug="deal_created")
    page = reverse("admin:xkit_crm_eventdefinition_change", args=[event.pk])
    assert b'name="_save"' not in client.get(page).content
    assert client.post(page, {"slug": "other"}).status_code == 403


def test_credentials_are_shown_to_nobody_and_replaced_by_who_manages_them(
    client: Client, staff: Staff, connection: Connection
) -> None:
    user = staff(OPERATE)
    page = reverse("admin:xkit_crm_connection_change", args=[connection.pk])
    assert b'name="credentials"' not in client.get(page).content
    user.user_permissions.add(Permission.objects.get(codename="manage_credentials"))
    assert b'name="credentials"' in client.get(page).content


def test_the_way_between_the_screens_shows_what_one_may_look_at(client: Client, db: None) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_invocation"))
    client.force_login(user)
    shown = client.get(reverse("admin:xkit_crm_invocation_changelist")).content.decode()
    assert 'aria-current="page">Invocations' in shown
    assert reverse("admin:xkit_crm_connection_changelist") not in shown
    index = client.get(reverse("admin:app_list", args=["xkit_crm"])).content.decode()
    assert 'class="xkit-navigation"' in index


def test_nobody_and_somebody_who_was_switched_off_may_nothing(db: None) -> None:
    assert not may(None, OPERATE)
    assert not may(User(is_superuser=True, is_active=False), OPERATE)
    assert may(User(is_superuser=True), OPERATE)
