"""Connections in the admin: found again by whatever id the product gave them."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

import xkit_crm
from tests.admin.log import LIST, page, shown
from tests.factories import InvocationFactory
from tests.products.models import Twin
from xkit_crm.models import Connection, RecordLink
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

CHANGE = "/admin/xkit_crm/connection/"


@pytest.fixture(params=["team_22", "a/b", "a&connection=b", "50%"])
def odd(sandbox: Connection, request: pytest.FixtureRequest) -> Connection:
    """A connection whose id says something else where it is not quoted."""
    return xkit_crm.connect(request.param, provider="sandbox")


def leads_to(client: Client, told: str) -> Connection:
    """The connection whose page the links of a page lead to."""
    (address,) = set(re.findall(rf'href="({CHANGE}[^"]+/change/)"', told))
    found: Connection = client.get(unescape(address)).context["original"]
    return found


def test_whatever_names_a_connection_leads_to_its_page(
    odd: Connection, admin_client: Client
) -> None:
    Twin.objects.create(title="x", connection_id=odd.pk)
    deliver()
    failed = InvocationFactory.create(connection=odd, status="failed", error_code="crm_error")
    link = RecordLink.objects.get()
    for address in (
        LIST,
        page(failed),
        reverse("admin:xkit_crm_failures"),
        reverse("admin:xkit_crm_recordlink_change", args=[link.pk]),
    ):
        assert leads_to(admin_client, shown(admin_client, address)) == odd, address


def test_its_page_leads_to_what_happened_there_and_nowhere_else(
    odd: Connection, admin_client: Client
) -> None:
    for row in (odd.pk, "acme"):
        Twin.objects.create(title="x", connection_id=row)
    deliver()
    change = reverse("admin:xkit_crm_connection_change", args=[quote(odd.pk)])
    told = shown(admin_client, change)
    links = {
        name: unescape(address)
        for address, name in re.findall(r'<a href="([^"]+)">(invocations|record links)</a>', told)
    }
    for address in links.values():
        (row,) = admin_client.get(address).context["cl"].result_list
        assert row.connection_id == odd.pk
    assert len(links) == 2
