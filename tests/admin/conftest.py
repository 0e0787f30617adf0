"""Who looks at the console."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

Staff = Callable[..., User]


@pytest.fixture
def staff(client: Client, db: None) -> Staff:
    """Logs somebody in who may look at everything, and what is named besides."""

    def made(*permissions: str) -> User:
        user = User.objects.create_user("somebody", is_staff=True)
        named = [permission.rpartition(".")[2] for permission in permissions]
        looking = Permission.objects.filter(
            content_type__app_label="xkit_crm", codename__startswith="view_"
        )
        user.user_permissions.set([*looking, *Permission.objects.filter(codename__in=named)])
        client.force_login(user)
        return user

    return made
