"""What each peer does with a row: one POST, with the session that a thread keeps."""

from __future__ import annotations

import os
import threading
from typing import Any
from uuid import uuid4

import requests
from celery import shared_task
from django.core.serializers.json import DjangoJSONEncoder

_local = threading.local()


def values_of(row: Any) -> dict[str, Any]:
    """What the CRM is told of a row."""
    amount = None if row.amount is None else float(row.amount)
    return {"Name": row.title, "Amount": amount, "OwnerEmail": row.email}


class Envelope(DjangoJSONEncoder):
    """django-webhook2's envelope with the names that the CRM expects."""

    def encode(self, o: Any) -> str:
        if isinstance(o, dict) and "object" in o and "event_id" in o:
            o = {**o, "values": o["object"], "key": o["event_id"]}
        return super().encode(o)


def post(url: str, values: dict[str, Any]) -> None:
    """Make one record. Raises where the CRM doesn't take it."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.session, _local.pid = requests.Session(), os.getpid()
        _local.session.trust_env = False
    response = _local.session.post(url, json={"values": values, "key": str(uuid4())}, timeout=30)
    response.raise_for_status()
    response.json()


@shared_task
def deliver(url: str, values: dict[str, Any]) -> None:
    post(url, values)


def deferred() -> Any:
    """The same task of procrastinate's, where it is installed."""
    from procrastinate.contrib.django import app

    return app.tasks["tests.benchmarks.peers.tasks.post"]


def _register() -> None:
    from django.apps import apps

    if apps.is_installed("procrastinate.contrib.django"):
        from procrastinate.contrib.django import app

        app.task(name="tests.benchmarks.peers.tasks.post")(post)


_register()
