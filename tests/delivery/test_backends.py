"""Who is told that a lane has work, and when."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

import xkit_crm
from tests.delivery.conftest import Misbehave, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm.delivery.backends import backend
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)

told: list[list[str]] = []


def tell(connection_ids: Any) -> None:
    """A product's own backend."""
    told.append(list(connection_ids))


@pytest.fixture
def immediate(settings: Any) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "immediate"}


def test_immediately_means_before_save_returns(
    immediate: None, sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="Apple")
    assert names() == ["Apple"]
    deal.title = "Pear"
    deal.save()
    assert names() == ["Pear"]


def test_immediately_means_after_the_commit(
    immediate: None, sandbox: Connection, customer: Customer
) -> None:
    with transaction.atomic():
        DealFactory.create(customer=customer, title="Apple")
        assert names() == []
        assert states() == ["pending"]
    assert names() == ["Apple"]


def test_a_rollback_sends_nothing(immediate: None, sandbox: Connection, customer: Customer) -> None:
    with transaction.atomic():
        DealFactory.create(customer=customer)
        transaction.set_rollback(True)
    assert names() == []
    assert states() == []


def test_a_crm_that_is_down_stops_no_save(
    immediate: None, sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    misbehave("unavailable", retry_after=60)
    DealFactory.create(customer=customer)
    assert states() == ["pending"]
    assert only().error_code == "crm_unavailable"


def test_a_provider_that_can_not_be_loaded_stops_no_save(
    immediate: None, sandbox: Connection, customer: Customer
) -> None:
    Connection.objects.update(provider="uninstalled")
    DealFactory.create(customer=customer)
    assert states() == ["failed"]
    assert "uninstalled" in str(only().error)


def test_a_call_inside_a_transaction_waits_for_the_commit(sandbox: Connection) -> None:
    with transaction.atomic():
        invocation = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Apple"})
        assert invocation.status == "pending"
    assert names() == []


def test_a_product_may_bring_its_own_backend(
    sandbox: Connection, customer: Customer, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": f"{__name__}.tell"}
    told.clear()
    with transaction.atomic():
        DealFactory.create(customer=customer)
        assert told == []
    assert told == [["acme"]]


def test_a_backend_that_is_not_there_is_named(settings: Any) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "nowhere.tell"}
    with pytest.raises(ConfigurationError, match="nowhere"):
        backend()
