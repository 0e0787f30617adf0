"""Celery apps in the tests' process, each with a queue of its own, and what waits in it."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

import kombu
from celery import Celery

REDIS = os.environ.get("XKIT_TEST_REDIS", "redis://127.0.0.1:6379/11")
RABBITMQ = os.environ.get("XKIT_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def is_up(url: str) -> bool:
    at = urlsplit(url)
    try:
        with socket.create_connection((at.hostname, at.port), timeout=1):
            return True
    except OSError:
        return False


def queue_of(app: Celery, channel: Any) -> kombu.Queue:
    return app.amqp.queues[app.conf.task_default_queue](channel)


def taken(app: Celery) -> list[dict[str, Any]]:
    """What waits in the app's queue, taken out of it: the headers, with the lane told of."""
    found = []
    with app.connection_for_read() as connection:
        queue = queue_of(app, connection.default_channel)
        queue.declare()
        while (message := queue.get(no_ack=True)) is not None:
            args, _, _ = message.payload
            found.append({**message.headers, "lane": args[0] if args else None})
    return found


def lanes_told(app: Celery) -> list[str]:
    return [message["lane"] for message in taken(app)]


def remove(app: Celery) -> None:
    """Leave nothing behind in the broker."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        queue = queue_of(app, channel)
        queue.declare()
        queue.delete()
        if hasattr(channel, "exchange_delete"):
            channel.exchange_delete(queue.exchange.name)
