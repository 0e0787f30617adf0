"""Who looks at the console."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.delivery.conftest import act
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.models import Connection, Invocation
from xkit_crm.testing import deliver

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


NAME = {"field": "Name", "kind": "direct", "key": "name"}


@pytest.fixture
def failed(sandbox: Connection, customer: Customer) -> Invocation:
    """A row that the CRM refused, by a mapping that is mended by now. It says Apple, and its row
    says Pear."""
    act("deal_created", transformations=[{**NAME, "kind": "template", "template": "{name}" * 50}])
    deal = DealFactory.create(customer=customer, title="Apple")
    deliver()
    act("deal_created", transformations=[NAME])
    Deal.objects.filter(pk=deal.pk).update(title="Pear")
    return Invocation.objects.get(status="failed")


@pytest.fixture
def linked(sandbox: Connection, customer: Customer) -> Deal:
    """A deal that the CRM has as `Opportunity:00001`."""
    deal = DealFactory.create(customer=customer, title="Lease")
    deliver()
    Invocation.objects.all().delete()
    return deal
