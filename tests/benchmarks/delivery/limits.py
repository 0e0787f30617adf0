"""What the machine could do at best: the same calls, and the same rows, with nothing around them.

`python -m tests.benchmarks.delivery.limits --crm URL ...` is a process of its own, as workers are,
and prints rows per second.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import uuid

import psycopg
import requests

from tests.benchmarks.delivery.processes import output


def calls(crm: str, *, batch: int, seconds: float) -> float:
    """Rows per second of a bare loop that sends the same HTTP calls; the better of one thread
    and four."""
    return max(_measured(crm, batch, seconds, threads) for threads in (1, 4))


def written(crm: str, *, count: int) -> float:
    """Rows per second of one bare loop that also reads them from the table and writes down what
    came of them, in the fewest statements. Needs `count` that wait in the lane org-0."""
    return float(output(_command(crm, 200, 0, 1, "--rows", str(count))))


def _measured(crm: str, batch: int, seconds: float, threads: int) -> float:
    return float(output(_command(crm, batch, seconds, threads)))


def _command(crm: str, batch: int, seconds: float, threads: int, *more: str) -> list[str]:
    return [
        *("-m", "tests.benchmarks.delivery.limits", "--crm", crm, "--batch", str(batch)),
        *("--seconds", str(seconds), "--threads", str(threads), *more),
    ]


def _send(session: requests.Session, crm: str, items: list[dict[str, object]]) -> list[str]:
    """One call as the provider makes it; gives the ids that the CRM gave."""
    url = f"{crm}/orgs/limit/objects/Opportunity"
    access = {"Authorization": "Bearer limit"}
    if len(items) == 1:
        response = session.post(url, json=items[0], headers=access, timeout=30)
        response.raise_for_status()
        return [response.json()["id"]]
    response = session.post(f"{url}/batch/create", json={"items": items}, headers=access)
    response.raise_for_status()
    return [result["id"] for result in response.json()["results"]]


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _items(numbers: range) -> list[dict[str, object]]:
    return [
        {
            "values": {"Name": f"Deal {n}", "Amount": n, "OwnerEmail": "ada@example.com"},
            "key": str(uuid.uuid4()),
        }
        for n in numbers
    ]


def _loop(crm: str, batch: int, seconds: float, threads: int) -> float:
    sent = [0] * threads
    until = time.monotonic() + seconds

    def serve(thread: int) -> None:
        session = _session()
        while time.monotonic() < until:
            _send(session, crm, _items(range(batch)))
            sent[thread] += batch

    began = time.monotonic()
    workers = [threading.Thread(target=serve, args=(thread,)) for thread in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return sum(sent) / (time.monotonic() - began)


_READ = """
    SELECT id, uuid, payload, content_type_id, object_pk FROM xkit_crm_invocation
    WHERE status = 'pending' AND connection_id = 'org-0' AND priority = 1 AND due_at <= now()
    ORDER BY due_at, id LIMIT 200
"""
_BEGIN = "UPDATE xkit_crm_invocation SET status = 'running', tries = tries + 1 WHERE id = ANY(%s)"
_SETTLE = """
    UPDATE xkit_crm_invocation SET status = 'succeeded', record_id = made.record_id,
        result = made.result, finished_at = now()
    FROM unnest(%s::bigint[], %s::text[], %s::jsonb[]) AS made (id, record_id, result)
    WHERE xkit_crm_invocation.id = made.id AND status = 'running'
"""
_ATTEMPTS = """
    INSERT INTO xkit_crm_attempt (invocation_id, number, operation, target, sent, received,
        outcome, started_at, duration)
    SELECT made.id, 1, 'create', 'Opportunity', made.sent, made.result, 'succeeded', now(),
        interval '1 ms'
    FROM unnest(%s::bigint[], %s::jsonb[], %s::jsonb[]) AS made (id, sent, result)
"""
_LINKS = """
    INSERT INTO xkit_crm_recordlink (created_at, updated_at, connection_id, crm_object_id,
        content_type_id, object_pk, record_id, delivered, written)
    SELECT now(), now(), 'org-0', (SELECT min(id) FROM xkit_crm_crmobject), made.*, '{}', '{}'
    FROM unnest(%s::int[], %s::text[], %s::text[]) AS made
"""


def _loop_with_rows(crm: str, count: int) -> float:
    """One lane carried out by hand: read 200, mark them, send them, write down what came."""
    session, left = _session(), count
    with psycopg.connect(
        host=os.environ.get("PGHOST", "127.0.0.1"),
        port=int(os.environ.get("PGPORT", "5432")),
        user=os.environ.get("PGUSER", "postgres"),
        password=os.environ.get("PGPASSWORD", ""),
        dbname=os.environ["XKIT_DATABASE_NAME"],
        autocommit=True,
    ) as database:
        began = time.monotonic()
        while left > 0:
            rows = database.execute(_READ).fetchall()
            if not rows:
                break
            ids = [row[0] for row in rows]
            database.execute(_BEGIN, [ids])
            values = [{"Name": p["name"], "Amount": p["amount"]} for _, _, p, _, _ in rows]
            items: list[dict[str, object]] = [
                {"values": value, "key": str(row[1])}
                for value, row in zip(values, rows, strict=True)
            ]
            records = [f"Opportunity:{made}" for made in _send(session, crm, items)]
            results = [json.dumps({"records": [{"id": record}]}) for record in records]
            sent = [json.dumps(value) for value in values]
            with database.transaction(), database.pipeline():
                database.execute(_SETTLE, [ids, records, results])
                database.execute(_ATTEMPTS, [ids, sent, results])
                database.execute(_LINKS, [[r[3] for r in rows], [r[4] for r in rows], records])
            left -= len(rows)
        return (count - left) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crm", required=True)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, help="from the table, so many")
    options = parser.parse_args()
    if options.rows:
        print(_loop_with_rows(options.crm, options.rows))
    else:
        print(_loop(options.crm, options.batch, options.seconds, options.threads))


if __name__ == "__main__":
    main()
