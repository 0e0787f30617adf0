"""Who is told that a lane has work, and when."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

import xkit_crm
from tests.delivery.conftest import Misbehave, names, only, states
from tests.factories import CustomerFactory, DealFactory
from tests.products.models import Customer
from xkit_crm.delivery.backends import backend
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db(transaction=True)

told: list[list[str]] = []


def tell(connection_ids: Any) -> None:
    """A product's own backend."""
    told.append(list(connection_ids))


def broken(connection_ids: Any) -> None:
    """Another one, on a bad day."""
    raise OSError("The broker is down.")


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


@pytest.mark.parametrize("broken", [{"provider": "uninstalled"}, {"credentials_cipher": "garbage"}])
def test_what_the_operator_has_to_mend_stops_no_save_and_loses_nothing(
    immediate: None, sandbox: Connection, customer: Customer, broken: dict[str, str]
) -> None:
    Connection.objects.update(**broken)
    DealFactory.create(customer=customer)
    assert states() == ["pending"]
    assert "XKIT_CRM" in str(only().error)
    assert Connection.objects.get().status == "errored"
    Connection.objects.update(provider="sandbox", credentials_cipher="")
    xkit_crm.connect("acme", provider="sandbox")
    assert states() == ["succeeded"]


def test_a_customer_who_is_not_connected_yet_costs_no_save(
    immediate: None, definitions: None, caplog: pytest.LogCaptureFixture
) -> None:
    DealFactory.create(customer=CustomerFactory.create(connection_id="not-yet"))
    assert states() == []
    assert caplog.records == []


def test_a_backend_that_fails_stops_no_save_and_none_of_the_products_own_hooks(
    sandbox: Connection, customer: Customer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": f"{__name__}.broken"}
    ran: list[bool] = []
    with transaction.atomic():
        DealFactory.create(customer=customer)
        transaction.on_commit(lambda: ran.append(True))
    assert ran == [True]
    assert states() == ["pending"]
    assert "broker is down" in caplog.text


def test_what_others_put_while_a_lane_is_held_is_not_left_behind(
    immediate: None, sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import lanes

    create = SandboxProvider.create

    def meanwhile(self: Any, *args: Any, **named: Any) -> Any:
        monkeypatch.setattr(SandboxProvider, "create", create)
        with pytest.MonkeyPatch.context() as elsewhere:
            elsewhere.setattr(lanes, "me", lambda: "elsewhere/1/1")
            xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Second"}, wait=False)
        return create(self, *args, **named)

    monkeypatch.setattr(SandboxProvider, "create", meanwhile)
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "First"})
    assert names() == ["First", "Second"]


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
