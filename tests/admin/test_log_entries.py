"""Every operator's action is in Django's admin log."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from xkit_crm.models import APIKey, Connection, Lane, MappingVersion, Notification

pytestmark = pytest.mark.django_db


def do(client: Client, action: str, *rows: Model) -> list[str]:
    meta = rows[0]._meta
    client.post(
        reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
        {"action": action, "_selected_action": [row.pk for row in rows]},
    )
    found: Any = LogEntry.objects.filter(object_id__in=[row.pk for row in rows])
    return [entry.get_change_message() for entry in found.order_by("pk")]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("enable", "Enabled."),
        ("disable", "Disabled."),
        ("propose", "Mapping proposed."),
        ("start_shadow", "Shadow mode started."),
    ],
)
def test_what_is_done_to_a_connection(
    sandbox: Connection, admin_client: Client, action: str, told: str
) -> None:
    assert do(admin_client, action, sandbox) == [told]


@pytest.mark.parametrize(
    ("action", "told"),
    [("go_live", "Went live, 0 released."), ("go_live_without", "Went live, 0 skipped.")],
)
def test_going_live(sandbox: Connection, admin_client: Client, action: str, told: str) -> None:
    do(admin_client, "start_shadow", sandbox)
    assert do(admin_client, action, sandbox)[-1] == told


def test_a_lane_that_is_resumed(sandbox: Connection, admin_client: Client) -> None:
    lane = Lane.objects.create(connection=sandbox)
    assert do(admin_client, "resume", lane) == ["Resumed."]


def test_a_key_that_is_revoked(admin_client: Client) -> None:
    key, _secret = APIKey.objects.issue("backend")
    assert do(admin_client, "revoke", key) == ["Revoked."]


def test_a_notification_that_is_sent_again(admin_client: Client) -> None:
    told = Notification.objects.create(event_type="connection.enabled", payload={})
    assert do(admin_client, "send_again", told) == ["Sent again."]


def test_a_mapping_version_that_is_put_in_force(sandbox: Connection, admin_client: Client) -> None:
    from xkit_crm import mappings

    first = MappingVersion.objects.get()
    mappings.put_in_force(sandbox, {**first.document, "contact": {"remote_object": ""}})
    assert do(admin_client, "put_in_force", first) == ["Put in force again as 3."]
