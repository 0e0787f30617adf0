"""The console's first page."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from xkit_crm import models

pytestmark = pytest.mark.django_db
INDEX = "/admin/xkit_crm/"


def links(client: Client) -> set[str]:
    shown = client.get(INDEX).content.decode().split('class="xkit-index"')[1]
    return set(re.findall('href="([^"]+)"', shown))


def test_every_screen_is_there_with_what_it_is_for(admin_client: Client) -> None:
    shown = links(admin_client)
    for model in admin.site._registry:
        if model._meta.app_label == "xkit_crm":
            name = f"admin:xkit_crm_{model._meta.model_name}_changelist"
            assert reverse(name) in shown, f"{name} is missing in xkit_crm/admin/index.py"
    assert b"What was sent, what waits, and why." in admin_client.get(INDEX).content


def test_it_shows_what_one_may_look_at(client: Client) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_connection"))
    client.force_login(user)
    assert reverse("admin:xkit_crm_connection_changelist") in links(client)
    assert not any("apikey" in link or link.endswith("/add/") for link in links(client))
    assert models.APIKey.__name__ not in client.get(INDEX).content.decode()
