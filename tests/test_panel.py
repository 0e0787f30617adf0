"""Where rows stand in their CRMs: what the panel of a row's records shows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, Plain, Ticket
from xkit_crm import panel
from xkit_crm.models import Connection, Invocation
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.panel import Place, Standing, records_of, records_of_rows
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    deal: Deal = DealFactory.create(customer=customer, title="Ours")
    deliver()
    return deal


def place_of(row: Any, **options: Any) -> Place:
    (place,) = records_of(row, **options).places
    return place


def ticket(*connection_ids: str) -> Ticket:
    return Ticket.objects.create(code="A", title="Broken", connection_ids=list(connection_ids))


# -- where it goes --------------------------------------------------------------------------------


def test_a_record_is_shown_with_its_crm_and_its_page(delivered: Deal) -> None:
    place = place_of(delivered)
    assert (place.connection_id, place.crm, place.remote_object) == (
        "acme",
        "Sandbox CRM",
        "Opportunity",
    )
    assert (place.crm_object, place.label) == ("opportunity", "Opportunity")
    assert place.link is not None
    assert place.link.record_id == "Opportunity:00001"
    assert place.url.endswith("/acme/Opportunity:00001/")
    assert (place.goes, place.standing) == (True, Standing.LINKED)


def test_a_crm_that_the_row_goes_to_is_shown_before_there_is_a_record(
    sandbox: Connection, deal: Deal
) -> None:
    place = place_of(deal)
    assert (place.link, place.url, place.standing) == (None, "", Standing.ABSENT)


def test_a_customer_who_has_connected_nothing_is_shown_as_that(definitions: None) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=CustomerFactory.create(connection_id="not-yet"))
    place = place_of(deal)
    assert (place.connection_id, place.connection, place.crm) == ("not-yet", None, "")
    assert place.standing is Standing.UNCONNECTED


def test_a_record_in_a_crm_that_the_row_does_not_go_to_any_more_is_shown(
    delivered: Deal, customer: Customer
) -> None:
    ConnectionFactory.create(id="second")
    Customer.objects.update(connection_id="second")
    places = {p.connection_id: p for p in records_of(Deal.objects.get()).places}
    assert (places["second"].goes, places["second"].link) == (True, None)
    assert not places["acme"].goes
    assert places["acme"].link is not None


def test_a_row_has_a_place_in_each_of_its_crms(sandbox: Connection) -> None:
    for name in ("second", "third"):
        xkit_crm.connect(name, provider="sandbox")
    row = ticket("acme", "second", "third")
    deliver()
    links = [p.link and p.link.record_id for p in records_of(row).places]
    assert links == ["Opportunity:00001"] * 3


def test_only_so_many_crms_are_shown_and_the_others_are_counted(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "MOST", 2)
    for name in ("second", "third"):
        ConnectionFactory.create(id=name)
    found = records_of(ticket("acme", "second", "third"))
    assert ([p.connection_id for p in found.places], found.more) == (["acme", "second"], 1)


def test_a_row_that_nothing_is_bound_to_has_the_links_that_were_made_by_hand(
    sandbox: Connection,
) -> None:
    plain = Plain.objects.create(title="x")
    assert records_of(plain).places == ()
    xkit_crm.link(plain, "acme", "Opportunity:1", crm_object="opportunity")
    place = place_of(plain)
    assert (place.goes, place.label) == (False, "Opportunity")


def test_an_inheriting_row_has_the_records_of_the_bound_one(
    sandbox: Connection, customer: Customer
) -> None:
    big = BigDeal.objects.create(customer=customer, title="Big")
    deliver()
    link = place_of(big).link
    assert link is not None
    assert link.record_id == "Opportunity:00001"


def test_a_product_that_can_not_say_where_a_row_goes_is_told_why(
    delivered: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deal, "customer", property(lambda self: {}["nobody"]))
    found = records_of(delivered)
    assert found.problems == ("get_connections fails: KeyError: 'nobody'",)
    assert not found.places[0].goes, "what is linked is shown all the same"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "http://[::1/x"])
def test_an_address_that_is_none_of_a_page_leads_nowhere(
    delivered: Deal, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(SandboxProvider, "record_url", lambda self, ref: address)
    assert place_of(delivered).url == ""


def test_a_provider_that_is_not_installed_any_more_hides_nothing_else(
    delivered: Deal, sandbox: Connection
) -> None:
    Connection.objects.update(provider="gone")
    place = place_of(delivered)
    assert (place.crm, place.url) == ("gone", "")
    assert place.link is not None


# -- what happened --------------------------------------------------------------------------------


def test_the_newest_events_are_shown_first_and_no_more_than_asked_for(delivered: Deal) -> None:
    for title in ("Second", "Third"):
        delivered.title = title
        delivered.save()
        deliver()
    slugs = [row.event.slug for row in place_of(delivered, events=2).events]
    assert slugs == ["deal_updated", "deal_updated"]
    slugs = [row.event.slug for row in place_of(delivered, events=9).events]
    assert slugs == ["deal_updated", "deal_updated", "deal_created"]


def test_each_crm_has_its_own_newest_events(sandbox: Connection) -> None:
    xkit_crm.connect("second", provider="sandbox")
    row = ticket("acme", "second")
    deliver()
    row.connection_ids = ["acme"]
    for title in ("One", "Two", "Three"):
        row.title = title
        row.save()
        deliver()
    row.connection_ids = ["acme", "second"]
    slugs = {
        p.connection_id: [e.event.slug for e in p.events] for p in records_of(row, events=2).places
    }
    assert slugs == {"acme": ["deal_updated", "deal_updated"], "second": ["deal_created"]}


def test_what_waits_is_counted(delivered: Deal) -> None:
    for title in ("Second", "Third"):
        delivered.title = title
        delivered.save()
    place = place_of(delivered)
    assert (place.waiting, place.standing, place.moves) == (2, Standing.WAITING, True)
    for held in ({"shadow": True}, {"shadow": False, "status": ConnectionStatus.DISABLED}):
        Connection.objects.update(**held)
        place = place_of(delivered)
        assert (place.standing, place.moves) == (Standing.WAITING, False)


@pytest.mark.parametrize(
    ("status", "standing", "moves"),
    [
        ("failed", Standing.TROUBLE, False),
        ("unknown", Standing.TROUBLE, False),
        ("deferred", Standing.HANDED_OVER, False),
        ("running", Standing.WAITING, True),
    ],
)
def test_how_it_stands_follows_from_the_last_event(
    sandbox: Connection, customer: Customer, status: str, standing: Standing, moves: bool
) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.update(status=status)
    place = place_of(deal)
    assert (place.standing, place.moves) == (standing, moves)


def test_what_stands_behind_something_unknown_is_no_reason_to_hope(
    sandbox: Connection, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer)
    Invocation.objects.update(status="unknown")
    deal.title = "Second"
    deal.save()
    place = place_of(deal)
    assert (place.waiting, place.unknown, place.standing) == (2, 1, Standing.TROUBLE)


def test_what_was_written_last_is_shown_where_it_is_asked_for(delivered: Deal) -> None:
    assert place_of(delivered).written is None
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    written = place_of(delivered, values=True).written
    assert written is not None
    assert written.values["Name"] == "Renamed"
    assert written.invocation_id == Invocation.objects.latest("id").pk


def test_what_was_written_to_another_record_before_is_not_its_own(delivered: Deal) -> None:
    connection = Connection.objects.get(pk="acme")
    xkit_crm.link(delivered, connection, "Opportunity:00099")
    assert place_of(delivered, values=True).written is None


def test_what_failed_was_not_written(delivered: Deal) -> None:
    act("deal_updated", transformations=[{"field": "Name", "kind": "static", "value": "x" * 200}])
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    place = place_of(delivered, values=True)
    assert place.standing is Standing.TROUBLE
    assert place.written is not None
    assert place.written.values["Name"] == "Ours"


def test_an_update_that_had_nothing_to_write_hides_nothing(delivered: Deal) -> None:
    act("deal_updated", transformations=[])
    delivered.title = "Renamed"
    delivered.save()
    deliver()
    written = place_of(delivered, values=True).written
    assert written is not None
    assert written.values["Name"] == "Ours"


# -- many rows ------------------------------------------------------------------------------------


def test_many_rows_are_read_at_once_each_with_its_own(
    sandbox: Connection, customer: Customer
) -> None:
    deals = [DealFactory.create(customer=customer) for _ in range(3)]
    deliver()
    found = records_of_rows(Deal.objects.order_by("pk"))  # type: ignore[arg-type]
    links = [found[deal.pk].places[0].link for deal in deals]
    assert [link and link.record_id for link in links] == [
        "Opportunity:00001",
        "Opportunity:00002",
        "Opportunity:00003",
    ]
    assert records_of_rows([]) == {}


def test_it_costs_the_same_queries_however_much_there_is(sandbox: Connection) -> None:
    def queries(rows: int, crms: int, changes: int) -> int:
        names = [f"{rows}-{crms}-{n}" for n in range(crms)]
        for name in names:
            xkit_crm.connect(name, provider="sandbox")
        codes = [f"{rows}-{crms}-{changes}-{n}" for n in range(rows)]
        for code in codes:
            Ticket.objects.create(code=code, title="x", connection_ids=names)
        deliver()
        for change in range(changes):
            Ticket.objects.update(title=f"Change {change}")
            deliver()
        found = list(Ticket.objects.filter(code__in=codes))
        with CaptureQueriesContext(database) as captured:
            records_of_rows(found, events=5, values=True)
        return len(captured)

    few = queries(2, 1, 1)
    assert queries(6, 3, 8) == few
    assert few <= 9
