"""The guide to partitioning, done as printed: the engine works on partitioned tables."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import act, create, names, states
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm.delivery.claiming import claim
from xkit_crm.delivery.decisions import Decisions
from xkit_crm.delivery.retention import Keep, prune
from xkit_crm.models import Attempt, Connection, Invocation
from xkit_crm.models.base import new_uuid
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

GUIDE = Path(__file__).parent.parent.parent / "docs" / "large-tables.md"
BOUND = 20_000_000
NOW = timezone.now()


def run(sql: str) -> None:
    # In a test's transaction, which is rolled back as all that it did.
    sql = re.sub(r"^(BEGIN|COMMIT);$|\bCONCURRENTLY\b", "", sql, flags=re.MULTILINE)
    with database.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(sql.replace("%", "%%"), ())


@pytest.fixture
def guide(sandbox: Connection) -> list[str]:
    """The guide's SQL, block by block, once something has been made and delivered."""
    create("Before")
    return re.findall(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def partitioned(guide: list[str]) -> str:
    """Partitioned tables; gives the SQL of the upkeep."""
    settings, prepare, switch, upkeep = guide
    for sql in (settings, prepare, switch):
        run(sql)
    return upkeep


def move_on(first: int = BOUND) -> None:
    """From here on ids are those of a later partition."""
    with database.cursor() as cursor:
        cursor.execute("SELECT setval('xkit_crm_invocation_id_seq', %s)", [first])


def tables(model: type[Invocation] | type[Attempt]) -> list[str]:
    """The partition of every row."""
    with database.cursor() as cursor:
        table = model._meta.db_table
        cursor.execute(f"SELECT tableoid::regclass::text FROM {table} ORDER BY id")  # noqa: S608
        return [name.removeprefix(f"{table}_") for (name,) in cursor.fetchall()]


def test_the_engine_works_as_before(partitioned: str, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, title="Second")
    deliver()
    move_on()
    deal.title = "Third"
    deal.save()
    create("Fourth", idempotency_key="k")
    assert create("Fourth", idempotency_key="k") == Invocation.objects.latest("id")
    deliver()
    assert states() == ["succeeded"] * 4
    assert names() == ["Before", "Third", "Fourth"]
    assert tables(Invocation) == tables(Attempt) == ["0", "0", str(BOUND), str(BOUND)]
    assert xkit_crm.erase(deal).invocations == 2
    assert prune(keep=Keep(timedelta(days=-1))) == 3
    assert not Attempt.objects.exclude(invocation__idempotency_key="k").exists()


def test_indexes_and_constraints_have_the_names_that_migrations_know(
    guide: list[str],
) -> None:
    def there() -> set[str]:
        with database.cursor() as cursor:
            tables = (Invocation._meta.db_table, Attempt._meta.db_table)
            return {
                name
                for table in tables
                for name in database.introspection.get_constraints(cursor, table)
            }

    before = there()
    for sql in guide[1:3]:
        run(sql)
    gone = {name for name in before - there() if "_fk_" not in name}
    assert gone == {"xkit_crm_invocation_uuid_key", "xkit_invocation_idempotency_unique"}


def test_keys_stay_unique_within_a_partition(partitioned: str) -> None:
    move_on()
    first = create("Sales", idempotency_key="k")
    fields = ("event", "connection", "payload", "record_key")
    copy = {name: getattr(first, name) for name in fields}
    for same in ({"uuid": first.uuid}, {"idempotency_key": first.idempotency_key}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Invocation.objects.create(**copy, **({"uuid": new_uuid()} | same))


def test_a_partition_leaves_and_what_is_not_done_stays(partitioned: str) -> None:
    done = Invocation.objects.get()
    waiting, failed, joined = create("Waiting"), create("Failed"), create("Joined")
    move_on()
    pointing = create("Pointing")
    for row, values in (
        (waiting, {"status": "pending"}),
        (failed, {"status": "failed"}),
        (joined, {"status": "superseded", "superseded_by": waiting}),
        (pointing, {"superseded_by": done}),
    ):
        Invocation.objects.filter(pk=row.pk).update(**values)
    run(partitioned)
    assert list(Invocation.objects.order_by("id")) == [waiting, failed, joined, pointing]
    assert tables(Invocation) == tables(Attempt) == ["rest"] * 3 + [str(BOUND)]
    pointing.refresh_from_db()
    joined.refresh_from_db()
    assert (pointing.superseded_by, joined.superseded_by) == (None, waiting)


def test_what_was_replaced_by_one_that_still_waits_in_a_later_partition_stays(
    partitioned: str, customer: Customer
) -> None:
    """Should the customer do nothing on a delete after all, what it replaced is sent."""
    deal = DealFactory.create(customer=customer, title="Second")
    deliver()
    for title in ("Third", "Fourth"):
        deal.title = title
        deal.save()
    claim("acme", Decisions("acme"), size=10)
    move_on()
    deal.delete()
    claim("acme", Decisions("acme"), size=10)
    assert states() == ["succeeded"] * 2 + ["superseded"] * 2 + ["pending"]
    run(partitioned)
    assert states() == ["superseded"] * 2 + ["pending"]
    act("deal_deleted", action="noop", transformations=[])
    deliver()
    assert names() == ["Before", "Fourth"]


def test_work_is_found_by_the_same_index(partitioned: str) -> None:
    waiting = Invocation.objects.filter(connection_id="acme", status="pending", due_at__lte=NOW)
    with database.cursor() as cursor:
        # A planner takes no index for a handful of rows, and sorts nothing that it needn't.
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
            "SET LOCAL enable_sort = off"
        )
    plan = waiting.order_by("priority", "due_at", "id")[:100].explain()
    assert "Merge Append" in plan
    assert "Sort Method" not in plan
    assert "Seq Scan" not in plan
