"""The settings of the Celery processes that tests start; which broker and queue, a test says."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.delivery.worker_settings import *  # noqa: F403
from tests.delivery.worker_settings import XKIT_CRM
from xkit_crm.delivery.backends.celery import beat_schedule

XKIT_CRM = {
    **XKIT_CRM,
    "DELIVERY": "celery",
    "PROVIDERS": {"sandbox": "tests.delivery.backends.crm.OneByOne"},
}
CELERY_BROKER_URL = os.environ.get("XKIT_TEST_BROKER", "memory://")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("XKIT_TEST_QUEUE", "celery")
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BEAT_SCHEDULE = beat_schedule(timedelta(seconds=0.2))
