"""Any story of saves, faults, deaths and repairs ends with the CRM holding what the product holds.

A state machine tells random stories against a sandbox CRM. When all is mended and delivered, the
CRM is compared with a dict of the rows that are alive.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import xkit_crm
from tests.objects import OBJECTS
from tests.products.models import Customer, Deal
from xkit_crm import catalogue
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.replay import REPLAYABLE, replay
from xkit_crm.models import Attempt, Connection, EventAction, Invocation, Lane, RecordLink
from xkit_crm.providers.sandbox.models import Change, Misbehaviour, Org, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync.resync import resync

#: Stories that are told, and the steps of each.
STORIES, STEPS = 40, 20
#: A failing story is told as it happened: to shorten it takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
START = datetime(2026, 1, 1, tzinfo=UTC)

_kinds = st.sampled_from(
    ["rate_limit", "unavailable", "timeout_before", "timeout_after", "locked_record"]
)
_operations = st.sampled_from(["", "create", "update", "delete", "search"])
_titles = st.sampled_from(["Apple", "Pear", "Plum", "Fig"])
_some = st.lists(_titles, min_size=1, max_size=3)
_writes = ("create_many", "update_many", "delete_many", "find_created_many")


class Killed(BaseException):
    """What a worker dies of."""


class RolledBack(Exception):
    """The product changes its mind."""


class Delivery(RuleBasedStateMachine):
    """What is `alive` is what the product has: title and amount by primary key."""

    patch: pytest.MonkeyPatch
    clock: Any

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[str, int]] = {}
        #: Every state that a row was ever committed in, in order; None: deleted.
        self.story: dict[int, list[tuple[str, int] | None]] = {}
        #: No two states have the same amount.
        self.amount = 0
        #: Whether the customer did nothing for a while, so that some changes were skipped.
        self.opted_out = False

    @initialize(batch=st.sampled_from([1, 3, 200]))
    def begin(self, batch: int) -> None:
        self.clock = time_machine.travel(START, tick=False)
        self.traveller = self.clock.start()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(SandboxProvider, "batch_size", batch)
        xkit_crm.define(OBJECTS)
        xkit_crm.connect("acme", provider="sandbox", context="workspace-1")
        self.customer = Customer.objects.create(name="Ada", connection_id="acme")
        self.org = Org.objects.get(slug="acme")

    # -- what the product does ------------------------------------------------------------------

    def _save(self, deal: Deal, title: str) -> None:
        self.amount += 1
        deal.title, deal.amount = title, Decimal(self.amount)
        deal.save()

    def _note(self, pk: int, state: tuple[str, int] | None) -> None:
        self.story.setdefault(pk, []).append(state)
        if state is None:
            del self.alive[pk]
        else:
            self.alive[pk] = state

    def _pick(self, data: st.DataObject) -> Deal:
        return Deal.objects.get(pk=data.draw(st.sampled_from(sorted(self.alive))))

    @rule(titles=_some)
    def save_new_rows(self, titles: list[str]) -> None:
        for title in titles:
            deal = Deal(customer=self.customer)
            self._save(deal, title)
            self._note(deal.pk, (title, self.amount))

    @rule(titles=_some)
    def change_rows_that_nobody_was_told_of(self, titles: list[str]) -> None:
        """Such a change is sent as a creation."""
        for title in titles:
            with xkit_crm.muted():
                pk = Deal.objects.create(customer=self.customer, title=title).pk
            self._save(Deal.objects.get(pk=pk), title)
            self._note(pk, (title, self.amount))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), titles=_some)
    def change_a_row(self, data: st.DataObject, titles: list[str]) -> None:
        deal = self._pick(data)
        for title in titles:
            self._save(deal, title)
            self._note(deal.pk, (title, self.amount))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def delete_a_row(self, data: st.DataObject) -> None:
        deal = self._pick(data)
        pk = deal.pk
        deal.delete()
        self._note(pk, None)

    def _roll_back(self) -> None:
        with pytest.raises(RolledBack), transaction.atomic():
            for deal in [Deal(customer=self.customer), *Deal.objects.all()[:2]]:
                self._save(deal, "Never")
                if deal.pk % 2:
                    deal.delete()
            raise RolledBack

    # -- what the CRM does ----------------------------------------------------------------------

    @rule(kind=_kinds, operation=_operations, times=st.integers(1, 4), titles=_some)
    def misbehave(self, kind: str, operation: str, times: int, titles: list[str]) -> None:
        """In the middle of the work."""
        Misbehaviour.objects.create(
            org=self.org, kind=kind, operation=operation, remaining=times, retry_after=5
        )
        self._work(titles)
        drain("acme")

    def _work(self, titles: list[str]) -> None:
        """Something of each kind to do: a row that is changed, one that goes, and new ones."""
        self.save_new_rows(titles)
        first, *others = sorted(self.alive)
        deal = Deal.objects.get(pk=first)
        self._save(deal, titles[-1])
        self._note(first, (titles[-1], self.amount))
        if others:
            Deal.objects.get(pk=others[0]).delete()
            self._note(others[0], None)

    def _refuse_the_token(self) -> None:
        Misbehaviour.objects.create(org=self.org, kind="expired_token", remaining=1)

    def _opt_out(self) -> None:
        self.opted_out = True
        EventAction.objects.exclude(event__type="delete").update(action="noop")

    def _mend(self) -> None:
        for action in ("create", "update"):
            EventAction.objects.filter(event__slug=f"deal_{action}d").update(action=action)
        Misbehaviour.objects.all().delete()
        if Connection.objects.get().status == "errored":
            xkit_crm.connect("acme", provider="sandbox")

    # -- what workers do ------------------------------------------------------------------------

    @rule(
        operation=st.sampled_from(_writes),
        written=st.booleans(),
        gives_back=st.booleans(),
        titles=_some,
    )
    def a_worker_dies(
        self, operation: str, written: bool, gives_back: bool, titles: list[str]
    ) -> None:
        """In the middle of a call; killed hard it doesn't even give the lane back."""
        self._work(titles)
        call: Callable[..., Any] = getattr(SandboxProvider, operation)

        def die(provider: SandboxProvider, *args: Any) -> Any:
            if written:
                call(provider, *args)
            raise Killed

        with pytest.MonkeyPatch.context() as dying:
            dying.setattr(SandboxProvider, operation, die)
            if not gives_back:
                dying.setattr("xkit_crm.delivery.lanes._give_back", lambda hold: None)
                dying.setattr("xkit_crm.delivery.lanes.is_mine", lambda connection_id: False)
            try:
                drain("acme")
            except Killed:
                return

    def _replay(self) -> None:
        replay(Invocation.objects.filter(status__in=REPLAYABLE))

    @rule(
        what=st.sampled_from(
            ["mend", "mend", "opt_out", "refuse_the_token", "replay", "roll_back", "rest"]
        ),
        seconds=st.sampled_from([0, 1, 10, 60, 1800]),
        limit=st.none() | st.integers(0, 3),
    )
    def meanwhile(self, what: str, seconds: int, limit: int | None) -> None:
        """Something happens, time passes, and a worker does some of the work."""
        if what != "rest":
            getattr(self, f"_{what}")()
        self.traveller.shift(timedelta(seconds=seconds))
        drain("acme", limit=limit)

    # -- in the end -----------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "patch"):
            return
        try:
            self._settle()
            if self.opted_out:
                resync(Deal.objects.all())
                self._settle()
            self._compare()
        finally:
            self.patch.undo()
            self.clock.stop()
            _empty()

    def _settle(self) -> None:
        self._mend()
        replayed = False
        for _ in range(200):
            self.traveller.shift(timedelta(hours=2))
            drain("acme")
            waiting = Invocation.objects.filter(status__in=["pending", "running"])
            if waiting.exists():
                continue
            # A refused token or tries that ran out may have left some to a person.
            left = Invocation.objects.filter(status__in=["failed", "unknown"])
            if not left.exists():
                return
            assert not replayed, [str(i.error) for i in left]
            replay(left)
            replayed = True
        raise AssertionError([(i.pk, i.status, i.due_at) for i in waiting])

    def _compare(self) -> None:
        links = {int(link.object_pk): link.record_id for link in RecordLink.objects.all()}
        assert links.keys() == self.alive.keys()
        records = list(Record.objects.select_related("object"))
        held = {
            record.record_id: (record.values["Name"], record.values["Amount"])
            for record in records
            if record.deleted_at is None
        }
        assert held == {links[pk]: state for pk, state in self.alive.items()}
        self._compare_histories()
        lane = Lane.objects.filter(pk="acme").first()
        assert lane is None or lane.holder == ""

    def _compare_histories(self) -> None:
        """What the CRM has seen of a row is part of what the row has been, in that order."""
        seen: dict[int, list[tuple[str, int] | None]] = {}
        states: dict[int, dict[str, Any]] = {}
        for change in Change.objects.select_related("record").order_by("id"):
            values = states.setdefault(change.record_id, {})
            if change.operation == "delete":
                seen.setdefault(change.record_id, []).append(None)
                continue
            values |= {name: new for name, (_, new) in change.changes.items()}
            seen.setdefault(change.record_id, []).append((values["Name"], values["Amount"]))
        stories = [list(story) for story in self.story.values()]
        for history in seen.values():
            # No amount comes twice, so the first state says which row it is.
            (story,) = (s for s in stories if history[0] in s)
            left = iter(story)
            assert all(state in left for state in history), (history, story)


def _empty() -> None:
    """Nothing stays of a story: the next one begins with an empty database."""
    catalogue.forget()
    for model in (Attempt, Invocation, RecordLink, Lane, Change, Record, Misbehaviour):
        model._base_manager.all().delete()
    with xkit_crm.muted():
        Deal.objects.all().delete()
        Customer.objects.all().delete()
    Org.objects.all().delete()
    Connection.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_every_story_ends_with_the_crm_holding_what_the_product_holds() -> None:
    run_state_machine_as_test(
        Delivery,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=PHASES,
        ),
    )
