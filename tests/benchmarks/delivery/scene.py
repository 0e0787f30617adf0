"""What every part needs: a database made for the run, a CRM in a process of its own, lanes, and
as many waiting invocations as one statement can make."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import django
import psycopg

from tests.crm.control import CRMControl, running_crm

SETTINGS = "tests.benchmarks.delivery.settings"
_TABLES = "xkit_crm_attempt, xkit_crm_recordlink, xkit_crm_invocation, xkit_crm_lane"


@dataclass(frozen=True, slots=True)
class Scene:
    """The database is the one of this process's environment, which its children share."""

    crm: CRMControl


@contextmanager
def scene() -> Iterator[Scene]:
    """A database on the server that the environment names, with its tables, and a CRM."""
    name = f"xkit_benchmark_{os.getpid()}"
    os.environ |= {
        "XKIT_DATABASE": "postgresql",
        "XKIT_DATABASE_NAME": name,
        "DJANGO_SETTINGS_MODULE": SETTINGS,
    }
    with _server() as server:
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        django.setup()
        from django.core.management import call_command
        from django.db import connection

        import xkit_crm
        from tests.objects import OBJECTS

        call_command("migrate", verbosity=0, run_syncdb=True)
        xkit_crm.define(OBJECTS)
        with running_crm() as crm:
            try:
                yield Scene(crm)
            finally:
                connection.close()
    finally:
        with _server() as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _server() -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=os.environ.get("PGHOST", "127.0.0.1"),
        port=int(os.environ.get("PGPORT", "5432")),
        user=os.environ.get("PGUSER", "postgres"),
        password=os.environ.get("PGPASSWORD", ""),
        dbname="postgres",
        autocommit=True,
    )


def lanes(scene: Scene, count: int, *, batch: int = 200) -> list[str]:
    """Begin anew with this many connected customers; gives their connections' ids."""
    import xkit_crm
    from xkit_crm.models import Connection, Lane

    empty(scene)
    provider = "loopback" if batch > 1 else "loopback-single"
    names = [f"org-{number}" for number in range(count)]
    there = dict(Connection.objects.filter(pk__in=names).values_list("pk", "provider"))
    for name in names:
        if there.get(name) != provider:
            xkit_crm.connect(name, provider=provider, credentials=scene.crm.credentials(name))
    # A customer's lane is made once, long before.
    Lane.objects.bulk_create([Lane(connection_id=name) for name in names])
    scene.crm.forget()
    return names


def empty(scene: Scene) -> None:
    """Nothing waits, nothing is in the log, no record in the CRM."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {_TABLES} RESTART IDENTITY CASCADE")
    scene.crm.forget()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Invocations to be made in one statement, each of a row of its own unless `rows` is given."""

    count: int
    lanes: int = 1
    event: str = "deal_created"
    #: How many rows they are about; None: one each.
    rows: int | None = None
    first: int = 1
    status: str = "pending"
    #: An interval, as PostgreSQL reads it, from now.
    due: str = "0 seconds"


def fill(waiting: Waiting) -> float:
    """Make the invocations as capture would have, and tell the planner of them; gives when they
    were committed."""
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection

    from tests.products.models import Twin
    from xkit_crm.models import EventDefinition

    event = EventDefinition.objects.get(slug=waiting.event)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO xkit_crm_invocation (uuid, connection_id, event_id, payload, status,
                record_key, content_type_id, object_pk, due_at, created_at, finished_at)
            SELECT gen_random_uuid(), 'org-' || (n %% %(lanes)s), %(event)s,
                jsonb_build_object('name', 'Deal ' || n, 'amount', n,
                                   'owner_email', 'ada@example.com'),
                %(status)s::varchar, 'products.twin:' || row || ':opportunity',
                %(content_type)s, row, now() + %(due)s::interval, now(),
                CASE WHEN %(status)s = 'pending' THEN NULL ELSE now() END
            FROM (SELECT n, (n %% %(rows)s)::text AS row
                  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS made
            ORDER BY n
            """,
            {
                "lanes": waiting.lanes,
                "event": event.pk,
                "status": waiting.status,
                "content_type": ContentType.objects.get_for_model(Twin).pk,
                "due": waiting.due,
                "rows": waiting.rows or 2**60,
                "first": waiting.first,
                "last": waiting.first + waiting.count - 1,
            },
        )
        committed = time.monotonic()
        cursor.execute("ANALYZE xkit_crm_invocation")
    return committed
