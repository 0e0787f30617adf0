"""What stories of reconciling begin with: rows that the CRM has, and who changes them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection as database

from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org


def sql(statement: str, *values: Any) -> None:
    """What another service does to the table."""
    with database.cursor() as cursor:
        cursor.execute(statement, values)


def edit(link: RecordLink, **values: Any) -> None:
    """The customer changes the record in their CRM."""
    org = Org.objects.get(slug=link.connection_id)
    records.update_record(org, RecordRef.parse(link.record_id), values)


def until_somebody_waits() -> None:
    """Return as soon as another transaction waits for a lock."""
    deadline = time.monotonic() + 20
    with database.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> list[Deal]:
    """Two deals that the CRM has, updated once, so that every key was delivered."""
    deals = [DealFactory.create(customer=customer, title=title) for title in ("First", "Second")]
    drain("acme")
    for deal in deals:
        deal.views += 1
        deal.save()
    drain("acme")
    Invocation.objects.all().delete()
    return deals
