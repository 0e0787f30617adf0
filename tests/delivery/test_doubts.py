"""What may have been made already is known before its invocation ends, whatever ends it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import Misbehave, act, names, only, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import take_turn
from xkit_crm.delivery.replay import replay
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_doubt(sandbox: Connection, customer: Customer, misbehave: Misbehave) -> Deal:
    """A deal whose record is made, and whose creation doesn't know it."""
    deal: Deal = DealFactory.create(customer=customer, title="One")
    misbehave("timeout_after", operation="create")
    take_turn("acme")
    assert (only().status, only().doubtful) == ("pending", True)
    Invocation.objects.update(due_at=timezone.now())
    return Deal.objects.get(pk=deal.pk)


def test_the_record_of_a_row_that_was_deleted_meanwhile_is_deleted_too(in_doubt: Deal) -> None:
    Invocation.objects.update(renew=True)  # it is made of the row as it is
    in_doubt.delete()
    deliver()
    assert states() == ["skipped", "succeeded"]
    assert names() == []
    assert not RecordLink.objects.exists()


def test_so_it_is_where_a_change_became_a_creation_and_the_worker_died_in_it(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with xkit_crm.muted():
        pk = DealFactory.create(customer=customer, title="One").pk
    deal = Deal.objects.get(pk=pk)
    deal.title = "Two"
    deal.save()
    create_many = SandboxProvider.create_many

    def dying(self: SandboxProvider, *args: Any) -> None:
        create_many(self, *args)
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(SandboxProvider, "create_many", dying)
        take_turn("acme")
    assert names() == ["Two"]
    deal.delete()
    deliver()
    assert names() == []
    assert states() == ["skipped", "succeeded"]


def test_a_customer_who_does_nothing_for_a_while_gets_no_second_record(in_doubt: Deal) -> None:
    act("deal_created", action="noop")
    deliver()
    assert states() == ["skipped"]
    act("deal_created", action="create")
    in_doubt.title = "Two"
    in_doubt.save()
    deliver()
    assert names() == ["Two"]


def test_a_row_that_is_wrong_for_a_while_gets_no_second_record(in_doubt: Deal) -> None:
    Invocation.objects.update(renew=True)
    Deal.objects.filter(pk=in_doubt.pk).update(title="x" * 100)
    deliver()
    assert (only().status, only().error_code) == ("failed", "payload_invalid")
    in_doubt.title = "Good"
    in_doubt.save()
    deliver()
    assert names() == ["Good"]


def test_what_was_not_made_ends_as_it_would_have(
    sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    DealFactory.create(customer=customer)
    misbehave("timeout_before", operation="create")
    take_turn("acme")
    Invocation.objects.update(due_at=timezone.now())
    act("deal_created", action="noop")
    deliver()
    assert (only().status, only().doubtful) == ("skipped", False)
    assert not RecordLink.objects.exists()


def test_where_the_crm_does_not_answer_it_waits(in_doubt: Deal, misbehave: Misbehave) -> None:
    act("deal_created", action="noop")
    misbehave("unavailable", operation="search")
    take_turn("acme")
    assert (only().status, only().doubtful) == ("pending", True)


def test_where_the_crm_can_not_be_asked_a_person_decides(
    in_doubt: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    act("deal_created", action="noop")
    deliver()
    assert states() == ["unknown"]
    replay([only()])  # it is not there
    deliver()
    assert states() == ["skipped"]
