"""The way to the console's screens."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db

OVERVIEW, FAILURES = "/admin/xkit_crm/connection/overview/", "/admin/xkit_crm/invocation/failures/"


def first_page(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


def test_the_first_page_of_the_admin_leads_to_the_overview_and_the_failures(
    admin_client: Client,
) -> None:
    shown = first_page(admin_client)
    for address in (OVERVIEW, FAILURES):
        assert f'href="{address}"' in shown
        assert admin_client.get(address).status_code == 200
    assert reverse("admin:auth_user_changelist") in shown  # and to all that it led to before


def test_it_leads_nobody_to_what_they_may_not_look_at(client: Client) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    client.force_login(user)
    assert "xkit" not in first_page(client)
    user.user_permissions.add(Permission.objects.get(codename="view_invocation"))
    shown = first_page(client)
    assert FAILURES in shown
    assert OVERVIEW not in shown
