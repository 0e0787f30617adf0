"""A worker may stand still at any moment, for longer than its lease; another goes on in its lane,
and it does no harm when it comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.delivery.conftest import act, names, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from tests.threads import elsewhere
from xkit_crm.delivery import heartbeat, outcomes
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Attempt, Connection, Lane, RecordLink
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db(transaction=True)


def meanwhile(step: Callable[[], object]) -> None:
    """The lease of who works now runs out, and another worker does it."""
    (hold,) = heartbeat._holds
    hold.until = timezone.now() - timedelta(seconds=1)
    Lane.objects.update(leased_until=hold.until)
    elsewhere(step)


def stand_still(
    patch: pytest.MonkeyPatch, owner: Any, name: str, step: Callable[[], object]
) -> None:
    """Have who calls this next do so, and then stand still while another worker does the step."""
    original = getattr(owner, name)

    def called(*args: Any, **named: Any) -> Any:
        patch.setattr(owner, name, original)
        answer = original(*args, **named)
        meanwhile(step)
        return answer

    patch.setattr(owner, name, called)


def test_what_another_has_sent_is_not_sent_when_it_comes_back(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    DealFactory.create(customer=customer, title="One")
    stand_still(monkeypatch, outcomes, "write_down_and_begin", lambda: drain("acme"))
    elsewhere(lambda: drain("acme"))
    assert states() == ["succeeded"]
    assert names() == ["One"]
    assert Attempt.objects.filter(outcome="succeeded").count() == 1


def test_where_nobody_took_the_lane_it_goes_on(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    DealFactory.create(customer=customer, title="One")
    stand_still(monkeypatch, outcomes, "write_down_and_begin", lambda: None)
    drain("acme")
    assert states() == ["succeeded"]


def test_what_it_knows_of_a_record_is_older_than_what_the_other_wrote(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = [{"field": "Name", "kind": "direct", "key": "name", "mode": "protect"}]
    deal = DealFactory.create(customer=customer, title="One")
    act("deal_created", transformations=protected)
    act("deal_updated", transformations=protected)
    deliver()
    deal.title = "Two"
    deal.save()

    def other() -> None:
        drain("acme")
        deal.title = "Three"
        deal.save()
        drain("acme")

    read_back = SandboxProvider.get_many

    def second_time(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(SandboxProvider, "get_many", read_back)
        stand_still(monkeypatch, SandboxProvider, "get_many", other)
        return read_back(*args, **named)

    monkeypatch.setattr(SandboxProvider, "get_many", second_time)
    elsewhere(lambda: drain("acme"))
    assert names() == ["Three"]
    deal.title = "Four"
    deal.save()
    deliver()
    assert names() == ["Four"]


def test_a_link_that_the_other_ended_is_not_made_again(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = DealFactory.create(customer=customer, title="One")
    pk = deal.pk

    def other() -> None:
        drain("acme")
        deal.delete()
        drain("acme")

    stand_still(monkeypatch, SandboxProvider, "create_many", other)
    elsewhere(lambda: drain("acme"))
    assert not RecordLink.objects.exists()
    DealFactory.create(pk=pk, customer=customer, title="With the same key")
    deliver()
    assert names() == ["With the same key"]


def test_a_record_that_the_other_can_not_ask_for_is_known_by_it(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    deal: Deal = DealFactory.create(customer=customer, title="One")
    stand_still(monkeypatch, SandboxProvider, "create_many", lambda: drain("acme"))
    elsewhere(lambda: drain("acme"))
    assert states() == ["unknown"]
    assert RecordLink.objects.get().object_pk == str(deal.pk)
