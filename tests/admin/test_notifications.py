"""Notifications in the admin: what was not heard is seen, and sent again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from xkit_crm.models import Notification

pytestmark = pytest.mark.django_db
LIST = "/admin/xkit_crm/notification/"


@pytest.fixture
def given_up() -> Notification:
    payload = {"connection_external_id": "acme", "reason": "HubSpot answered 401."}
    return Notification.objects.create(
        event_type="connection.errored", payload=payload, status="failed", tries=21, error="503"
    )


def test_the_list_and_the_page_say_what_was_not_heard(
    admin_client: Client, given_up: Notification
) -> None:
    for path in (LIST, f"{LIST}{given_up.pk}/change/"):
        page = admin_client.get(path).content.decode()
        for said in ("connection.errored", "acme", "HubSpot answered 401.", "503"):
            assert said in page


def test_it_is_sent_again_from_the_first_try_on(
    admin_client: Client, given_up: Notification
) -> None:
    chosen: dict[str, Any] = {"action": "send_again", "_selected_action": [given_up.pk]}
    admin_client.post(LIST, chosen)
    given_up.refresh_from_db()
    assert (given_up.status, given_up.tries) == ("pending", 0)


def test_who_may_only_look_can_not_send_again(
    client: Client, django_user_model: Any, given_up: Notification
) -> None:
    from django.contrib.auth.models import Permission

    user = django_user_model.objects.create_user("looker", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_notification"))
    client.force_login(user)
    assert "send_again" not in client.get(LIST).content.decode()
    client.post(LIST, {"action": "send_again", "_selected_action": [given_up.pk]})
    given_up.refresh_from_db()
    assert given_up.status == "failed"
