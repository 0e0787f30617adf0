"""Celery on Redis, with its defaults but for what nobody here needs."""

from __future__ import annotations

import os

from celery import Celery

BROKER = os.environ.get("XKIT_BENCHMARK_REDIS", "redis://127.0.0.1:6379/13")
QUEUE = os.environ.get("XKIT_BENCHMARK_QUEUE", "xkit-benchmark")

app = Celery("peers", broker=BROKER)
app.conf.update(
    task_ignore_result=True,
    task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
)
app.autodiscover_tasks(["tests.benchmarks.peers", "django_webhook"])
