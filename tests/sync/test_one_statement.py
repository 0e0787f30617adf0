"""On PostgreSQL, a save and what it fires are one statement where all of it is in memory."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, DataError, IntegrityError, models, transaction
from django.db import connection as database
from django.db.models import F
from django.utils.functional import SimpleLazyObject

import xkit_crm
from tests.products.models import Customer, Deal, Twin
from tests.sync.saving import bound, statements, told
from tests.threads import elsewhere
from xkit_crm import catalogue
from xkit_crm.delivery import cursors
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Connection, Invocation
from xkit_crm.sync import one_statement

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(database.vendor != "postgresql", reason="PostgreSQL only"),
]


@pytest.fixture(autouse=True)
def _in_memory(db: None) -> None:
    """What a first save would ask the database for."""
    for model in (Deal, Twin):
        ContentType.objects.get_for_model(model)


def test_a_new_row_and_its_invocation_are_one_statement(connection: Connection) -> None:
    Twin(connection_id="acme", title="warm").save()  # the catalogue is in memory
    row = Twin(connection_id="acme", title="Apple", amount="12.50", email="ada@example.com")
    (statement,) = statements(row.save)
    assert statement.startswith("WITH saved AS (INSERT INTO")
    one = Invocation.objects.latest("id")
    assert one.payload == {"name": "Apple", "amount": 12.5, "owner_email": "ada@example.com"}
    assert one.record_key == f"products.twin:{row.pk}:opportunity"
    assert one.instance == row == Twin.objects.get(title="Apple")
    assert one.connection_id == "acme"
    assert (one.status, one.priority, one.tries, one.source) == ("pending", 1, 0, "model")
    assert one.due_at == one.created_at


def test_so_are_a_change_and_its_invocation(connection: Connection) -> None:
    row = Twin.objects.create(connection_id="acme", title="Apple")
    row.title = "Pear"
    (statement,) = statements(row.save)
    assert statement.startswith("WITH saved AS (UPDATE")
    assert told()[1:] == [
        (
            "deal_updated",
            str(row.pk),
            {"name": "Pear", "amount": None, "owner_email": "ada@example.com"},
        )
    ]
    assert statements(row.save)[0].startswith("UPDATE")
    assert len(told()) == 2


def test_update_fields_are_where_they_write_all_that_is_watched(connection: Connection) -> None:
    row = Twin.objects.create(connection_id="acme", title="Apple")
    row.title = row.email = "pear@example.com"
    assert len(statements(lambda: row.save(update_fields=["title", "amount", "email"]))) == 1
    row.title = "Plum"
    assert len(statements(lambda: row.save(update_fields=["title"]))) > 1
    assert [payload["name"] for *_, payload in told()] == ["Apple", "pear@example.com", "Plum"]


def test_a_row_of_a_customer_without_a_crm_is_saved_alone(definitions: None) -> None:
    row = Twin(connection_id="nobody", title="Apple")
    row.save()
    assert Twin.objects.get(pk=row.pk).title == "Apple"
    assert not told()


def test_a_row_that_another_process_deleted_is_made_again(connection: Connection) -> None:
    row = Twin.objects.create(connection_id="acme", title="Apple")
    Twin.objects.filter(pk=row.pk)._raw_delete(using="default")
    row.title = "Pear"
    row.save()
    assert [slug for slug, *_ in told()] == ["deal_created", "deal_created"]
    assert told()[-1][1] == str(row.pk)
    Twin.objects.filter(pk=row.pk)._raw_delete(using="default")
    row.title = "Plum"
    with pytest.raises(DatabaseError), transaction.atomic():
        row.save(force_update=True)
    assert len(told()) == 2


def test_what_the_database_refuses_leaves_neither(connection: Connection) -> None:
    first = Twin.objects.create(connection_id="acme", title="Apple")
    with pytest.raises(IntegrityError), transaction.atomic():
        Twin(pk=first.pk, connection_id="acme", title="Pear").save(force_insert=True)
    assert [payload["name"] for *_, payload in told()] == ["Apple"]


def test_a_rollback_takes_both(connection: Connection) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Twin(connection_id="acme", title="Apple").save()
        raise ZeroDivisionError
    assert not told()
    assert not Twin.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_needed(connection: Connection) -> None:
    Twin(connection_id="acme", title="warm").save()
    one = Twin(connection_id="acme", title="Apple")
    assert len(statements(one.save)) == 1
    assert told()[-1][2]["name"] == "Apple"


@pytest.mark.parametrize("name", ["pk", "id"])
def test_what_asks_for_the_key_of_a_new_row_is_made_after_it(
    connection: Connection, name: str
) -> None:
    with bound(payload={"name": "title", "amount": name}):
        row = Twin.objects.create(connection_id="acme", title="Apple")
        assert told() == [("deal_created", str(row.pk), {"name": "Apple", "amount": row.pk})]


def test_so_is_what_makes_do_without_it(connection: Connection) -> None:
    with bound(get_connections=lambda self, row: ["acme"] if row.id else []):
        row = Twin.objects.create(connection_id="acme", title="Apple")
        assert [(slug, pk) for slug, pk, _ in told()] == [("deal_created", str(row.pk))]


def test_what_asks_the_database_sees_the_row(connection: Connection) -> None:
    def connections(self: Any, row: Twin) -> list[str]:
        return ["acme"] if Twin.objects.filter(title=row.title).exists() else []

    with bound(get_connections=connections):
        row = Twin(connection_id="acme", title="Apple")
        row.save()
        row.title = "Pear"
        row.save()
        assert [payload["name"] for *_, payload in told()] == ["Apple", "Pear"]


def test_what_asks_each_time_is_not_tried_for_ever(connection: Connection) -> None:
    asked = []

    def connections(self: Any, row: Twin) -> list[str]:
        asked.append(row.title)
        return [Connection.objects.get(pk="acme").pk]

    with bound(get_connections=connections):
        for _ in range(one_statement.TRIES):
            Twin.objects.create(connection_id="acme", title="Apple")
        asked.clear()
        Twin.objects.create(connection_id="acme", title="Pear")
        assert asked == ["Pear"]
        assert len(told()) == one_statement.TRIES + 1


def test_nor_is_what_others_write_otherwise(connection: Connection) -> None:
    def before(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(f"/* by us */ {sql}", *args)

    with bound(), database.execute_wrapper(before):
        for title in "abcdefg":
            seen: list[str] = []
            Twin.objects.create(connection_id="acme", title=title)
        assert [sql.split(" (")[0] for sql in seen] == [
            'INSERT INTO "products_twin"',
            'INSERT INTO "xkit_crm_invocation"',
        ]


def test_several_connections_get_theirs_in_a_transaction(
    connection: Connection, sandbox: Connection
) -> None:
    with bound(get_connections=lambda self, row: ["acme", sandbox.pk]):
        Twin.objects.create(connection_id="acme", title="Apple")
        names = set(Invocation.objects.values_list("connection_id", flat=True))
        assert names == {"acme", sandbox.pk}


def test_an_expression_is_read_back(connection: Connection) -> None:
    row = Twin.objects.create(connection_id="acme", title="Apple", amount=1)
    row.amount = F("amount") + 1
    row.save()
    assert told()[-1][2]["amount"] == 2


def test_what_others_put_around_statements_does_no_harm(connection: Connection) -> None:
    catalogue.objects()

    def commented(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(f"{sql} -- by us", params, many, context)

    def before(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(f"/* by us */ {sql}", params, many, context)

    for wrapper in (commented, before):
        with database.execute_wrapper(wrapper):
            row = Twin.objects.create(connection_id="acme", title="Apple")
            row.title = "Pear"
            row.save()
    assert [payload["name"] for *_, payload in told()] == ["Apple", "Pear", "Apple", "Pear"]
    assert Twin.objects.count() == 2


def test_a_payload_that_is_not_valid_writes_nothing(connection: Connection) -> None:
    with bound(payload={"name": "title", "amount": "note"}):
        with pytest.raises(PayloadInvalid), transaction.atomic():
            Twin(connection_id="acme", title="Apple", note="no number").save()
        assert not Twin.objects.exists()


def test_a_row_that_was_not_saved_has_no_key(definitions: None) -> None:
    assert Twin(title="Apple").pk is None
    assert Twin(title="Apple").id is None
    row = Twin.objects.create(title="Apple", connection_id="nobody")
    assert Twin.objects.only("title").get(pk=row.pk).id == row.pk


def test_a_number_that_is_too_large_is_refused_as_ever(deal: Deal) -> None:
    def save(views: int) -> None:
        deal.views = views
        with transaction.atomic():
            deal.save()

    for number in range(4 * cursors.THRESHOLD):
        save(number)
    for number in (2**31, 2**32 + 7, 2**70, -(2**31) - 1):
        with pytest.raises(DataError):
            save(number)
    assert Deal.objects.get(pk=deal.pk).views == 4 * cursors.THRESHOLD - 1
    save(-(2**31))
    assert Deal.objects.get(pk=deal.pk).views == -(2**31)


def test_what_is_remembered_while_there_is_no_key_is_forgotten(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cached_property(lambda row: f"/deals/{row.pk}")
    address.__set_name__(Twin, "address")
    monkeypatch.setattr(Twin, "address", address, raising=False)
    with bound(payload={"name": "address"}):
        row = Twin.objects.create(connection_id="acme", title="Apple")
        assert told()[-1][2]["name"] == f"/deals/{row.pk}"
        assert one_statement._KEYLESS not in row.__dict__


def test_what_asks_the_database_asks_it_once(deal: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.products.crm import DealSync

    count = cached_property(lambda customer: customer.deals.count())
    count.__set_name__(Customer, "count")
    monkeypatch.setattr(Customer, "count", count, raising=False)
    xkit_crm.unregister(Deal)
    payload = {"name": "title", "views": "customer__count"}
    xkit_crm.register(Deal)(type("OtherSync", (DealSync,), {"payload": payload}))
    try:
        for expected in (2, 3):
            customer = Customer.objects.get(pk=deal.customer_id)
            Deal.synced.create(customer=customer, title="Apple")
            assert told()[-1][2]["views"] == expected
    finally:
        xkit_crm.unregister(Deal)
        xkit_crm.register(Deal)(DealSync)


def test_what_a_payload_writes_is_written_once(connection: Connection) -> None:
    def connections(self: Any, row: Twin) -> list[str]:
        Customer.objects.update_or_create(name=row.title)
        Customer(name=row.title).save()
        return ["acme"]

    with bound(get_connections=connections):
        Twin.objects.create(connection_id="acme", title="Apple")
    assert len(told()) == Twin.objects.count() == 1
    assert Customer.objects.count() == 2


def test_what_the_database_refuses_a_payload_is_told_as_ever(connection: Connection) -> None:
    def connections(self: Any, row: Twin) -> list[str]:
        with database.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        return ["acme"]

    with bound(get_connections=connections), pytest.raises(DataError), transaction.atomic():
        Twin.objects.create(connection_id="acme", title="Apple")
    assert not Twin.objects.exists()


def test_what_a_product_runs_after_its_save_does_no_harm(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inserting(self: Twin, *args: Any) -> Any:
        found = models.Model._do_insert(self, *args)  # type: ignore[attr-defined]
        assert Customer.objects.count() == 0
        return found

    monkeypatch.setattr(Twin, "_do_insert", inserting)
    for title in ("Apple", "Pear"):
        Twin(connection_id="acme", title=title).save()
    assert len(told()) == Twin.objects.count() == 2


def test_what_else_a_row_holds_is_left_alone(connection: Connection) -> None:
    row = Twin(connection_id="acme", title="Apple")
    row.saved_by = SimpleLazyObject(lambda: 1 // 0)  # type: ignore[attr-defined]
    row.save()
    assert len(told()) == 1


@pytest.mark.django_db(transaction=True)
def test_who_logs_statements_reads_what_was_not_run(connection: Connection) -> None:
    with bound(payload={"name": "title", "amount": "pk"}):
        logged = statements(lambda: Twin.objects.create(connection_id="acme", title="Apple"))
        assert logged[0].startswith("/* not run */ INSERT INTO")
        assert not [statement for statement in logged[1:] if "not run" in statement]


def test_a_copy_of_a_row_without_a_key_has_none_either(connection: Connection) -> None:
    with bound(payload={}, get_name=lambda self, row: str(copy.deepcopy(row).pk)):
        row = Twin.objects.create(connection_id="acme", title="Apple")
        assert told()[-1][2]["name"] == str(row.pk)


@pytest.mark.django_db(transaction=True)
def test_a_lost_session_is_looked_after_before_the_first_save(connection: Connection) -> None:
    one_statement._has_rules.cache_clear()
    process = Connection.objects.count() and database.connection.info.backend_pid
    end = f"SELECT pg_terminate_backend({process}, 5000)"
    elsewhere(lambda: database.cursor().execute(end))
    database.health_check_enabled, database.health_check_done = True, False
    database.settings_dict["CONN_HEALTH_CHECKS"] = True
    try:
        Twin(connection_id="acme", title="Apple").save()
    finally:
        database.settings_dict["CONN_HEALTH_CHECKS"] = database.health_check_enabled = False
    assert len(told()) == 1


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
def test_who_makes_another_error_of_any_does_no_harm(connection: Connection, again: bool) -> None:
    def translating(execute: Any, *args: Any) -> Any:
        try:
            return execute(*args)
        except Exception as error:
            if again:
                return execute(*args)
            raise RuntimeError("The database is in trouble.") from error

    with bound(payload={"name": "title", "amount": "pk"}), database.execute_wrapper(translating):
        row = Twin.objects.create(connection_id="acme", title="Apple")
        row.title = "Pear"
        row.save()
    assert [payload["name"] for *_, payload in told()] == ["Apple", "Pear"]
    assert Twin.objects.count() == 1
