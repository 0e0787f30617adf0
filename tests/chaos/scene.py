"""How a run begins and ends: the rows it starts from, the wait for delivery, the verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from django.core.management import call_command
from django.db import connection
from django.db.models import Count

import xkit_crm
from tests.chaos import journal, report, verdict
from tests.chaos.conductor import TICK, TIMEOUT, Conductor
from tests.chaos.options import Options
from tests.chaos.processes import Workers, Writers
from tests.chaos.writer import SHARED
from tests.crm.control import CRMControl
from tests.crm.state import POISON
from tests.objects import OBJECTS
from tests.products.models import Customer, Deal
from xkit_crm.models import Invocation, Lane, MarkedRow
from xkit_crm.models.invocation import InvocationStatus

#: Rows that all writers share.
SHARED_ROWS = 10
_WAITING = (InvocationStatus.PENDING, InvocationStatus.RUNNING)
Say = Callable[[str], None]


def prepare(options: Options, crm: CRMControl) -> None:
    """The tables, the customers with their connections, and the rows that writers share."""
    call_command("migrate", verbosity=0)
    xkit_crm.define(OBJECTS)
    if options.capture == "triggers":
        from tests.chaos.crm import TRIGGERS

        for trigger in TRIGGERS:
            trigger.install(Deal)
    for number in range(options.connections):
        org = f"org-{number}"
        # One of them has a CRM that takes a record a call: its calls are made in rounds.
        provider = "loopback" if number else "loopback-single"
        xkit_crm.connect(org, provider=provider, credentials=crm.credentials(org, timeout=TIMEOUT))
        Customer.objects.create(name=org, connection_id=org)
    customers = list(Customer.objects.order_by("pk"))
    writing = journal.Writing(options.directory / "journal-0.jsonl")
    for number in range(SHARED_ROWS):
        row = f"shared-{number}"
        change = journal.Change(row, "create", 1, f"{row} made")
        name = writing.begin([change])
        Deal.objects.create(
            customer=customers[number % len(customers)],
            title=change.name,
            views=1,
            amount=number,
            note=SHARED,
        )
        writing.committed(name)
    connection.close()


def settle(
    options: Options, conductor: Conductor, workers: Workers, writers: Writers, say: Say
) -> list[str]:
    """Mend what the CRM refuses, wait until nothing waits, stop everybody; gives what was wrong."""
    _mend(options)
    deadline, told = time.monotonic() + options.deadline, 0.0
    wrong = []
    while left := _left():
        workers.replace()
        for org in conductor.renew_errored():
            wrong.append(f"{org} was cut off again after it was authorised with a good token")
        conductor.delays.look()
        now = time.monotonic()
        if now > deadline:
            wrong.append(f"after {options.deadline:g} s of calm there still was {left}")
            break
        if now - told > 10:
            told = now
            say(f"calm: {left}")
        time.sleep(TICK * 4)
    for place in workers.places:  # one that was started a moment ago can't be asked to stop yet
        while place.alive and not place.warm and time.monotonic() < deadline:
            time.sleep(TICK)
    return [*wrong, *workers.stop()]


def _left() -> str:
    """What is not done yet; empty where all is."""
    waiting = Invocation.objects.filter(status__in=_WAITING).count() + MarkedRow.objects.count()
    held = Lane.objects.exclude(holder="").count() if not waiting else 0
    return f"{waiting} waiting" if waiting else f"{held} lanes held" if held else ""


def _mend(options: Options) -> None:
    """Give the rows that the CRM refuses a name that it takes."""
    writing = journal.Writing(options.directory / "journal-mended.jsonl")
    for deal in Deal.objects.select_related("customer").filter(title__contains=POISON):
        row = deal.title.split(" ", 1)[0]
        deal.title, deal.views = f"{row} mended", deal.views + 1
        name = writing.begin([journal.Change(row, "update", deal.views, deal.title)])
        deal.save()
        writing.committed(name)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds."""

    trouble: float
    everything: float


def judge(
    options: Options,
    conductor: Conductor,
    crm: CRMControl,
    wrong: list[str],
    took: Took,
    say: Say,
) -> bool:
    """Print what happened and what is wrong; gives whether nothing is."""
    written = journal.read(conductor.writers.journals)
    evidence = verdict.Evidence(written, crm.records(), crm.journal())
    found = [*wrong, *verdict.violations(evidence, capture=options.capture)]
    counts, delays = crm.counts(), conductor.delays
    states = dict(Invocation.objects.order_by().values_list("status").annotate(Count("pk")))
    logs = [place.log for place in chain(conductor.workers.places, conductor.writers.places)]
    figures: dict[str, object] = {
        "changes committed": len(written.committed),
        "perhaps committed (writer killed, database away)": len(written.perhaps),
        "changes rolled back on purpose": len(written.rolled_back),
        "trouble": dict(conductor.trouble),
        "invocations": states,
        "folded into others": states.get(InvocationStatus.SUPERSEDED, 0),
        "calls to the CRM": counts["calls"],
        "what came of them": counts["outcomes"],
        "written": counts["writes"],
        "sent": report.batches(counts),
        "rows now": Deal.objects.count(),
        "lanes orphaned by a kill (and held up by something else)": (
            f"{len(delays.seconds)} ({delays.excused})"
        ),
        "seconds until an orphaned lane moved: median": report.quantile(delays.seconds, 0.5),
        "p99": report.quantile(delays.seconds, 0.99),
        "longest": max(delays.seconds, default=0.0),
        "the lease": options.lease,
        "seconds of trouble": took.trouble,
        "until all was delivered": took.everything,
        "exceptions in the logs": report.raised([log for log in logs if log.exists()]),
        "processors": os.cpu_count() or 0,
    }
    say(report.table(figures))
    if not found:
        say(f"\nNothing lost, doubled, out of order or made up (seed {options.seed}).")
        return True
    say(f"\n{len(found)} violations:")
    for violation in found[:40]:
        say(f"  - {violation}")
    say(f"to replay it:\n  {options.replay()}")
    return False
