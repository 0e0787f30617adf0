"""Bulk operations of a bound model fire as saves do: set-wise, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection as database
from django.db import transaction
from django.db.models import Count, F, Value
from django.db.models.functions import Concat, Upper

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Elsewhere, Ticket
from tests.sync.test_capture import events, fired, rebound
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Connection, Invocation, RecordLink

pytestmark = pytest.mark.django_db


def names() -> list[str]:
    """What the captured payloads call their rows, in order."""
    return [payload["name"] for _, payload in fired()]


def queries(work: Callable[[], object]) -> list[str]:
    """The statements that the work runs."""
    seen: list[str] = []
    with database.execute_wrapper(lambda run, sql, *rest: (seen.append(sql), run(sql, *rest))[1]):
        work()
    return [sql for sql in seen if "SAVEPOINT" not in sql]


@pytest.fixture
def deals(customer: Customer) -> list[Deal]:
    """Three rows that the database has, and nobody was told of."""
    with xkit_crm.muted():
        for title in ("one", "two", "three"):
            DealFactory.create(customer=customer, title=title)
    return list(Deal.objects.order_by("pk"))


def made(customer: Customer, *titles: str, **columns: Any) -> list[Deal]:
    return [Deal(customer=customer, title=title, **columns) for title in titles]


# -- update() -------------------------------------------------------------------------------------


def test_update_fires_for_each_row_with_its_payload(deals: list[Deal]) -> None:
    assert Deal.synced.filter(title__in=["one", "two"]).update(amount=5) == 2
    assert [(slug, p["name"], p["amount"]) for slug, p in fired()] == [
        ("deal_updated", "one", 5.0),
        ("deal_updated", "two", 5.0),
    ]
    assert [i.instance for i in Invocation.objects.order_by("id")] == deals[:2]


def test_update_is_about_the_same_record_as_a_save(deals: list[Deal]) -> None:
    deals[0].title = "saved"
    deals[0].save()
    Deal.synced.filter(pk=deals[0].pk).update(title="updated")
    assert len(set(Invocation.objects.values_list("record_key", flat=True))) == 1


def test_update_fires_only_for_rows_in_which_something_watched_changed(deals: list[Deal]) -> None:
    assert Deal.synced.update(title="two") == 3
    assert names() == ["two", "two"]
    assert deals[1].pk not in {i.instance.pk for i in Invocation.objects.all()}


def test_update_of_what_nobody_watches_costs_no_query(
    deals: list[Deal], django_assert_num_queries
) -> None:
    with django_assert_num_queries(1):
        Deal.synced.update(note="nobody watches it")
    assert fired() == []


def test_update_tells_what_the_database_computed(deals: list[Deal]) -> None:
    Deal.synced.update(views=F("views") + 7, title=Concat(F("title"), Value("!")))
    assert [(p["name"], p["views"]) for _, p in fired()] == [
        ("one!", 7),
        ("two!", 7),
        ("three!", 7),
    ]


def test_update_of_rows_that_don_t_match_any_more_fires(deals: list[Deal]) -> None:
    Deal.synced.filter(title="one").update(title="changed")
    assert names() == ["changed"]


def test_update_by_a_relation_or_a_count_fires(deals: list[Deal], customer: Customer) -> None:
    Deal.synced.filter(customer__name=customer.name).exclude(title="three").update(amount=1)
    Deal.synced.annotate(n=Count("customer__deals")).filter(n=3, title="three").update(amount=2)
    assert [p["amount"] for _, p in fired()] == [1.0, 1.0, 2.0]


def test_update_of_a_relation_tells_of_the_new_one(deals: list[Deal]) -> None:
    owner = User.objects.create(username="ada", email="ada@example.com")
    Deal.synced.update(owner=owner)
    assert {p["owner_email"] for _, p in fired()} == {"ada@example.com"}


def test_update_costs_the_same_queries_for_few_rows_and_for_many(connection: Connection) -> None:
    with xkit_crm.muted():
        for number in range(25):
            email = f"u{number}@example.com"
            DealFactory.create(
                customer=CustomerFactory.create(connection_id="acme"),
                owner=User.objects.create(username=email, email=email),
                title="few" if number < 2 else "many",
            )
    Deal.synced.filter(title="few").update(views=1)
    few = queries(lambda: Deal.synced.filter(title="few").update(views=2))
    many = queries(lambda: Deal.synced.filter(title="many").update(views=2))
    assert len(fired()) == 27
    assert len(few) == len(many)


def test_update_of_nothing_fires_nothing(deals: list[Deal]) -> None:
    assert Deal.synced.none().update(title="x") == 0
    assert Deal.synced.filter(title="no such").update(title="x") == 0
    assert fired() == []


def test_update_of_the_primary_key_is_refused(deals: list[Deal]) -> None:
    with pytest.raises(ConfigurationError, match="primary key"):
        Deal.synced.filter(pk=deals[0].pk).update(id=999)
    with xkit_crm.muted():
        assert Deal.synced.filter(pk=deals[0].pk).update(id=999) == 1


def test_what_django_refuses_to_update_it_still_refuses(deals: list[Deal]) -> None:
    with pytest.raises(TypeError, match="slice"):
        Deal.synced.all()[:1].update(title="x")
    with pytest.raises(Exception, match="no field named"):
        Deal.synced.update(titel="x")


def test_related_managers_fire(deals: list[Deal], customer: Customer) -> None:
    customer.deals.update(title="of the customer")
    assert names() == ["of the customer"] * 3


def test_update_through_a_proxy_and_an_inheriting_model_fires_as_the_bound_one(
    customer: Customer,
) -> None:
    with xkit_crm.muted():
        deal = DealFactory.create(customer=customer)
        big = BigDeal.objects.create(customer=customer, title="Big")
    DealProxy.synced.filter(pk=deal.pk).update(title="by proxy")
    BigDeal.synced.filter(discount=0).update(title="Bigger", discount=3)
    BigDeal.synced.update(discount=4)
    assert names() == ["by proxy", "Bigger"]
    assert {i.content_type.model for i in Invocation.objects.all()} == {"deal"}
    assert {i.object_pk for i in Invocation.objects.all()} == {str(deal.pk), str(big.pk)}


def test_async_variants_fire(deals: list[Deal]) -> None:
    from asgiref.sync import async_to_sync

    async_to_sync(Deal.synced.filter(title="one").aupdate)(title="later")
    assert names() == ["later"]


# -- bulk_create() --------------------------------------------------------------------------------


def test_bulk_create_fires_for_each_row(customer: Customer) -> None:
    rows = Deal.synced.bulk_create(made(customer, "a", "b", "c", amount="12.50"))
    assert [(slug, p["name"], p["amount"]) for slug, p in fired()] == [
        ("deal_created", "a", 12.5),
        ("deal_created", "b", 12.5),
        ("deal_created", "c", 12.5),
    ]
    assert [i.instance for i in Invocation.objects.order_by("id")] == rows


def test_rows_made_in_bulk_are_known_to_the_saves_that_follow(customer: Customer) -> None:
    (deal,) = Deal.synced.bulk_create(made(customer, "a"))
    deal.note = "not watched"
    deal.save()
    assert events() == ["deal_created"]
    deal.title = "b"
    deal.save()
    assert events() == ["deal_created", "deal_updated"]


def test_bulk_create_reads_back_what_the_database_computes(customer: Customer) -> None:
    (deal,) = Deal.synced.bulk_create(made(customer, Upper(Value("loud"))))
    assert names() == ["LOUD"]
    assert deal.title == "LOUD"


def test_bulk_create_that_ignores_conflicts_is_refused(customer: Customer) -> None:
    with pytest.raises(ConfigurationError, match="ignore_conflicts") as raised:
        Deal.synced.bulk_create(made(customer, "a"), ignore_conflicts=True)
    assert "muted" in raised.value.hint
    with xkit_crm.muted():
        Deal.synced.bulk_create(made(customer, "a"), ignore_conflicts=True)
    assert fired() == []
    assert Deal.objects.count() == 1


def ticket(code: str, title: str, **columns: Any) -> Ticket:
    return Ticket(code=code, title=title, connection_ids=["acme"], **columns)


UPSERT: dict[str, Any] = {
    "update_conflicts": True,
    "update_fields": ["title"],
    "unique_fields": ["code", "region"],
}


@pytest.mark.skipif(
    database.vendor == "mysql", reason="MariaDB doesn't tell which rows an upsert wrote"
)
def test_an_upsert_fires_as_what_it_did(connection: Connection) -> None:
    with xkit_crm.muted():
        Ticket.objects.bulk_create([ticket("1", "old"), ticket("2", "same"), ticket("3", "other")])
    Ticket.objects.bulk_create(
        [ticket("1", "new"), ticket("2", "same"), ticket("4", "x")], **UPSERT
    )
    assert fired() == [("deal_updated", {"name": "new"}), ("deal_created", {"name": "x"})]
    assert Ticket.objects.count() == 4


@pytest.mark.skipif(
    database.vendor == "mysql", reason="MariaDB doesn't tell which rows an upsert wrote"
)
def test_an_upsert_by_the_primary_key_fires(connection: Connection) -> None:
    with xkit_crm.muted():
        (old,) = Ticket.objects.bulk_create([ticket("1", "old")])
    Ticket.objects.bulk_create(
        [ticket("1", "new", pk=old.pk)],
        update_conflicts=True,
        update_fields=["title"],
        unique_fields=["pk"],
    )
    assert fired() == [("deal_updated", {"name": "new"})]


@pytest.mark.skipif(
    database.vendor == "mysql", reason="MariaDB doesn't tell which rows an upsert wrote"
)
def test_an_upsert_tells_what_was_written_and_not_what_was_left_out(
    connection: Connection,
) -> None:
    with xkit_crm.muted():
        Ticket.objects.bulk_create([ticket("1", "old")])
    newer = Ticket(code="1", title="new", connection_ids=["nobody"])
    Ticket.objects.bulk_create([newer], **UPSERT)
    assert [i.connection_id for i in Invocation.objects.all()] == ["acme"]


# -- bulk_update() --------------------------------------------------------------------------------


def test_bulk_update_fires_for_rows_in_which_something_watched_changed(deals: list[Deal]) -> None:
    deals[0].title, deals[2].title = "first", "third"
    assert Deal.synced.bulk_update(deals, ["title", "note"]) == 3
    assert names() == ["first", "third"]


def test_bulk_update_compares_with_the_database(deals: list[Deal]) -> None:
    Deal.objects.filter(pk=deals[0].pk).update(title="changed elsewhere")
    Deal.synced.bulk_update(deals, ["title"])
    assert names() == ["one"]


def test_bulk_update_tells_of_nothing_that_it_didn_t_write(deals: list[Deal]) -> None:
    deals[0].title, deals[0].amount = "written", Decimal("99.00")
    Deal.synced.bulk_update(deals[:1], ["title"])
    ((_, payload),) = fired()
    assert (payload["name"], payload["amount"]) == ("written", 1200.5)


def test_saves_after_a_bulk_update_fire_for_what_they_change(deals: list[Deal]) -> None:
    deal = deals[0]
    deal.title = "first"
    Deal.synced.bulk_update([deal], ["title"])
    deal.save()
    assert names() == ["first"]
    deal.amount = Decimal("1.00")
    deal.save()
    assert len(fired()) == 2


def test_bulk_update_with_expressions_tells_their_values(deals: list[Deal]) -> None:
    for deal in deals:
        deal.views = F("views") + 2
    Deal.synced.bulk_update(deals, ["views"])
    assert [p["views"] for _, p in fired()] == [2, 2, 2]
    deals[0].save()  # Django adds it again
    assert [p["views"] for _, p in fired()] == [2, 2, 2, 4]


def test_bulk_update_fires_for_no_row_that_is_gone(deals: list[Deal]) -> None:
    Deal.objects.filter(pk=deals[0].pk)._raw_delete("default")
    for deal in deals:
        deal.title = "renamed"
    assert Deal.synced.bulk_update(deals, ["title"], batch_size=2) == 2
    assert len(fired()) == 2


def test_bulk_update_of_a_filtered_queryset_fires_for_what_it_reaches(deals: list[Deal]) -> None:
    for deal in deals:
        deal.title += "!"
    assert Deal.synced.exclude(title="two").bulk_update(deals, ["title"]) == 2
    assert names() == ["one!", "three!"]


# -- delete() -------------------------------------------------------------------------------------


def test_delete_costs_the_same_queries_for_few_rows_and_for_many(connection: Connection) -> None:
    def fill(count: int) -> None:
        with xkit_crm.muted():
            for _ in range(count):
                DealFactory.create(customer=CustomerFactory.create(connection_id="acme"))

    fill(1)
    Deal.synced.all().delete()
    fill(2)
    few = queries(lambda: Deal.synced.all().delete())
    fill(25)
    many = queries(lambda: Deal.synced.all().delete())
    assert events() == ["deal_deleted"] * 28
    assert len(few) == len(many)


def test_a_cascade_writes_its_events_together(customer: Customer) -> None:
    with xkit_crm.muted():
        DealFactory.create_batch(20, customer=customer)
    statements = queries(customer.delete)
    assert events() == ["deal_deleted"] * 20
    assert len(statements) < 12


def test_links_of_rows_that_nobody_is_told_of_go_with_them_in_one_statement(
    connection: Connection,
) -> None:
    with xkit_crm.muted():
        rows = Ticket.objects.bulk_create([ticket(str(n), "x") for n in range(20)])
    for row in rows:
        xkit_crm.link(row, "acme", f"Opportunity:{row.pk}")
    kept = xkit_crm.link(Ticket.objects.create(code="kept", title="y"), "acme", "Opportunity:k")
    statements = queries(lambda: Ticket.objects.exclude(code="kept").delete())
    assert list(RecordLink.objects.all()) == [kept]
    assert len([sql for sql in statements if "xkit_crm_recordlink" in sql]) == 1


def test_what_a_delete_sets_to_null_fires_by_the_base_manager(
    deals: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = User.objects.create(username="ada", email="ada@example.com")
    Deal.objects.filter(title="one").update(owner=owner)
    monkeypatch.setitem(Deal._meta.__dict__, "base_manager", Deal.synced)
    owner.delete()
    assert [(p["name"], p["owner_email"]) for _, p in fired()] == [("one", None)]


def test_a_delete_that_fails_leaves_nothing(deals: list[Deal]) -> None:
    from django.db.models.signals import post_delete

    def refuse(**_: object) -> None:
        raise RuntimeError

    post_delete.connect(refuse, sender=Deal)
    try:
        with pytest.raises(RuntimeError), transaction.atomic():
            Deal.synced.all().delete()
    finally:
        post_delete.disconnect(refuse, sender=Deal)
    assert fired() == []
    Deal.synced.filter(title="one").delete()
    assert names() == ["one"]


# -- the same rules -------------------------------------------------------------------------------


Operation = Callable[[Sequence[Deal]], object]


def _update(deals: Sequence[Deal]) -> object:
    return Deal.synced.update(title="x" * 90)


def _bulk_update(deals: Sequence[Deal]) -> object:
    for deal in deals:
        deal.title = "x" * 90
    return Deal.synced.bulk_update(deals, ["title"])


def _bulk_create(deals: Sequence[Deal]) -> object:
    return Deal.synced.bulk_create(made(deals[0].customer, *["x" * 90] * 3))


def _delete(deals: Sequence[Deal]) -> object:
    Deal.objects.update(title="x" * 90)
    return Deal.synced.all().delete()


each_operation = pytest.mark.parametrize(
    "operation", [_update, _bulk_update, _bulk_create, _delete], ids=lambda o: o.__name__
)


@each_operation
def test_muted_operations_fire_nothing(deals: list[Deal], operation: Operation) -> None:
    with xkit_crm.muted():
        operation(deals)
    assert fired() == []


@each_operation
def test_an_invalid_payload_stops_all_of_it(deals: list[Deal], operation: Operation) -> None:
    before = list(Deal.objects.order_by("pk").values())
    with pytest.raises(PayloadInvalid), transaction.atomic():
        operation(deals)
    assert fired() == []
    assert list(Deal.objects.order_by("pk").values()) == before


@each_operation
def test_invalid_payloads_may_be_recorded_instead(
    deals: list[Deal], operation: Operation, settings
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    operation(deals)
    found = Invocation.objects.all()
    assert [i.status for i in found] == ["failed"] * 3
    assert {i.error.errors[0].path for i in found} == {"payload.name"}


@each_operation
def test_rows_without_connection_fire_nothing(deals: list[Deal], operation: Operation) -> None:
    Customer.objects.update(connection_id="")
    operation(list(Deal.objects.all()))
    assert fired() == []


def test_a_valid_row_is_carried_out_beside_one_that_is_recorded_as_invalid(
    deals: list[Deal], settings
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    deals[0].title, deals[1].title = "y" * 90, "good"
    Deal.synced.bulk_update(deals, ["title"])
    assert set(Invocation.objects.values_list("status", "payload__name")) == {
        ("failed", "y" * 90),
        ("pending", "good"),
    }


def test_each_row_goes_to_all_its_connections(connection: Connection) -> None:
    ConnectionFactory.create(id="second")
    Ticket.objects.bulk_create(
        [
            Ticket(code="1", title="a", connection_ids=["acme", "second"]),
            Ticket(code="2", title="b", connection_ids=["second", "not-connected"]),
            Ticket(code="3", title="c", connection_ids=[]),
        ]
    )
    Ticket.objects.update(title="z")
    assert [(i.connection_id, i.payload["name"]) for i in Invocation.objects.order_by("id")] == [
        ("acme", "a"),
        ("second", "a"),
        ("second", "b"),
        ("acme", "z"),
        ("second", "z"),
        ("second", "z"),
    ]


def test_more_rows_than_one_chunk_holds_are_all_told(connection: Connection) -> None:
    Ticket.objects.bulk_create([ticket(str(n), "a") for n in range(1203)])
    Ticket.objects.update(title="b")
    Ticket.objects.filter(code="7").delete()
    assert Invocation.objects.filter(event__slug="deal_created").count() == 1203
    updated = Invocation.objects.filter(event__slug="deal_updated").order_by("id")
    assert [int(i.object_pk) for i in updated] == sorted(int(i.object_pk) for i in updated)
    assert len(updated) == 1203


def test_a_computed_key_and_the_connections_cost_no_query_for_each_row(
    connection: Connection,
) -> None:
    from tests.products.crm import DealSync

    class Computed(DealSync):
        payload = {"amount": "amount"}

        def get_name(self, deal: Deal) -> str:
            return deal.customer.name

    with xkit_crm.muted():
        for _ in range(10):
            DealFactory.create(customer=CustomerFactory.create(connection_id="acme"))
    with rebound(Computed):
        statements = queries(lambda: Deal.synced.update(amount=1))
    assert len(fired()) == 10
    assert (
        len([sql for sql in statements if "products_customer" in sql]) == 2
    )  # the first, the rest


def test_a_bound_model_whose_manager_captures_nothing_is_told_by_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told() -> list[str]:
        found = run_checks(tags=["xkit_crm"])
        return [m.msg for m in found if m.id == "xkit_crm.W018" and "products." in m.msg]

    assert told() == []
    monkeypatch.setitem(Deal._meta.__dict__, "default_manager", Deal.objects)
    assert ["products.Deal" in message for message in told()] == [True]


def test_a_queryset_of_the_product_s_own_is_a_manager_too() -> None:
    class Own(xkit_crm.SyncedQuerySet):
        def big(self) -> Any:
            return self.filter(amount__gt=1000)

    manager = Own.as_manager()
    manager.model = Deal
    assert isinstance(manager.get_queryset().big(), Own)
    assert not hasattr(manager, "delete")


# -- transactions ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@each_operation
def test_in_autocommit_rows_and_events_stand_or_fall_together(
    deals: list[Deal], operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xkit_crm.delivery import outbox

    def broken(*args: object, **kwargs: object) -> None:
        raise ConnectionError("the database went away")

    before = list(Deal.objects.order_by("pk").values())
    # A name that the schema takes, so that it comes as far as the outbox.
    monkeypatch.setattr(Deal._meta.get_field("title"), "max_length", 200)
    monkeypatch.setattr(outbox, "put_many", broken)
    monkeypatch.setattr("xkit_crm.sync.payloads.build", lambda *_: ({"name": "x"}, []))
    with pytest.raises(ConnectionError):
        operation(deals)
    with_titles = [{**row, "title": None} for row in Deal.objects.order_by("pk").values()]
    assert with_titles == [{**row, "title": None} for row in before]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_events_with_the_rows_and_saves_fire_again(deals: list[Deal]) -> None:
    with transaction.atomic():
        deals[0].title = "renamed"
        Deal.synced.bulk_update(deals, ["title"])
        (new,) = Deal.synced.bulk_create(made(deals[0].customer, "new"))
        transaction.set_rollback(True)
    assert fired() == []
    deals[0].save()
    new.save()
    assert sorted(names()) == ["new", "renamed"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_in_another_database_are_told_of_once_they_are_committed(
    connection: Connection,
) -> None:
    with transaction.atomic(using="other"):
        Elsewhere.objects.bulk_create(
            [Elsewhere(title=title, connection_id="acme") for title in "ab"]
        )
        assert fired() == []
    assert [p for _, p in fired()] == [{"name": "a"}, {"name": "b"}]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_row_that_comes_to_match_meanwhile_is_not_updated_unseen(
    deals: list[Deal], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from django.db import connections

    def insert() -> None:
        try:
            with xkit_crm.muted():
                DealFactory.create(customer=deals[0].customer, title="late")
        finally:
            connections.close_all()

    original = xkit_crm.SyncedQuerySet._locked

    def then_another_comes(self: Any, *args: Any) -> Any:
        found = original(self, *args)
        thread = threading.Thread(target=insert)
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(xkit_crm.SyncedQuerySet, "_locked", then_another_comes)
    assert Deal.synced.update(title="new") == 3
    assert len(fired()) == 3
    assert Deal.objects.filter(title="late").count() == 1
