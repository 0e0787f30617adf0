"""What is captured takes its place in the outbox, and keeps nobody else from doing so."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.db import transaction

from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import Customer
from tests.threads import begun, elsewhere
from xkit_crm.models import Connection, Invocation


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
