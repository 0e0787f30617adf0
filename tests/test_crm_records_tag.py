"""`{% crm_records %}`: a row's CRM records on a product's own pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import connection as database
from django.template import RequestContext, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Ticket
from xkit_crm.models import Connection
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.products.urls")]

ONE = '{% load xkit_crm %}{% crm_records deal site="backoffice" %}'
LIST = (
    "{% load xkit_crm %}{% for deal in deals %}"
    "<p>{{ deal.title }}: {% crm_records deal among=deals %}</p>{% endfor %}"
)


def drawn(template: str, *, user: Any = None, **context: Any) -> str:
    request = RequestFactory().get("/deals/?page=2")
    request.user = user or AnonymousUser()
    return Template(template).render(RequestContext(request, context))


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Ours")
    deliver()
    return deal


def test_a_record_is_shown_with_its_status_and_a_link_into_the_crm(delivered: Deal) -> None:
    shown = drawn(ONE, deal=delivered)
    assert "/acme/Opportunity:00001/" in shown
    assert "Sandbox CRM" in shown
    assert "in the CRM" in shown
    assert "Ours" not in shown, "values are for who may see payloads"


def test_how_it_stands_is_told_in_each_crm(sandbox: Connection) -> None:
    xkit_crm.connect("second", provider="sandbox")
    row = Ticket.objects.create(code="A", title="x", connection_ids=["acme", "second", "nobody"])
    assert drawn(ONE, deal=row).count("waiting to be sent") == 2
    act("deal_created", transformations=[{"field": "Name", "kind": "static", "value": None}])
    deliver()
    shown = drawn(ONE, deal=row)
    assert shown.count("needs attention") == 2
    assert shown.count("no CRM connected") == 1


def test_a_row_that_goes_nowhere_shows_nothing(definitions: None) -> None:
    with xkit_crm.muted():
        row = Ticket.objects.create(code="A", title="x")
    assert drawn(ONE, deal=row).strip() == ""


def test_what_a_crm_calls_its_records_is_escaped(
    delivered: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "label", "<b>CRM</b>")
    xkit_crm.link(delivered, "acme", 'Opportunity:"><script>')
    shown = drawn(ONE, deal=delivered)
    assert "<script>" not in shown
    assert "&lt;b&gt;CRM&lt;/b&gt;" in shown


def test_only_an_operator_who_is_staff_has_a_button(delivered: Deal) -> None:
    user = User.objects.create_user("somebody")
    assert "<button" not in drawn(ONE, deal=delivered, user=user)
    user.user_permissions.add(Permission.objects.get(codename="operate"))
    user = User.objects.get()
    assert "<button" not in drawn(ONE, deal=delivered, user=user)
    user.is_staff = True
    shown = drawn(ONE, deal=delivered, user=user)
    assert f"/backoffice/products/deal/{delivered.pk}/crm-records/sync/" in shown
    assert 'name="next" value="/deals/?page=2"' in shown
    assert "csrfmiddlewaretoken" in shown
    elsewhere = drawn("{% load xkit_crm %}{% crm_records deal %}", deal=delivered, user=user)
    assert "<button" not in elsewhere, "its admin is in another site"
    Connection.objects.update(status=ConnectionStatus.DISABLED)
    assert "<button" not in drawn(ONE, deal=delivered, user=user)


@pytest.mark.urls("xkit_crm.api.urls")
def test_without_an_admin_there_is_no_button(delivered: Deal, admin_user: User) -> None:
    shown = drawn(ONE, deal=delivered, user=admin_user)
    assert "Opportunity:00001" in shown
    assert "<button" not in shown


def test_a_template_without_a_request_shows_it_all_the_same(delivered: Deal) -> None:
    from django.template import Context

    assert "Opportunity:00001" in Template(ONE).render(Context({"deal": delivered}))


def test_a_list_is_read_at_once_each_row_with_its_own(
    sandbox: Connection, customer: Customer
) -> None:
    def queries(deals: Any) -> int:
        with CaptureQueriesContext(database) as captured:
            drawn(LIST, deals=deals)
        return len(captured)

    for title in ("One", "Two", "Three", "Four"):
        DealFactory.create(customer=customer, title=title)
    deliver()
    deals = Deal.objects.order_by("pk")
    shown = drawn(LIST, deals=deals)
    for number, title in enumerate(("One", "Two", "Three", "Four"), 1):
        own = shown.partition(f"<p>{title}:")[2].partition("</p>")[0]
        assert f"Opportunity:0000{number}" in own
    assert queries(list(deals)) == queries(list(deals[:2])) <= 8
