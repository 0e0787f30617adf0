"""The action that syncs the selected rows."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import xkit_crm
from tests.admin.crm_records.conftest import Staff
from tests.admin.crm_records.pages import do, log
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]


def test_the_selected_rows_are_synced_counted_and_logged(
    delivered: Deal, customer: Customer, admin_client: Client
) -> None:
    second = DealFactory.create(customer=customer)
    with xkit_crm.muted():
        third = DealFactory.create(customer=customer)
    page = do(admin_client, delivered, second, third)
    assert "2 events are queued. On its way already." in page
    assert log() == [("3 deals", "Sync with CRMs now: 3 selected, 2 queued.")]
    deliver()
    assert RecordLink.objects.count() == 3


def test_thousands_of_rows_are_synced_with_few_queries(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    with xkit_crm.muted():
        Deal.objects.bulk_create(
            Deal(customer=customer, title=f"Deal {number}") for number in range(1200)
        )
    chosen = {"action": "sync_with_crms", "select_across": "1", "_selected_action": ["1"]}
    with CaptureQueriesContext(database) as queries:
        admin_client.post(reverse("backoffice:products_deal_changelist"), chosen)
    assert Invocation.objects.count() == 1200
    assert len(queries) < 120


def test_the_action_is_there_for_operators_beside_the_admins_own(
    delivered: Deal, client: Client, staff: Staff
) -> None:
    user = staff()
    changelist = reverse("backoffice:products_deal_changelist")
    page = client.get(changelist).content.decode()
    assert 'value="nothing"' in page
    assert "sync_with_crms" not in page
    do(client, delivered)
    assert not Invocation.objects.filter(status="pending").exists()
    user.user_permissions.add(Permission.objects.get(codename="operate"))
    page = client.get(changelist).content.decode()
    assert "Sync with CRMs now" in page
    assert 'value="nothing"' in page


def test_an_admin_that_wants_no_actions_has_none(delivered: Deal, admin_client: Client) -> None:
    page = admin_client.get(reverse("backoffice:products_dealproxy_changelist"))
    assert b"sync_with_crms" not in page.content


def test_an_action_on_rows_that_nothing_is_bound_to_says_so(
    sandbox: Connection, admin_client: Client
) -> None:
    plain = Plain.objects.create(title="x")
    chosen = {"action": "sync_with_crms", "_selected_action": [plain.pk]}
    page = admin_client.post(reverse("backoffice:products_plain_changelist"), chosen, follow=True)
    assert "is bound to no CRM object" in page.content.decode()
