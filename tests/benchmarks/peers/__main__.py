"""`python -m tests.benchmarks.peers`: what one process is asked for, answered as JSON.

`prepare` makes the peers' tables, `begin` all of them; `queue` saves rows as a product would, so
that each peer has a backlog; `steady` saves at a steady rate; `saving` times one save of each kind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import django

Save = Callable[[str], None]


def _url(crm: str, peer: str) -> str:
    return f"{crm}/orgs/{peer}/objects/Opportunity"


def saver(peer: str, crm: str) -> Save:
    """What saves one new row of a name, and has the peer send it after commit."""
    from django.db import transaction

    from tests.benchmarks.peers.models import Hooked, Marked, Tasked
    from tests.benchmarks.peers.tasks import deferred, deliver, values_of
    from tests.products.models import Twin

    url = _url(crm, peer)

    def celery(name: str) -> None:
        row = Tasked(connection_id="org-0", title=name)
        row.save()
        transaction.on_commit(lambda: deliver.delay(url, values_of(row)))

    def procrastinate(name: str) -> None:
        row = Tasked(connection_id="org-0", title=name)
        with transaction.atomic():
            row.save()
            deferred().defer(url=url, values=values_of(row))

    def webhook(name: str) -> None:
        Hooked(connection_id="org-0", title=name).save()

    def ours(name: str) -> None:
        Twin(connection_id="org-0", title=name).save()

    def by_triggers(name: str) -> None:
        Marked(connection_id="org-0", title=name).save()

    def plain(name: str) -> None:
        Tasked(connection_id="org-0", title=name).save()

    return {
        "plain": plain,
        "xkit_crm": ours,
        "xkit_crm, by triggers": by_triggers,
        "celery": celery,
        "webhook": webhook,
        "procrastinate": procrastinate,
    }[peer]


def prepare(crm: str) -> None:
    """The peers' tables, and django-webhook2's subscription."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0, run_syncdb=True)
    from django_webhook.models import (  # type: ignore[import-untyped]
        Webhook,
        WebhookSecret,
        WebhookTopic,
    )

    hook, _ = Webhook.objects.get_or_create(url=_url(crm, "webhook"))
    hook.topics.set(WebhookTopic.objects.filter(name="peers.Hooked/create"))
    WebhookSecret.objects.get_or_create(webhook=hook, token="a-secret-of-the-hook")


def begin(crm: str) -> None:
    """A database of its own from nothing: tables, definitions, one connection."""
    import xkit_crm
    from tests.objects import OBJECTS

    prepare(crm)
    xkit_crm.define(OBJECTS)
    credentials = {"url": crm, "org": "org-0", "token": "token"}
    xkit_crm.connect("org-0", provider="loopback", credentials=credentials)


def queue(peer: str, crm: str, count: int) -> dict[str, float]:
    """Save so many; gives microseconds per save."""
    save, began = saver(peer, crm), time.perf_counter()
    for number in range(count):
        save(f"Deal {number}")
    return {"us": (time.perf_counter() - began) / count * 1e6}


def steady(peer: str, crm: str, seconds: float) -> dict[str, float]:
    """When each name was saved, at a steady rate."""
    from tests.benchmarks.delivery.draining import steadily

    return steadily(saver(peer, crm), seconds)


def _mark() -> None:
    """Leave the rows of `Marked` to triggers."""
    import xkit_crm
    from tests.benchmarks.peers.models import Marked
    from tests.products.crm import TwinSync
    from xkit_crm.sync.triggers import capture_triggers

    class ByTriggers(TwinSync):
        by_triggers = True

    xkit_crm.register(Marked)(ByTriggers)
    for trigger in capture_triggers("title", "amount", "email", "connection_id"):
        trigger.install(Marked)


def saving(crm: str, rounds: int) -> list[dict[str, Any]]:
    """One new row saved, by each, in shuffled order."""
    from django.db import connection, transaction

    from tests.benchmarks.measuring import compare
    from xkit_crm.models import MarkedRow

    peers = ["plain", "xkit_crm", "celery", "webhook"]
    if connection.vendor == "postgresql":
        peers.append("procrastinate")
        _mark()
        peers.insert(2, "xkit_crm, by triggers")
    saves = {peer: saver(peer, crm) for peer in peers}
    variants: Any = {
        peer: lambda number, save=save: save(f"Deal {number}") for peer, save in saves.items()
    }
    found = [
        {"how": "autocommit", "who": f.name, "us": f.microseconds, "ratio": f.ratio}
        for f in compare(variants, rounds=rounds)
    ]

    def committed(save: Save) -> Callable[[int], None]:
        def work(number: int) -> None:
            with transaction.atomic():
                save(f"Deal {number}")

        return work

    variants = {peer: committed(save) for peer, save in saves.items()}
    found += [
        {"how": "a transaction each", "who": f.name, "us": f.microseconds, "ratio": f.ratio}
        for f in compare(variants, rounds=rounds)
    ]
    if connection.vendor == "postgresql":
        marks = MarkedRow.objects.filter(model="peers.marked")
        assert marks.count() >= 2 * rounds  # not for nothing
        marks.delete()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("what", choices=["prepare", "begin", "queue", "steady", "saving"])
    parser.add_argument("--crm", default="http://127.0.0.1:1")
    parser.add_argument("--peer", default="plain")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.peers.settings"
    django.setup()
    answer: Any = None
    match options.what:
        case "prepare":
            prepare(options.crm)
        case "begin":
            begin(options.crm)
        case "queue":
            answer = queue(options.peer, options.crm, options.count)
        case "steady":
            answer = steady(options.peer, options.crm, options.seconds)
        case _:
            answer = saving(options.crm, options.count)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
