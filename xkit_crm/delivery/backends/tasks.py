"""Leave it to a backend of Django's tasks framework, whichever the product has in `TASKS`.

`django.tasks` of Django 6.0 and later, its backport `django_tasks` before. `poke` enqueues after a
commit and `drain_lane` is what a worker does with it. The framework has no schedule of its own, so
the product enqueues `sweep`, or runs `manage.py xkit_worker --once`, every so often. Needs the
extra `tasks`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from xkit_crm import logs
from xkit_crm.conf import settings
from xkit_crm.delivery.backends import turns

if TYPE_CHECKING or find_spec("django.tasks"):
    from django.tasks import task
else:
    from django_tasks import task

logger = logging.getLogger(__name__)


def poke(connection_ids: Sequence[str]) -> None:
    """Enqueue a task for each lane. Raises what the backend raises; the work stays where it is."""
    for connection_id in connection_ids:
        _tell(connection_id)


# The tasks belong to a backend and a queue from the start, since a backend refuses a queue that it
# doesn't have. This module is imported when it is first needed, so settings are there.
@task(backend=settings.TASKS_BACKEND, queue_name=settings.TASKS_QUEUE)
def drain_lane(connection_id: str) -> None:
    """Take a turn in one lane; a new task hands it on where more may be due."""
    done = turns.take(connection_id, _tell)
    if done:
        told = logs.of(connection_id)
        logger.info("Lane %s: %d dealt with.", connection_id, done, extra=told)


@task(backend=settings.TASKS_BACKEND, queue_name=settings.TASKS_QUEUE)
def sweep() -> None:
    """Enqueue a task for every lane in which something can be done now."""
    turns.sweep(poke)


def _tell(connection_id: str) -> None:
    drain_lane.enqueue(connection_id)
