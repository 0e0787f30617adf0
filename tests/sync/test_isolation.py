"""A transaction that shows rows as they were when it began tells of them as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection as database
from django.db import transaction

from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import Deal
from tests.sync.test_capture import fired
from tests.threads import elsewhere
from xkit_crm.models import Connection, Invocation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    """MariaDB's own isolation, which Django doesn't choose by itself."""
    if database.vendor == "sqlite":
        pytest.skip("SQLite lets no other write while a transaction is open")
    if database.vendor == "mysql":
        with database.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    yield
    database.close()


def rename(deal: Deal) -> None:
    theirs = Deal.objects.get(pk=deal.pk)
    theirs.title, theirs.views = "Theirs", 7
    theirs.save()


def last_told() -> tuple[str, int]:
    _, payload = fired()[-1]
    return payload["name"], payload["views"]


@pytest.mark.parametrize("title", ["Theirs", "Ours"])
def test_what_update_fields_leaves_out_is_told_as_it_is(deal: Deal, title: str) -> None:
    with transaction.atomic():
        mine = Deal.objects.get(pk=deal.pk)
        elsewhere(lambda: rename(deal))
        mine.title = title
        mine.save(update_fields=["title"])
    assert last_told() == (title, 7)


@pytest.mark.parametrize("title", ["Theirs", "Ours"])
def test_update_tells_rows_as_they_are(deal: Deal, title: str) -> None:
    with transaction.atomic():
        Deal.objects.get(pk=deal.pk)
        elsewhere(lambda: rename(deal))
        Deal.synced.update(title=title)
    assert last_told() == (title, 7)


@pytest.mark.parametrize("title", ["Theirs", "Ours"])
def test_bulk_update_tells_rows_as_they_are(deal: Deal, title: str) -> None:
    with transaction.atomic():
        mine = Deal.objects.get(pk=deal.pk)
        elsewhere(lambda: rename(deal))
        mine.title = title
        Deal.synced.bulk_update([mine], ["title"])
    assert last_told() == (title, 7)


@pytest.mark.parametrize("count", [1, 2])
def test_rows_of_a_customer_who_has_just_connected_are_told(deal: Deal, count: int) -> None:
    with transaction.atomic():
        Connection.objects.get()
        customer = CustomerFactory.create(connection_id="late")
        elsewhere(lambda: ConnectionFactory.create(id="late"))
        Deal.synced.bulk_create([DealFactory.build(customer=customer) for _ in range(count)])
    assert Invocation.objects.filter(connection_id="late").count() == count
