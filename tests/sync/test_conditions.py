"""Conditions: only rows that meet one are synced, whichever way they are written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.delivery.conftest import held, names, states
from tests.factories import CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import BigDeal, Customer, Deal, Twin
from tests.sync.test_capture import events, fired, rebound
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Connection, CRMObject, EventDefinition, Invocation, ModelBinding
from xkit_crm.sync import bindings, conditions
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


# -- what a rule says -----------------------------------------------------------------------------

MOMENT = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("found", "operator", "value", "holds"),
    [
        ("sent", "is", "sent", True),
        ("draft", "is", "sent", False),
        (None, "is", "sent", False),
        (7, "is", "7", True),
        (7, "is", 7, True),
        (Decimal("12.50"), "is", 12.5, True),
        (0.1, "is", 0.1, True),
        (True, "is", True, True),
        (True, "is", "true", True),
        (True, "is", False, False),
        (True, "is", "perhaps", False),
        (UUID(int=1), "is", str(UUID(int=1)), True),
        (Connection.status.field.choices[1][0], "is", "enabled", True),
        (User(pk=4), "is", 4, True),
        (dt.date(2026, 5, 17), "is", "2026-05-17", True),
        (7, "is", "seven", False),
        ("draft", "is_not", "sent", True),
        (None, "is_not", "sent", True),
        ("sent", "is_not", "sent", False),
        ("signed", "one_of", ["sent", "signed"], True),
        (3, "one_of", ["1", 3], True),
        ("draft", "one_of", ["sent", "signed"], False),
        ("", "empty", None, True),
        (None, "empty", None, True),
        ([], "empty", None, True),
        (0, "empty", None, False),
        (False, "empty", None, False),
        ("x", "not_empty", None, True),
        ({}, "not_empty", None, False),
        (Decimal("100"), "at_least", "100", True),
        (Decimal("99.99"), "at_least", 100, False),
        (None, "at_least", 0, False),
        ("lots", "at_least", 100, True),  # texts are compared as texts
        (100, "at_least", "lots", False),
        (MOMENT, "at_least", "2026-05-17T11:59:00Z", True),
        (MOMENT, "at_least", "2026-05-18", False),
        (MOMENT.replace(tzinfo=None), "at_most", "2026-05-17T12:00:00", True),
        (MOMENT.replace(tzinfo=None), "at_most", "2026-05-17T12:00:00Z", True),
        (dt.date(2026, 5, 17), "at_most", "2026-05-16", False),
        (dt.time(9), "at_most", "10:00", True),
        (dt.timedelta(hours=1), "at_most", "PT2H", True),
    ],
)
def test_a_rule_compares_by_the_kind_of_what_the_row_has(
    found: Any, operator: str, value: Any, holds: bool
) -> None:
    rule = conditions.Rule("path", conditions.Operator(operator), value, lambda _: found)
    assert rule.holds(Deal()) is holds


def test_all_rules_have_to_hold_and_a_missing_relation_is_empty(customer: Customer) -> None:
    rules = conditions.read(
        [
            {"path": "customer.name", "operator": "not_empty"},
            {"path": "owner.email", "operator": "empty"},
            {"path": "views", "operator": "at_least", "value": 3},
        ],
        Deal,
    )
    deal = DealFactory.build(customer=customer, views=3)
    assert [rule.holds(deal) for rule in rules] == [True, True, True]
    deal.owner = User(email="ada@example.com")
    assert [rule.holds(deal) for rule in rules] == [True, False, True]


def test_a_rule_reads_well() -> None:
    given = [
        {"path": "note", "operator": "one_of", "value": ["sent", "signed"]},
        {"path": "owner", "operator": "not_empty"},
    ]
    rules = conditions.read(given, Deal)
    assert list(map(str, rules)) == ["note is one of sent, signed", "owner is not empty"]
    assert [rule.as_data() for rule in rules] == given


@pytest.mark.parametrize(
    ("given", "path", "error"),
    [
        ("sent", "condition", "must be a list of rules"),
        ([{"path": "note", "operator": "empty"}] * 21, "condition", "at most 20"),
        (["note"], "condition[0]", "must be an object"),
        ([{"operator": "is", "value": 1}], "condition[0].path", "is required"),
        ([{"path": 5, "operator": "is", "value": 1}], "condition[0].path", "is required"),
        ([{"path": "note", "operator": "=="}], "condition[0].operator", "unknown operator"),
        ([{"path": "note"}], "condition[0].operator", "known are is, is_not"),
        ([{"path": "note", "operator": ["is"]}], "condition[0].operator", "unknown operator"),
        ([{"path": "note", "operator": "is"}], "condition[0].value", "is required"),
        ([{"path": "note", "operator": "is", "value": {}}], "condition[0].value", "plain value"),
        ([{"path": "note", "operator": "one_of", "value": "x"}], "condition[0].value", "a list"),
        ([{"path": "note", "operator": "one_of", "value": [[]]}], "condition[0].value", "plain"),
        ([{"path": "note", "operator": "empty", "value": "x"}], "condition[0].value", "none to"),
        ([{"path": "note", "op": "is"}], "condition[0].op", "unknown key"),
        ([{"path": "nte", "operator": "empty"}], "condition[0].path", "did you mean note?"),
        ([{"path": "_state", "operator": "empty"}], "condition[0].path", "private"),
        ([{"path": "delete", "operator": "empty"}], "condition[0].path", "changes data"),
        ([{"path": "customer.deals", "operator": "empty"}], "condition[0].path", "many rows"),
        ([{"path": "views", "operator": "is", "value": "x"}], "condition[0].value", "(Integer)"),
        ([{"path": "views", "operator": "one_of", "value": [1, "x"]}], "condition[0].value[1]", ""),
        ([{"path": "owner", "operator": "is", "value": "ada"}], "condition[0].value", "no value"),
        (
            [{"path": "modified_at", "operator": "at_least", "value": "soon"}],
            "condition[0].value",
            "no value of modified_at",
        ),
    ],
)
def test_whatever_is_wrong_with_a_condition_is_told_at_its_place(
    given: Any, path: str, error: str
) -> None:
    (problem,) = [one for one in conditions.problems(given, Deal) if one.path == path]
    assert error in problem.error


def test_a_value_that_is_no_choice_of_its_column_is_told() -> None:
    given = [{"path": "status", "operator": "is", "value": "on"}]
    (problem,) = conditions.problems(given, Connection)
    assert problem.error == '"on" is none of pending, enabled, disabled, errored'


def test_right_conditions_have_no_problem() -> None:
    given = [
        {"path": "customer__name", "operator": "is", "value": "Rich"},
        {"path": "customer.deals.count", "operator": "at_least", "value": 2},
        {"path": "customer", "operator": "one_of", "value": [1, "2"]},
        {"path": "amount", "operator": "at_most", "value": "10.50"},
    ]
    assert list(conditions.problems(given, Deal)) == []


def test_a_condition_that_is_none_can_not_be_registered() -> None:
    class Mistyped(DealSync):
        condition = [{"path": "note", "operator": "equals", "value": "sent"}]

    with pytest.raises(ConfigurationError, match=r"condition\[0\].operator: unknown operator"):
        xkit_crm.register(Customer)(Mistyped)


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
    assert cost(deal.save) == 2  # the row, and its event
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


# -- bindings of the admin ------------------------------------------------------------------------


@pytest.fixture
def _forget_rows() -> Iterator[None]:
    yield
    bindings._from_rows.clear()
    bindings._by_class.clear()


def bind(**values: Any) -> ModelBinding:
    return ModelBinding.objects.create(
        model=ContentType.objects.get_for_model(Customer),
        crm_object=CRMObject.objects.get(slug="opportunity"),
        on_create=EventDefinition.objects.get(slug="deal_created"),
        payload={"name": "name"},
        connection_path="connection_id",
        **values,
    )


@pytest.mark.usefixtures("_forget_rows")
def test_a_row_of_the_admin_has_a_condition_too(connection: Connection) -> None:
    bind(condition=[{"path": "name", "operator": "is_not", "value": "Test"}])
    for name in ("Test", "Real"):
        Customer.objects.create(name=name, connection_id="acme")
    assert [payload["name"] for _, payload in fired()] == ["Real"]


@pytest.mark.usefixtures("_forget_rows")
def test_a_row_whose_condition_is_none_binds_nothing_rather_than_everything(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    bind(condition=[{"path": "name"}])
    Customer.objects.create(name="Anybody", connection_id="acme")
    assert fired() == []
    assert "is left out" in caplog.text


def the_deals() -> bindings.Binding:
    return next(b for b in bindings.registered() if b.model is Deal)


def test_without_a_condition_every_row_is_synced(connection: Connection) -> None:
    assert the_deals().is_synced is None
    (twin,) = bindings.bindings_for(Twin)
    assert twin.decisive == frozenset()
