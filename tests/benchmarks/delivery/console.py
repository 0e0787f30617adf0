"""How long an operator waits for a page of the log, and what the log's indexes cost delivery."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from tests.benchmarks.delivery.draining import Size
from tests.benchmarks.delivery.scene import Scene, lanes
from tests.benchmarks.delivery.table import Table, say

ROUNDS = 15
LIST = "/admin/xkit_crm/invocation/"
#: Of each, how many of ten thousand: what needs a person is rare, and all over the log.
MIX = """
    CASE WHEN n %% 50 = 0 THEN 'failed' WHEN n %% 10000 = 1 THEN 'unknown'
         WHEN n %% 25 = 3 THEN 'superseded' WHEN n > %(count)s - 1000 THEN 'pending'
         ELSE 'succeeded' END
"""
#: What an operator asks for: the page, and how its address goes on.
ASKED = {
    "the newest": "",
    "an older page": "?before={middle}",
    "a newer page": "?after={middle}",
    "failed": "?status=failed",
    "failed or unknown": "?status=trouble",
    "pending": "?status=pending",
    "succeeded": "?status=succeeded",
    "skipped (there is none)": "?status=skipped",
    "one connection": "?connection=org-7",
    "one connection, failed": "?connection=org-0&status=failed",
    "one event": "?event=opportunity.deal_created",
    "one event that is rare": "?event=opportunity.find_deals",
    "one event that never was": "?event=contact.contact_deleted",
    "one kind of error": "?error=crm_unavailable",
    "source": "?source=python",
    "last hour": "?when=hour",
    "a day a week ago, failed": "?since={since}&until={until}&status=failed",
    "record id": "?q=Opportunity:777",
    "beginning of a record id": "?q=Opportunity:7777",
    "row": "?q=4711",
    "request id": "?q=req-4710",
    "words of an error": "?q=too+large",
    "words that no error has": "?q=nothing+of+this+kind",
}


def console(scene: Scene, size: Size) -> Table:
    """The pages of the log, opened by the test client: all of Django, and no network."""
    count = size.history
    table = Table(
        f"The console with {count:,} invocations",
        ["page", "ms", "ms at most", "queries"],
        notes=[
            f"{ROUNDS} times each, the median: all of Django and of its queries, no network.",
            "What no index answers is looked for among so many rows, and the page says how far.",
        ],
    )
    lanes(scene, size.many_lanes)
    _fill(count, lanes=size.many_lanes)
    client, addresses = _client(), _addresses()
    for what, address in addresses.items():
        say(f"measuring: {what}")
        _open(client, address)
        took, queries = [], 0
        for _ in range(ROUNDS):
            milliseconds, queries = _open(client, address)
            took.append(milliseconds)
        table.add(what, statistics.median(took), max(took), queries)
    _replay_all(client, table)
    return table


def _replay_all(client: Any, table: Table) -> None:
    """Once, since then nothing is left to be replayed."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    from xkit_crm.models import Invocation

    failed = Invocation.objects.filter(status="failed").count()
    every = reverse("admin:xkit_crm_invocation_repair_all", args=["replay"])
    began = time.perf_counter()
    with CaptureQueriesContext(connection) as queries:
        client.post(f"{every}?status=failed")
    took = (time.perf_counter() - began) * 1000
    assert not Invocation.objects.filter(status="failed").exists()
    table.add(f"replay all {failed:,} failed: done", took, took, len(queries))


def _client() -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    operator, _ = User.objects.get_or_create(
        username="operator", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client()
    client.force_login(operator)
    return client


def _open(client: Any, address: str) -> tuple[float, int]:
    """Milliseconds and queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    began = time.perf_counter()
    answer = client.get(address)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, address
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    return took, len(queries)


def _addresses() -> dict[str, str]:
    from datetime import timedelta

    from django.urls import reverse
    from django.utils import timezone

    from xkit_crm.models import Invocation

    newest = Invocation.objects.latest("pk")
    week_ago = timezone.now() - timedelta(days=7)
    named = {
        "middle": newest.pk // 2,
        "since": f"{week_ago:%Y-%m-%dT%H:%M}",
        "until": f"{week_ago + timedelta(days=1):%Y-%m-%dT%H:%M}",
    }
    asked = {what: LIST + query.format(**named) for what, query in ASKED.items()}
    failed = Invocation.objects.filter(status="failed").latest("pk")
    pending = Invocation.objects.filter(status="pending").latest("pk")
    every = reverse("admin:xkit_crm_invocation_repair_all", args=["replay"])
    return {
        **asked,
        "failures by cause": reverse("admin:xkit_crm_failures"),
        "the page of a failed one": reverse("admin:xkit_crm_invocation_change", args=[failed.pk]),
        "the page of one that waits": reverse(
            "admin:xkit_crm_invocation_change", args=[pending.pk]
        ),
        "replay all failed: the question": f"{every}?status=failed",
        "attempts": "/admin/xkit_crm/attempt/",
        "attempts that failed": "/admin/xkit_crm/attempt/?outcome=failed",
        "attempts of a record": "/admin/xkit_crm/attempt/?q=Opportunity:4711",
    }


def _fill(count: int, *, lanes: int) -> None:
    """A log of twelve days, with an attempt for what was tried; the planner is told of it."""
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection

    from tests.products.models import Twin
    from xkit_crm.models import EventDefinition

    events = dict(EventDefinition.objects.values_list("slug", "pk"))
    values = {
        "count": count,
        "lanes": lanes,
        "rare": events["find_deals"],
        "created": events["deal_created"],
        "updated": events["deal_updated"],
        "content_type": ContentType.objects.get_for_model(Twin).pk,
    }
    say(f"making {count:,} invocations")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO xkit_crm_invocation (uuid, connection_id, event_id, payload, status, source,
                record_key, record_id, content_type_id, object_pk, due_at, created_at, finished_at,
                tries, error_code, error_detail, request_id)
            SELECT gen_random_uuid(), 'org-' || (n %% %(lanes)s),
                CASE WHEN n %% (%(count)s / 10) = 7 THEN %(rare)s
                     WHEN n %% 3 = 0 THEN %(created)s ELSE %(updated)s END,
                jsonb_build_object('name', 'Deal ' || n, 'amount', n,
                                   'owner_email', 'ada@example.com'),
                s, CASE WHEN n %% 10 = 0 THEN 'api' ELSE 'model' END,
                'products.twin:' || row || ':opportunity',
                CASE WHEN s = 'succeeded' THEN 'Opportunity:' || row ELSE '' END,
                %(content_type)s, row, now(),
                now() - (%(count)s - n) * interval '12 days' / %(count)s,
                CASE WHEN s = 'pending' THEN NULL ELSE now() END, 1,
                CASE WHEN s NOT IN ('failed', 'unknown') THEN ''
                     WHEN n %% 7 = 0 THEN 'crm_unavailable' ELSE 'rejected_by_crm' END,
                CASE WHEN s IN ('failed', 'unknown') THEN jsonb_build_object(
                    'code', 'rejected_by_crm', 'message', 'The CRM refused the Opportunity.',
                    'hint', 'Correct the values.', 'errors', jsonb_build_array(jsonb_build_object(
                        'path', 'amount', 'error', 'Amount: value too large: ' || n))) END,
                CASE WHEN n %% 10 = 0 THEN 'req-' || n ELSE '' END
            FROM (SELECT n, (n %% 300000)::text AS row, {MIX} AS s
                  FROM generate_series(1, %(count)s::bigint) AS n) AS made
            ORDER BY n
            """,  # noqa: S608 - our own words only
            values,
        )
        cursor.execute(
            """
            INSERT INTO xkit_crm_attempt (invocation_id, number, operation, target, outcome,
                started_at, duration, sent, received)
            SELECT id, 1, 'update', 'Opportunity:' || object_pk,
                CASE status WHEN 'failed' THEN 'failed' ELSE 'succeeded' END, created_at,
                interval '12 milliseconds', '{}', '{}'
            FROM xkit_crm_invocation WHERE status IN ('succeeded', 'failed') ORDER BY id
            """
        )
        cursor.execute("VACUUM ANALYZE xkit_crm_invocation")
        cursor.execute("VACUUM ANALYZE xkit_crm_attempt")


# -- what the indexes cost ------------------------------------------------------------------------

#: The indexes that only the log is read by.
READING = ("(status, id)", "(error_code, id)", "(record_id ", "(request_id)")


def indexes(scene: Scene, size: Size) -> Table:
    """The life of a captured row, in a table as it is and in one without the log's indexes."""
    from django.db import connection

    from xkit_crm.models import Invocation

    table = Table(
        "What the log's indexes cost",
        ["statement of one row", "without, us", "with, us", "ratio"],
        notes=[
            "The same row in two tables, in shuffled order; each statement by itself; the median.",
            "No commit waits for the disk (`synchronous_commit` off), which would hide the rest.",
        ],
    )
    lanes(scene, 1)
    _fill(min(size.history, 200_000), lanes=1)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        for name in ("bare", "whole"):
            cursor.execute(f"CREATE TABLE {name} (LIKE xkit_crm_invocation INCLUDING ALL)")
            cursor.execute(f"INSERT INTO {name} SELECT * FROM xkit_crm_invocation")  # noqa: S608
        cursor.execute(
            "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) "
            "FROM pg_index WHERE indrelid = 'bare'::regclass"
        )
        for index, definition in cursor.fetchall():
            if any(columns in definition for columns in READING):
                cursor.execute(f"DROP INDEX {index}")
        for name in ("bare", "whole"):
            cursor.execute(f"VACUUM ANALYZE {name}")
        took = _lives(cursor, rounds=2 * size.rounds, first=Invocation.objects.latest("pk").pk + 1)
        for what, (bare, whole) in took.items():
            without, with_them = statistics.median(bare), statistics.median(whole)
            table.add(what, without, with_them, with_them / without)
        cursor.execute("DROP TABLE bare, whole")
    return table


def _lives(cursor: Any, *, rounds: int, first: int) -> dict[str, tuple[list[float], list[float]]]:
    """Microseconds of each statement in both tables."""
    statements = {
        "captured": "INSERT INTO {table} (id, uuid, connection_id, event_id, payload, record_key, "
        "object_pk, content_type_id, due_at, created_at) VALUES (%(id)s, gen_random_uuid(), "
        "'org-0', 1, '{{\"name\": \"Sales\"}}', 'k' || %(id)s, %(id)s::text, 1, now(), now())",
        "begun": "UPDATE {table} SET status = 'running', tries = 1 WHERE id = %(id)s",
        "delivered": "UPDATE {table} SET status = 'succeeded', finished_at = now(), "
        "record_id = 'Opportunity:' || %(id)s WHERE id = %(id)s",
    }
    took: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in statements}
    for number in range(rounds):
        for what, statement in statements.items():
            tables = ["bare", "whole"]
            random.shuffle(tables)
            for name in tables:
                began = time.perf_counter()
                cursor.execute(statement.format(table=name), {"id": first + number})
                spent = (time.perf_counter() - began) * 1_000_000
                took[what][name == "whole"].append(spent)
    return took
