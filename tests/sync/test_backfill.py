"""Backfill: what the product had before its customer's CRM was connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act, names
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal, Elsewhere
from xkit_crm import exceptions
from xkit_crm.delivery.drain import drain
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventAction,
    Invocation,
    ObjectMapping,
    RecordLink,
)
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import InvocationStatus, Priority
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Misbehaviour, Operation, Org
from xkit_crm.signals import record_linked
from xkit_crm.sync.backfill import BackfillResult, Outcome, backfill

pytestmark = pytest.mark.django_db

BY_NAME = [("Name",)]


def rows(customer: Customer, *titles: str, **named: Any) -> list[Deal]:
    """Rows that were saved before there was a connection."""
    with xkit_crm.muted():
        return [DealFactory.create(customer=customer, title=title, **named) for title in titles]


def remote(name: str, **values: Any) -> str:
    """A record that the customer made themselves; gives its id."""
    org = Org.objects.get(slug="acme")
    return str(records.create_record(org, "Opportunity", {"Name": name, **values}).ref)


def run(**options: Any) -> BackfillResult:
    return backfill(Deal, "acme", **{"match": BY_NAME, **options})


def feed(event: str, *transformations: dict[str, Any]) -> None:
    """Add to what the customer decided for an event."""
    action = EventAction.objects.get(event__slug=event)
    action.transformations = [*action.transformations, *transformations]
    action.save()


@pytest.fixture
def misbehave(sandbox: Connection) -> Callable[..., Misbehaviour]:
    def tell(kind: str, **named: Any) -> Misbehaviour:
        org = Org.objects.get(slug=sandbox.pk)
        return Misbehaviour.objects.create(org=org, kind=kind, **{"remaining": 1, **named})

    return tell


@pytest.fixture
def as_prospect(sandbox: Connection) -> Iterator[None]:
    """A deal is a prospect too, which this customer has among their opportunities."""
    schema = {"name": {"type": "string", "label": "Name"}}
    events = {
        f"prospect_{type_}d": {"type": type_, "label": type_, "payloadSchema": schema}
        for type_ in ("create", "update")
    }
    xkit_crm.define({"prospect": {"label": "Prospect", "fields": {}, "events": events}})

    class ProspectSync(xkit_crm.ModelSync):
        crm_object = "prospect"
        on_create = "prospect_created"
        on_update = "prospect_updated"
        payload: ClassVar = {"name": "title"}

        def get_connections(self, deal: Deal) -> str:
            return deal.customer.connection_id

    crm_object = CRMObject.objects.get(slug="prospect")
    mapping = ObjectMapping.objects.create(
        connection=sandbox, crm_object=crm_object, remote_object="Opportunity"
    )
    for event in crm_object.events.all():
        EventAction.objects.create(
            mapping=mapping,
            event=event,
            action=event.type,
            transformations=[{"field": "Name", "kind": "direct", "key": "name"}],
        )
    xkit_crm.register(Deal)(ProspectSync)
    yield
    xkit_crm.unregister(Deal)
    xkit_crm.register(Deal)(DealSync)


# -- linking and creating -------------------------------------------------------------------------


def test_a_row_that_the_crm_does_not_have_gets_its_create_event_behind_everything_else(
    sandbox: Connection, customer: Customer
) -> None:
    (deal,) = rows(customer, "Sales")
    result = run()
    invocation = Invocation.objects.get()
    assert result.counts == {Outcome.CREATED: 1}
    assert invocation.event.slug == "deal_created"
    assert invocation.payload["name"] == "Sales"
    assert invocation.priority == Priority.BACKGROUND
    drain("acme")
    assert names() == ["Sales"]
    assert xkit_crm.links(deal).get().record_id.startswith("Opportunity:")


def test_a_row_that_matches_one_record_is_linked_and_not_made_a_second_time(
    sandbox: Connection, customer: Customer, django_capture_on_commit_callbacks: Any
) -> None:
    (deal,) = rows(customer, "Sales", amount=None)
    record_id = remote("Sales")
    told: list[RecordLink] = []

    def listen(*, link: RecordLink, **_: Any) -> None:
        told.append(link)

    record_linked.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            result = run()
    finally:
        record_linked.disconnect(listen)
    link = xkit_crm.links(deal).get()
    assert result.counts == {Outcome.LINKED: 1}
    assert link.record_id == record_id
    assert told == [link]
    drain("acme")
    assert names() == ["Sales"]


def test_a_linked_row_that_differs_from_its_record_is_updated(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "Sales", amount=12)
    record_id = remote("Sales", Amount=7)
    result = run()
    assert (result.counts, result.updates) == ({Outcome.LINKED: 1}, 1)
    assert Invocation.objects.get().event.slug == "deal_updated"
    drain("acme")
    found = records.get_record(Org.objects.get(slug="acme"), RecordRef.parse(record_id))
    assert found.values["Amount"] == 12


def test_a_linked_row_that_its_record_has_already_is_not_written_again(
    sandbox: Connection, customer: Customer
) -> None:
    act("deal_updated", transformations=[{"field": "Name", "kind": "direct", "key": "name"}])
    rows(customer, "Sales")
    remote("Sales")
    result = run()
    assert (result.counts, result.updates) == ({Outcome.LINKED: 1}, 0)
    assert not Invocation.objects.exists()
    assert set(RecordLink.objects.get().written) == {"Name"}
    assert "name" in RecordLink.objects.get().delivered


def test_several_matches_are_left_to_a_person_with_their_ids(
    sandbox: Connection, customer: Customer
) -> None:
    (deal,) = rows(customer, "Sales")
    ids = {remote("Sales"), remote("Sales")}
    result = run()
    (finding,) = result.findings
    assert result.counts == {Outcome.AMBIGUOUS: 1}
    assert finding.pk == str(deal.pk)
    assert all(record_id in finding.detail for record_id in ids)
    assert not Invocation.objects.exists()
    assert not RecordLink.objects.exists()


@pytest.mark.parametrize("batch_size", [1, 10])
def test_two_rows_are_never_linked_to_one_record(
    sandbox: Connection, customer: Customer, batch_size: int
) -> None:
    rows(customer, "Sales", "Sales")
    remote("Sales")
    expected = {Outcome.LINKED: 1, Outcome.AMBIGUOUS: 1}
    assert run(dry_run=True, batch_size=batch_size).counts == expected
    assert run(batch_size=batch_size).counts == expected


def test_a_row_may_be_one_record_as_several_crm_objects(
    sandbox: Connection, as_prospect: None, customer: Customer
) -> None:
    (deal,) = rows(customer, "Sales")
    record_id = remote("Sales")
    for crm_object in ("opportunity", "prospect"):
        assert run(crm_object=crm_object).counts == {Outcome.LINKED: 1}
        assert run(crm_object=crm_object).counts == {Outcome.ALREADY_LINKED: 1}
    assert [link.record_id for link in xkit_crm.links(deal)] == [record_id, record_id]
    drain("acme")
    deal.title = "Renamed"
    deal.save()
    drain("acme")
    assert names() == ["Renamed"]


def test_a_row_of_another_connection_and_of_none_is_left_out(
    sandbox: Connection, customer: Customer
) -> None:
    rows(CustomerFactory.create(connection_id="globex"), "Theirs")
    rows(CustomerFactory.create(connection_id=""), "Nobody's")
    assert run().counts == {Outcome.ELSEWHERE: 2}
    assert not Invocation.objects.exists()


def test_a_row_whose_payload_is_invalid_is_told_with_its_path_and_stops_no_other(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "x" * 90, "Sales")
    for options in ({}, {"match": []}):
        Invocation.objects.all().delete()
        result = run(**options)
        assert result.counts == {Outcome.CREATED: 1, Outcome.INVALID: 1}
        assert "payload.name" in result.findings[0].detail


@pytest.fixture
def failing() -> Iterator[None]:
    """A binding whose own code fails on deals that are named Bad."""

    @xkit_crm.register(Deal)
    class Failing(xkit_crm.ModelSync):
        crm_object = "opportunity"
        on_create = "deal_created"

        def get_name(self, deal: Deal) -> str:
            if deal.title == "Bad":
                raise RuntimeError("no name")
            return deal.title

        def get_connections(self, deal: Deal) -> Any:
            return [deal.customer.connection_id]

    yield
    xkit_crm.register(Deal)(DealSync)


def test_a_row_that_the_products_own_code_fails_on_stops_no_other(
    sandbox: Connection, customer: Customer, failing: None
) -> None:
    bad, _ = rows(customer, "Bad", "Good")
    result = run()
    assert result.counts == {Outcome.CREATED: 1, Outcome.INVALID: 1}
    assert result.findings[0].pk == str(bad.pk)
    assert "RuntimeError: no name" in result.findings[0].detail


def test_a_queryset_limits_the_rows(sandbox: Connection, customer: Customer) -> None:
    first, _ = rows(customer, "First", "Second")
    result = backfill(Deal.objects.filter(pk=first.pk), "acme", match=[])
    assert result.rows == 1


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_another_database_are_brought_there_too(sandbox: Connection) -> None:
    with xkit_crm.muted():
        Elsewhere.objects.create(title="Sales", connection_id="acme")
    assert backfill(Elsewhere, "acme", match=BY_NAME).counts == {Outcome.CREATED: 1}
    drain("acme")
    assert names() == ["Sales"]
    assert backfill(Elsewhere, "acme", match=BY_NAME).counts == {Outcome.ALREADY_LINKED: 1}


# -- again and again ------------------------------------------------------------------------------


def test_the_next_run_goes_on_and_doubles_nothing(sandbox: Connection, customer: Customer) -> None:
    rows(customer, "First", "Second")
    assert run().counts == {Outcome.CREATED: 2}
    assert run().counts == {Outcome.ON_ITS_WAY: 2}
    drain("acme")
    rows(customer, "Third")
    assert run().counts == {Outcome.CREATED: 1, Outcome.ALREADY_LINKED: 2}
    drain("acme")
    assert sorted(names()) == ["First", "Second", "Third"]


def test_a_row_that_was_changed_meanwhile_is_not_queued_behind_its_own_change(
    sandbox: Connection, customer: Customer
) -> None:
    (deal,) = rows(customer, "Sales")
    deal.title = "Sales 2"
    deal.save()
    assert run().counts == {Outcome.ON_ITS_WAY: 1}


def test_a_row_whose_create_failed_is_told_and_tried_again_only_when_asked(
    sandbox: Connection, customer: Customer
) -> None:
    (deal,) = rows(customer, "Sales")
    run()
    Invocation.objects.update(status=InvocationStatus.FAILED)
    result = run()
    assert result.counts == {Outcome.FAILED_BEFORE: 1}
    assert result.unsettled == 1
    assert run(retry_failed=True).counts == {Outcome.CREATED: 1}
    assert Invocation.objects.filter(object_pk=str(deal.pk)).count() == 2


def test_a_row_that_was_left_to_the_crms_workflow_is_not_made_again(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "Sales")
    run()
    Invocation.objects.update(status=InvocationStatus.DEFERRED)
    assert run().counts == {Outcome.HANDED_OVER: 1}


# -- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_says_all_of_it_and_writes_nothing(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "Linked", "New", "Twice", "x" * 90)
    rows(CustomerFactory.create(), "Elsewhere")
    for name in ("Linked", "Twice", "Twice"):
        remote(name)
    result = run(dry_run=True)
    assert result.counts == {
        Outcome.LINKED: 1,
        Outcome.CREATED: 1,
        Outcome.AMBIGUOUS: 1,
        Outcome.INVALID: 1,
        Outcome.ELSEWHERE: 1,
    }
    assert result.updates == 1
    assert not Invocation.objects.exists()
    assert not RecordLink.objects.exists()
    wet = run()
    assert (wet.counts, wet.updates) == (result.counts, result.updates)


# -- the CRM and what it asks for -----------------------------------------------------------------


def test_a_crm_that_asks_to_slow_down_is_given_its_time(
    sandbox: Connection, customer: Customer, misbehave: Callable[..., Misbehaviour]
) -> None:
    rows(customer, "Sales")
    misbehave("rate_limit", retry_after=7, operation=Operation.SEARCH)
    slept: list[float] = []
    assert run(sleep=slept.append).counts == {Outcome.CREATED: 1}
    assert slept == [7]


def test_refused_credentials_break_the_connection_off(
    sandbox: Connection, customer: Customer, misbehave: Callable[..., Misbehaviour]
) -> None:
    rows(customer, "Sales")
    misbehave("expired_token", operation=Operation.SEARCH)
    with pytest.raises(exceptions.CRMUnauthorized):
        run()
    sandbox.refresh_from_db()
    assert sandbox.status == ConnectionStatus.ERRORED
    assert not Invocation.objects.exists()


def test_calls_are_no_faster_than_asked_for(sandbox: Connection, customer: Customer) -> None:
    rows(customer, "First", "Second", "Third")
    slept: list[float] = []
    run(rate=0.5, sleep=slept.append)
    assert len(slept) >= 3
    assert all(seconds > 1 for seconds in slept)


@pytest.mark.parametrize("owners", [False, True])
def test_a_page_costs_the_same_queries_whatever_is_in_it(
    sandbox: Connection, customer: Customer, owners: bool
) -> None:
    def queries(count: int) -> int:
        with xkit_crm.muted():
            Deal.objects.all().delete()
            for number in range(count):
                named = (
                    {"owner": User.objects.create(username=f"{count} {number}")} if owners else {}
                )
                DealFactory.create(customer=CustomerFactory.create(connection_id="acme"), **named)
        Invocation.objects.all().delete()
        with CaptureQueriesContext(database) as captured:
            assert run(match=[], batch_size=500).counts == {Outcome.CREATED: count}
        return len(captured)

    queries(1)
    assert queries(20) == queries(2)


def test_pages_of_any_size_see_every_row_once(sandbox: Connection, customer: Customer) -> None:
    rows(customer, *(f"Deal {number}" for number in range(7)))
    seen: list[int] = []
    result = run(match=[], batch_size=3, progress=seen.append)
    assert (seen, result.counts) == ([3, 6, 7], {Outcome.CREATED: 7})
    assert Invocation.objects.values("object_pk").distinct().count() == 7


# -- what can't be done ---------------------------------------------------------------------------


def test_a_connection_that_is_not_there_or_not_enabled_is_refused(
    sandbox: Connection, customer: Customer
) -> None:
    with pytest.raises(exceptions.UnknownConnection):
        backfill(Deal, "globex", match=[])
    sandbox.status = ConnectionStatus.DISABLED
    sandbox.save()
    with pytest.raises(exceptions.ConnectionNotEnabled):
        run()


def test_a_model_without_a_binding_is_refused(sandbox: Connection) -> None:
    with pytest.raises(exceptions.ConfigurationError, match="bound to no CRM object"):
        backfill(Customer, "acme")


def test_a_customer_who_wants_nothing_is_left_alone(
    sandbox: Connection, customer: Customer
) -> None:
    act("deal_created", action="noop", transformations=[])
    rows(customer, "Sales")
    with pytest.raises(exceptions.MappingIncomplete, match="does nothing"):
        run()
