"""Who looks at the records of which rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client

from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Connection
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.testing import deliver

Staff = Callable[..., User]


@pytest.fixture(autouse=True)
def _no_search_before(db: None) -> None:
    cache.clear()


@pytest.fixture
def staff(client: Client) -> Staff:
    """Logs somebody in who may look at deals and at record links, and what is named besides."""

    def made(*permissions: str, looks_at: tuple[str, ...] = ("deal", "recordlink")) -> User:
        user = User.objects.create_user("somebody", is_staff=True)
        names = [f"view_{model}" for model in looks_at]
        names += [permission.rpartition(".")[2] for permission in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return user

    return made


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Sales <b>contract</b>")
    deliver()
    return deal


@pytest.fixture
def theirs(sandbox: Connection) -> str:
    """A record that the customer had before us."""
    org = Org.objects.get(slug="acme")
    values = {"Name": "Theirs <script>alert(1)</script>", "Amount": 7}
    return str(records.create_record(org, "Opportunity", values).ref)
