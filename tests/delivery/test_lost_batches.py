"""Batches whose answer was lost, or in the middle of which a worker died: nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import xkit_crm
from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.crm.provider import LoopbackProvider
from tests.delivery.conftest import states
from tests.delivery.test_batching import by_hand, calls, connect_to, edit, keys, save, titles
from tests.products.models import Customer
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.replay import replay
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

Patch = pytest.MonkeyPatch


class Killed(BaseException):
    """What a worker dies of."""


# -- an answer that is lost -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "drop_after", "drop_midway"])
def test_a_batch_of_creates_whose_answer_was_lost_is_not_doubled(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    fault: str,
) -> None:
    save(customer, 50)
    crm.faults(rates={fault: 1.0}, hang=1.5)
    drain("acme", limit=50)
    crm.faults()
    deliver()
    assert states() == ["succeeded"] * 50
    assert sorted(titles(crm)) == sorted(f"Deal {n}" for n in range(50))
    assert len(set(keys(crm))) == 50
    assert calls(crm, "find") == [("find", 1)] * 50
    linked = set(RecordLink.objects.values_list("record_id", flat=True))
    assert linked == {f"Opportunity:{record['id']}" for record in crm.records("acme")}


class Asked(LoopbackProvider):
    """A vendor whose records can be looked up by many markers in one search."""

    slug = "loopback-asked"
    asked: list[int] = []

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        self.asked.append(len(keys))
        return super().find_created_many(remote_object, keys)


def test_what_may_have_been_made_is_looked_up_in_one_call(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    settings: Any,
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr(Asked, "asked", [])
    connect_to(Asked, crm, settings)
    save(customer, 50)
    crm.faults(rates={"drop_midway": 1.0})
    drain("acme", limit=50)
    crm.faults()
    deliver()
    assert Asked.asked == [50]
    assert calls(crm, "create") == [("create", 50), ("create", 25)]
    assert len(titles(crm)) == 50


def test_a_batch_is_unknown_where_the_crm_can_not_be_asked(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    xkit_crm.connect("acme", provider="loopback-blind")
    save(customer, 50)
    crm.faults(rates={"drop_after": 1.0})
    drain("acme", limit=50)
    crm.faults()
    deliver()
    assert states() == ["unknown"] * 50
    assert calls(crm, "create") == [("create", 50)]
    # A person has looked: one of them isn't there.
    gone = Invocation.objects.order_by("id")[0]
    by_hand(crm).delete(RecordRef("Opportunity", crm.records("acme")[0]["id"]))
    replay([gone])
    deliver()
    assert states() == ["succeeded"] + ["unknown"] * 49
    assert len(titles(crm)) == 50


def test_changes_whose_answer_was_lost_are_written_again(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 50)
    deliver()
    edit(deals, "Renamed")
    crm.faults(rates={"drop_midway": 1.0})
    drain("acme", limit=50)
    crm.faults()
    deliver()
    assert states() == ["succeeded"] * 100
    assert titles(crm) == [f"Renamed {deal.pk}" for deal in deals]


def test_deletes_whose_answer_was_lost_end_well(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 50)
    deliver()
    for deal in deals:
        deal.delete()
    crm.faults(rates={"drop_midway": 1.0})
    drain("acme", limit=50)
    assert len(titles(crm)) == 25
    crm.faults()
    deliver()
    assert states() == ["succeeded"] * 100
    assert titles(crm) == []
    assert not RecordLink.objects.exists()


# -- a worker that dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("operation", ["create_many", "update_many", "delete_many"])
def test_a_batch_in_the_middle_of_which_a_worker_dies_is_taken_up(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    operation: str,
    written: bool,
    monkeypatch: Patch,
) -> None:
    deals = save(customer, 50)
    if operation != "create_many":
        deliver()
        if operation == "update_many":
            edit(deals, "Renamed")
        else:
            for deal in deals:
                deal.delete()
    call: Callable[..., Any] = getattr(LoopbackProvider, operation)

    def die(self: LoopbackProvider, *args: Any) -> Any:
        if written:
            call(self, *args)
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(LoopbackProvider, operation, die)
        with pytest.raises(Killed):
            drain("acme")
    assert set(states()[-50:]) == {"pending"}
    deliver()
    assert set(states()) == {"succeeded"}
    assert len(titles(crm)) == len(set(keys(crm))) == (0 if operation == "delete_many" else 50)
    if operation == "update_many":
        assert titles(crm) == [f"Renamed {deal.pk}" for deal in deals]


# -- order ----------------------------------------------------------------------------------------


def test_the_changes_of_each_record_arrive_in_order_through_batches_and_retries(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults(
        rates={"unavailable": 0.2, "drop_before": 0.1, "drop_midway": 0.1, "drop_after": 0.1}
    )
    deals = save(customer, 40)
    for views in range(1, 9):
        for deal in deals:
            if (deal.pk + views) % 3:
                deal.views = views
                deal.save()
        drain("acme", limit=30)
    last = {str(deal.pk): deal.views for deal in deals}
    for deal in deals[:5]:
        deal.delete()
    crm.faults()
    deliver()
    assert set(states()) <= {"succeeded", "superseded", "skipped"}
    seen: dict[str, list[int]] = {}
    for write in crm.journal("acme"):
        if write["operation"] != "delete":
            seen.setdefault(write["record"], []).append(write["values"]["Views"])
    for views_ in seen.values():
        assert views_ == sorted(views_)
    held = {record["id"]: record["values"]["Views"] for record in crm.records("acme")}
    assert held == {
        link.record_id.removeprefix("Opportunity:"): last[link.object_pk]
        for link in RecordLink.objects.all()
    }
    assert len(held) == 35
