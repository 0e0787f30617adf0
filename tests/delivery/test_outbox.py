"""What is captured takes its place in the outbox, and keeps nobody else from doing so."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils.timezone import now

from tests.delivery.conftest import create, put
from tests.factories import (
    ConnectionFactory,
    CustomerFactory,
    DealFactory,
    InvocationFactory,
)
from tests.products.models import Customer, Deal
from tests.threads import begun, elsewhere
from xkit_crm import mappings
from xkit_crm.connections import disconnect
from xkit_crm.delivery import shadow
from xkit_crm.delivery.drain import take_turn
from xkit_crm.delivery.replay import skip
from xkit_crm.mappings import versions
from xkit_crm.models import Connection, EventDefinition, Invocation
from xkit_crm.models.invocation import NEVER
from xkit_crm.providers.renewing import renew


@pytest.mark.django_db(transaction=True)
def test_who_has_one_connection_locked_holds_up_no_other_customers_saves(
    customer: Customer,
) -> None:
    """As who fetches a new token does, which its vendor may be long in giving."""
    if database.vendor == "sqlite":
        pytest.skip("SQLite lets no other write while one writes")
    other = CustomerFactory.create(connection_id=ConnectionFactory.create(id="other").pk)
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk="acme")
        theirs = begun(lambda: DealFactory.create(customer=customer))
        theirs.join(0.5)
        assert theirs.is_alive(), "it should wait for the connection"
        elsewhere(lambda: DealFactory.create(customer=other))
    theirs.join(20)
    assert set(Invocation.objects.values_list("connection_id", flat=True)) == {"acme", "other"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "step",
    [
        lambda: versions.release("acme"),
        lambda: shadow.go_live(Connection.objects.get(pk="acme")),
        lambda: shadow.go_live(Connection.objects.get(pk="acme"), discard=True),
        lambda: skip(Invocation.objects.filter(connection="acme", status="pending")),
        lambda: take_turn("acme"),
    ],
    ids=["decide", "go live", "discard", "skip", "rehearse"],
)
def test_what_is_done_with_what_waits_of_a_customer_waits_for_no_other_customers_save(
    sandbox: Connection, step: Callable[[], Any]
) -> None:
    """That one may go on with a row of this customer's, and would be ended by the database."""
    if database.vendor == "sqlite":
        pytest.skip("SQLite lets no other write while one writes")
    other = CustomerFactory.create(connection_id=ConnectionFactory.create(id="other").pk)
    shadow.start(sandbox)
    # A log in which hardly anything waits: so the database takes the status to be enough.
    event = EventDefinition.objects.get(slug="deal_created")
    done = {"connection": sandbox, "event": event, "status": "succeeded"}
    Invocation.objects.bulk_create([InvocationFactory.build(**done) for _ in range(300)])
    put(*map(str, range(5)))
    ids = list(Invocation.objects.filter(status="pending").values_list("pk", flat=True))
    if database.vendor == "mysql":
        with database.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {Invocation._meta.db_table}")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with transaction.atomic():
        DealFactory.create(customer=other)
        # Somebody may still see when they were due before, so that the index by which they are due
        # has all of that in it.
        waiting = Invocation.objects.filter(pk__in=ids)
        for _ in range(3):
            elsewhere(lambda: waiting.update(due_at=NEVER))
            elsewhere(lambda: waiting.update(due_at=now()))
        elsewhere(step)
    database.close()


@pytest.mark.django_db(transaction=True)
def test_nobody_who_saves_waits_for_who_changes_what_is_defined(customer: Customer) -> None:
    """The two would wait for each other where several events are changed, and several made."""
    if not database.features.has_select_for_no_key_update:
        pytest.skip("only PostgreSQL tells who refers to a row from who changes it")
    with transaction.atomic():
        for event in EventDefinition.objects.all():
            event.label = "Another"
            event.save(update_fields=["label", "updated_at"])
        elsewhere(lambda: DealFactory.create(customer=customer))
    assert Invocation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("others", [0, 1])
def test_who_waits_for_a_connection_has_put_nothing_that_its_holder_may_wait_for(
    customer: Customer, others: int
) -> None:
    """Else the two would wait for each other where a customer decides anew, which lets go what
    waited for that; and it is the save that the database would end."""
    if database.vendor != "mysql":
        pytest.skip("only MariaDB shows what is not committed yet")
    connections = [ConnectionFactory.create(id=f"other-{number}") for number in range(others)]
    customers = [CustomerFactory.create(connection_id=other.pk) for other in connections]
    deals = [DealFactory.build(customer=one) for one in (*customers, customer)]
    require_nothing_put(lambda: Deal.synced.bulk_create(deals))
    assert Invocation.objects.count() == 1 + others


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", [None, "once"])
def test_nor_has_who_fires_an_event_by_hand(sandbox: Connection, key: str | None) -> None:
    if database.vendor != "mysql":
        pytest.skip("only MariaDB shows what is not committed yet")
    require_nothing_put(lambda: create(wait=False, idempotency_key=key))
    assert Invocation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "step",
    [
        lambda one: mappings.put_in_force(one, mappings.in_force(one)),
        mappings.record,
        shadow.start,
        shadow.go_live,
        lambda one: disconnect(one, "It was switched off."),
        lambda one: renew(one, one.credentials, lambda known: {"token": "new"}),
    ],
    ids=["decide", "record", "shadow", "go live", "disconnect", "renew"],
)
def test_who_changes_a_connection_begins_again_where_two_who_save_meet(
    sandbox: Connection, customer: Customer, step: Callable[[Connection], object]
) -> None:
    """One of the two waits for a row of the other's, and that one behind whoever waits for the
    connection: the database ends the one who has written least."""
    if database.vendor == "sqlite":
        pytest.skip("SQLite lets no other write while one writes")
    shared = DealFactory.create(customer=customer)
    has_it, goes_on, done = Event(), Event(), []

    def save() -> None:
        with transaction.atomic():
            Deal.objects.select_for_update().get(pk=shared.pk)
            has_it.set()
            goes_on.wait(20)
            DealFactory.create(customer=customer)

    with transaction.atomic():
        theirs = begun(save)
        has_it.wait(20)
        DealFactory.create(customer=customer)
        change = begun(lambda: done.append(step(sandbox)))
        change.join(0.3)
        goes_on.set()
        theirs.join(0.3)
        Deal.objects.select_for_update().get(pk=shared.pk)
    for thread in (theirs, change):
        thread.join(20)
    assert done
    assert Deal.objects.count() == 3


def require_nothing_put(put: Callable[[], object]) -> None:
    """What is put while the connection is locked waits, and nothing of it is there yet."""
    with database.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    with transaction.atomic():
        versions.lock(Connection.objects.get(pk="acme"))
        theirs = begun(put)
        theirs.join(0.5)
        assert theirs.is_alive(), "it should wait for the connection"
        assert not Invocation.objects.exists()
    theirs.join(20)
    database.close()  # and its isolation
