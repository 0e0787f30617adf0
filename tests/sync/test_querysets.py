"""Bulk operations of a bound model fire as saves do: set-wise, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.db import transaction
from django.db.models import Count, F, Value
from django.db.models.functions import Concat, Upper

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.crm import DealSync
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Ticket
from tests.sync.test_capture import events, fired, rebound
from xkit_crm.exceptions import ConfigurationError
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


class ByPath(DealSync):
    payload: ClassVar = {"name": "title", "views": "bigdeal.discount"}


class ByCode(DealSync):
    def get_connections(self, deal: Deal) -> str:
        return "acme" if hasattr(deal, "bigdeal") and deal.bigdeal.discount else "second"


@pytest.mark.parametrize("sync", [ByPath, ByCode])
def test_so_it_does_where_rows_of_another_table_point_to_them_one_to_one(
    customer: Customer, sync: type[DealSync]
) -> None:
    with xkit_crm.muted():
        for number in range(25):
            title = "few" if number < 4 else "many"
            if number % 2:
                BigDeal.objects.create(customer=customer, title=title, discount=number)
            else:
                Deal.objects.create(customer=customer, title=title)
    ConnectionFactory.create(id="second")
    with rebound(sync):
        Deal.synced.filter(title="few").update(tags=["first"])
        few = queries(lambda: Deal.synced.filter(title="few").update(tags=["a"]))
        many = queries(lambda: Deal.synced.filter(title="many").update(tags=["a"]))
    assert len(fired()) == 29
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


def test_so_it_does_for_a_row_whose_key_was_given_as_text(customer: Customer) -> None:
    (deal,) = Deal.synced.bulk_create(made(customer, Upper(Value("loud")), pk="7"))
    assert [(i.object_pk, i.payload["name"]) for i in Invocation.objects.all()] == [("7", "LOUD")]
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
@pytest.mark.parametrize("spelled", [int, str])
def test_an_upsert_by_the_primary_key_fires(
    connection: Connection, spelled: Callable[[int], Any]
) -> None:
    with xkit_crm.muted():
        old, same = Ticket.objects.bulk_create([ticket("1", "old"), ticket("2", "same")])
    Ticket.objects.bulk_create(
        [ticket("1", "new", pk=spelled(old.pk)), ticket("2", "same", pk=spelled(same.pk))],
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
    assert len(statements) < 13


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
