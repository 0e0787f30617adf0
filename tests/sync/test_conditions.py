"""Conditions: only rows that meet one are synced, whichever way they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import held, names, states
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import BigDeal, Customer, Deal, Twin
from tests.sync.test_capture import AN_EVENT, events, fired, rebound
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Connection, Invocation
from xkit_crm.sync import bindings
from xkit_crm.sync.backfill import Outcome, backfill
from xkit_crm.sync.reconcile import State, reconcile
from xkit_crm.sync.reconcile_deep import State as Deep
from xkit_crm.sync.reconcile_deep import reconcile_deep
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


class SentOnly(DealSync):
    """Deals are synced once they were noted as sent."""

    condition = [{"path": "note", "operator": "is", "value": "sent"}]


class OfRichCustomers(DealSync):
    """The condition reads a row that the deal points to."""

    condition = [{"path": "customer.name", "operator": "is", "value": "Rich"}]


class InCode(DealSync):
    """The same as `SentOnly`, decided in Python."""

    def is_synced(self, deal: Deal) -> bool:
        return deal.note == "sent"


class CreatedOnly(SentOnly):
    on_update = ""


@pytest.fixture
def sent_only(deal: Deal) -> Iterator[None]:
    with rebound(SentOnly):
        yield


@pytest.fixture(params=[SentOnly, InCode], ids=["rules", "code"])
def either(deal: Deal, request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to say the same condition."""
    with rebound(request.param):
        yield


def again(deal: Deal) -> Deal:
    """The row as somebody else loads it."""
    return Deal.objects.get(pk=deal.pk)


def write(deal: Deal, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(deal, name, value)
    deal.save()


# -- saving ---------------------------------------------------------------------------------------


def test_a_row_that_is_left_out_fires_nothing(either: None, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, note="draft")
    write(deal, title="Renamed")
    deal.delete()
    assert fired() == []


def test_a_row_that_is_left_out_may_be_as_unfinished_as_it_likes(
    either: None, customer: Customer
) -> None:
    deal = DealFactory.create(customer=customer, title="x" * 90)  # too long for the event
    write(deal, views=3)
    assert fired() == []
    with pytest.raises(PayloadInvalid):
        write(deal, note="sent")


def test_a_row_that_begins_to_meet_it_is_created(either: None, deal: Deal) -> None:
    write(deal, note="sent")
    assert events() == ["deal_created"]
    write(deal, title="Renamed")
    assert events() == ["deal_created", "deal_updated"]


def test_a_row_that_is_made_so_is_created_once(either: None, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, note="sent")
    deal.save()
    assert events() == ["deal_created"]


def test_a_row_that_stops_meeting_it_is_left_alone_until_it_meets_it_again(
    sandbox: Connection, either: None, deal: Deal
) -> None:
    write(deal, note="sent", title="First")
    deliver()
    write(deal, note="withdrawn", title="Second")
    write(deal, title="Third")
    assert deliver() == 0
    assert names() == ["First"]
    write(again(deal), note="sent", title="Fourth")
    deliver()
    assert names() == ["Fourth"]  # it was linked, so what was captured as new is a change


def test_its_deletion_is_told_where_the_crm_knows_it(
    sandbox: Connection, either: None, deal: Deal
) -> None:
    write(deal, note="sent")
    deliver()
    write(deal, note="withdrawn")
    deal.delete()
    deliver()
    assert held() == []
    assert events()[-1] == "deal_deleted"


def test_its_deletion_is_told_where_its_creation_is_on_its_way(
    sandbox: Connection, either: None, deal: Deal
) -> None:
    write(deal, note="sent")
    write(deal, note="withdrawn")
    deal.delete()
    assert events() == ["deal_created", "deal_deleted"]
    deliver()
    assert held() == []


def test_what_began_and_ended_within_one_block_is_told_as_it_was(either: None, deal: Deal) -> None:
    with xkit_crm.bulk():
        write(deal, note="sent")
        write(deal, note="withdrawn")
        deal.delete()
    assert events() == ["deal_created", "deal_deleted"]


def test_an_unfinished_row_that_no_crm_knows_can_be_deleted(either: None, deal: Deal) -> None:
    write(deal, title="x" * 90)
    deal.delete()
    assert fired() == []


def test_what_it_reads_is_watched(sent_only: None, deal: Deal) -> None:
    with rebound(SentOnly):
        assert "note" in the_deals().watched
        assert the_deals().decisive == {"note"}
    with rebound(InCode):
        assert "note" in the_deals().watched
    with rebound(OfRichCustomers):
        assert the_deals().decisive == {"customer_id"}


def test_a_row_that_moves_to_what_meets_it_begins_to(deal: Deal) -> None:
    rich = CustomerFactory.create(name="Rich", connection_id="acme")
    with rebound(OfRichCustomers):
        write(deal, title="Renamed")
        assert events() == []
        write(deal, customer=rich)
        assert events() == ["deal_created"]
        deal.customer_id = CustomerFactory.create(name="Rich", connection_id="acme").pk
        deal.save()
        assert events() == ["deal_created", "deal_updated"]


def test_where_only_creation_is_bound_it_is_told_when_it_begins(deal: Deal) -> None:
    with rebound(CreatedOnly):
        write(deal, note="sent")
        write(deal, title="Renamed")
        write(again(deal), views=4)
    assert events() == ["deal_created"]


def test_a_column_that_was_not_loaded_is_asked_for(sent_only: None, deal: Deal) -> None:
    deferred = Deal.objects.defer("note").get(pk=deal.pk)
    write(deferred, note="sent")
    assert events() == ["deal_created"]
    deferred = Deal.objects.defer("note").get(pk=deal.pk)
    write(deferred, note="sent", title="Renamed")
    assert events() == ["deal_created", "deal_updated"]


def test_after_a_rollback_nothing_is_taken_for_known(sent_only: None, deal: Deal) -> None:
    with transaction.atomic():
        write(deal, note="sent")
        transaction.set_rollback(True)
    write(deal, title="Renamed")  # still says "sent", which the database has not
    assert events() == ["deal_created"]


def test_what_the_database_computes_is_asked_afterwards(sent_only: None, deal: Deal) -> None:
    class Viewed(DealSync):
        condition = [{"path": "views", "operator": "at_least", "value": 1}]

    with rebound(Viewed):
        write(deal, views=F("views") + 1)
    assert fired() == [("deal_created", fired()[0][1])]
    assert fired()[0][1]["views"] == 1


def test_a_row_written_over_by_hand_is_a_change_that_delivery_sets_right(
    sandbox: Connection, sent_only: None, deal: Deal
) -> None:
    Deal(pk=deal.pk, customer=deal.customer, title="By hand", note="sent").save()
    assert events() == ["deal_updated"]
    deliver()
    assert names() == ["By hand"]
    with rebound(CreatedOnly):
        Deal(pk=deal.pk, customer=deal.customer, title="Once more", note="sent").save()
    assert events()[-1] == "deal_created"


def test_a_row_whose_earlier_state_can_not_be_asked_is_new(deal: Deal) -> None:
    class Fragile(DealSync):
        def is_synced(self, deal: Deal) -> bool:
            return {"sent": True}[deal.note]

    with rebound(Fragile):
        write(deal, note="sent")
        assert events() == ["deal_created"]
        with pytest.raises(KeyError):  # of the row as it is, it is the product's mistake
            write(deal, note="other")


def test_an_inheriting_row_falls_under_it_too(sent_only: None, customer: Customer) -> None:
    big = BigDeal.objects.create(customer=customer, title="Big", discount=1)
    assert events() == []
    write(big, note="sent")
    assert events() == ["deal_created"]


# -- what it costs --------------------------------------------------------------------------------


def cost(step: Callable[[], object]) -> int:
    with CaptureQueriesContext(database) as queries:
        step()
    return len(queries)


def test_a_save_that_changes_nothing_watched_costs_nothing(deal: Deal) -> None:
    class Narrow(DealSync):
        condition = [{"path": "title", "operator": "is", "value": "Sales contract"}]

    deal.note = "not watched"
    with rebound(Narrow):
        assert cost(deal.save) == 1


def test_telling_whether_it_began_costs_no_query(sent_only: None, deal: Deal) -> None:
    deal.customer  # noqa: B018 - loaded already
    deal.note = "sent"
    catalogue_is_warm = cost(lambda: write(deal, title="warm"))
    assert catalogue_is_warm
    deal.note = "draft"
    deal.save()
    deal.note = "sent"
    # The row, and its event: PostgreSQL does both in one.
    assert cost(deal.save) == (1 if database.vendor == "postgresql" else 1 + AN_EVENT)
    deal.note = "draft"
    assert cost(deal.save) == 1


def test_many_rows_are_asked_with_as_few_queries_as_few(deal: Deal) -> None:
    poor = CustomerFactory.create(name="Poor", connection_id="acme")
    rich = [CustomerFactory.create(name="Rich", connection_id="acme") for _ in range(12)]
    with xkit_crm.muted():
        few = [DealFactory.create(customer=poor).pk for _ in range(2)]
        many = [DealFactory.create(customer=customer).pk for customer in rich]
    with rebound(OfRichCustomers):
        Deal.synced.filter(pk__in=few).update(customer=rich[0])
        two = cost(lambda: Deal.synced.filter(pk__in=few).update(customer=poor))
        assert cost(lambda: Deal.synced.filter(pk__in=many).update(customer=rich[1])) <= two + 2
    assert Invocation.objects.count() == 2 + 11


def test_many_deletions_are_looked_up_at_once(sent_only: None, customer: Customer) -> None:
    def delete(count: int) -> int:
        with xkit_crm.muted():
            DealFactory.create_batch(count, customer=customer, title="drafts")
        return cost(lambda: Deal.objects.filter(title="drafts").delete())

    delete(2)  # what is remembered of definitions is read
    few = delete(2)
    assert delete(9) == few
    assert fired() == []


# -- what goes past save() ------------------------------------------------------------------------


def test_bulk_create_tells_only_of_what_meets_it(either: None, customer: Customer) -> None:
    Deal.synced.bulk_create(
        [Deal(customer=customer, title=note, note=note) for note in ("sent", "draft", "sent")]
    )
    assert [(slug, payload["name"]) for slug, payload in fired()] == [("deal_created", "sent")] * 2


def test_update_creates_what_begins_and_changes_what_goes_on(
    either: None, customer: Customer
) -> None:
    with xkit_crm.muted():
        draft = DealFactory.create(customer=customer, title="was draft", note="draft")
        DealFactory.create(customer=customer, title="was sent", note="sent")
    rows = Deal.synced.filter(title__startswith="was")
    rows.update(note="sent", views=7)
    assert sorted((slug, payload["name"]) for slug, payload in fired()) == [
        ("deal_created", "was draft"),
        ("deal_updated", "was sent"),
    ]
    Deal.synced.filter(pk=draft.pk).update(note="withdrawn", views=8)
    assert len(fired()) == 2


def test_bulk_update_does_the_same(either: None, customer: Customer) -> None:
    with xkit_crm.muted():
        deals = [DealFactory.create(customer=customer, title=n, note=n) for n in ("draft", "sent")]
    for deal in deals:
        deal.note, deal.views = "sent", 7
    Deal.synced.bulk_update(deals, ["note", "views"])
    assert sorted((slug, payload["name"]) for slug, payload in fired()) == [
        ("deal_created", "draft"),
        ("deal_updated", "sent"),
    ]


def test_update_tells_a_beginning_where_only_creation_is_bound(deal: Deal) -> None:
    with rebound(CreatedOnly):
        Deal.synced.filter(pk=deal.pk).update(note="sent")
        Deal.synced.filter(pk=deal.pk).update(title="Renamed")
    assert events() == ["deal_created"]


@pytest.mark.skipif(database.vendor == "mysql", reason="refused there: nobody can tell the rows")
def test_an_upsert_tells_of_each_row_as_it_began_or_changed(either: None, deal: Deal) -> None:
    rows = [
        Deal(pk=deal.pk, customer=deal.customer, title="There", note="sent"),
        Deal(pk=deal.pk + 1, customer=deal.customer, title="New", note="draft"),
    ]
    Deal.synced.bulk_create(
        rows, update_conflicts=True, update_fields=["title", "note"], unique_fields=["pk"]
    )
    assert [(slug, payload["name"]) for slug, payload in fired()] == [("deal_created", "There")]


def test_deletions_of_many_tell_of_what_the_crm_knows(
    sandbox: Connection, either: None, customer: Customer
) -> None:
    for note in ("sent", "draft", "sent"):
        DealFactory.create(customer=customer, title=note, note=note)
    deliver()
    Deal.synced.all().delete()
    deliver()
    assert held() == []
    assert events().count("deal_deleted") == 2


# -- what is told later ---------------------------------------------------------------------------


def test_backfill_brings_only_what_meets_it(
    sandbox: Connection, either: None, customer: Customer
) -> None:
    with xkit_crm.muted():
        DealFactory.create(customer=customer, title="Sent", note="sent")
    result = backfill(Deal, "acme", match=[])
    assert result.counts == {Outcome.CREATED: 1, Outcome.LEFT_OUT: 1}
    deliver()
    assert names() == ["Sent"]


def test_reconciling_leaves_alone_what_stopped_meeting_it(
    sandbox: Connection, either: None, deal: Deal
) -> None:
    write(deal, note="sent")
    deliver()
    with xkit_crm.muted():
        write(deal, title="Renamed")
        DealFactory.create(customer=deal.customer, title="A draft")
    (result,) = reconcile([Deal], dry_run=True, create=True)
    assert result.queued == {"deal_updated": 1}
    with xkit_crm.muted():
        write(deal, note="withdrawn")
    (result,) = reconcile([Deal], create=True)
    assert result.counts == {State.LEFT_OUT: 1}
    assert result.differences == ()
    (deep,) = reconcile_deep([Deal], fix=True)
    assert deep.counts == {Deep.LEFT_OUT: 1}
    assert not deep.queued


def test_a_change_that_waited_writes_no_row_that_stopped_meeting_it(
    sandbox: Connection, either: None, deal: Deal
) -> None:
    """A change of a row that the CRM doesn't know becomes a creation of the row as it is now."""
    with xkit_crm.muted():
        write(deal, note="sent")
    write(deal, title="Renamed")
    assert events() == ["deal_updated"]
    with xkit_crm.muted():
        write(deal, note="withdrawn")
    deliver()
    assert held() == []
    assert states() == ["skipped"]
    error = Invocation.objects.get().error
    assert "doesn't meet the condition of its binding any more" in str(error)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_triggers_tell_only_of_what_meets_it(
    sandbox: Connection, either: None, deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pgtrigger")
    from xkit_crm.sync import triggers

    def sql(statement: str) -> None:
        with database.cursor() as cursor:
            cursor.execute(statement, [deal.pk])
        deliver()

    monkeypatch.setattr(triggers, "_in_use", False)
    before = list(database.execute_wrappers)
    mark, mark_update = triggers.capture_triggers()
    with mark.install(Deal), mark_update.install(Deal):
        sql("UPDATE products_deal SET title = 'A draft' WHERE id = %s")
        assert names() == []
        sql("UPDATE products_deal SET note = 'sent' WHERE id = %s")
        assert names() == ["A draft"]
        sql("UPDATE products_deal SET title = 'Renamed' WHERE id = %s")
        assert names() == ["Renamed"]
        sql("UPDATE products_deal SET note = 'withdrawn', title = 'Secret' WHERE id = %s")
        assert names() == ["Renamed"]
        sql("DELETE FROM products_deal WHERE id = %s")
        assert names() == []
    database.execute_wrappers[:] = before
    assert events() == ["deal_created", "deal_updated", "deal_deleted"]


def the_deals() -> bindings.Binding:
    return next(b for b in bindings.registered() if b.model is Deal)


def test_without_a_condition_every_row_is_synced(connection: Connection) -> None:
    assert the_deals().is_synced is None
    (twin,) = bindings.bindings_for(Twin)
    assert twin.decisive == frozenset()
