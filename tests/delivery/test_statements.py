"""Looking for work costs what there is to find, not what waits."""

from __future__ import annotations

import pytest
from django.db import connection as database

from tests.factories import ConnectionFactory
from xkit_crm.delivery import lanes, waiting
from xkit_crm.models import Connection, EventDefinition, Invocation

LANES, EACH = 10, 300


@pytest.fixture
def backlog(connection: Connection) -> None:
    """Several lanes in which much waits."""
    event = EventDefinition.objects.get(slug="deal_created")
    names = [ConnectionFactory.create(id=f"lane-{number}").pk for number in range(LANES)]
    rows = [
        Invocation(connection_id=name, event=event, record_key=f"{name}/{number}")
        for name in names
        for number in range(EACH)
    ]
    Invocation.objects.bulk_create(rows)
    with database.cursor() as cursor:
        cursor.execute("ANALYZE TABLE xkit_crm_invocation")


def rows_read() -> int:
    """How many rows, of tables or indexes, this connection has read so far."""
    with database.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(count) for _, count in cursor.fetchall())


# ANALYZE ends a transaction there.
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(database.vendor != "mysql", reason="only MariaDB tells what it read")
@pytest.mark.usefixtures("backlog")
def test_lanes_with_work_are_found_without_reading_what_waits_in_them() -> None:
    for look in (lanes.with_work, waiting.overdue_since):
        before = rows_read()
        assert len(look()) == LANES
        assert rows_read() - before < 50 * LANES
