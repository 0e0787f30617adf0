"""The Celery app of a run: `celery -A tests.chaos.celery_app worker`.

Its broker is a Redis database that is flushed at random, so every message may be lost.
"""

from __future__ import annotations

from datetime import timedelta

from celery import Celery

from tests.chaos.services import redis_url
from xkit_crm.delivery.backends.celery import beat_schedule

app = Celery("tests.chaos", broker=redis_url())
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue="xkit-chaos",
    task_ignore_result=True,
    beat_schedule=beat_schedule(timedelta(seconds=1)),
)
app.autodiscover_tasks()
