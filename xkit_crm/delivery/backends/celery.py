"""Leave it to the product's Celery workers: a message says that a lane has work.

`poke` sends one after a commit, `drain_lane` is what a worker does with it, and `sweep`, which
Celery beat runs, finds what no message tells of: lost ones, and retries whose time has come. Needs
the extra `celery`; nothing else in the package imports Celery. `xkit_crm/tasks.py` registers the
tasks where Celery looks for them. A product's settings import `beat_schedule` from here, so models
are imported by the functions that need them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from celery import current_app, shared_task
from kombu import Connection
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import producers

from xkit_crm import logs

logger = logging.getLogger(__name__)

DRAIN = "xkit_crm.drain_lane"
SWEEP = "xkit_crm.sweep"

#: Seconds after which a message that nobody took is worth nothing: the sweep has sent another.
EXPIRES = 60
#: Seconds a save may wait for the broker.
PATIENCE = 2.0
#: Seconds in which a process sends nothing after the broker could not be reached.
REST = 10.0

#: One more try, at once: a connection that idled in the pool may be dead.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
#: What ends the waiting on Redis, on AMQP, and in opening a channel. Other brokers ignore it.
_BOUNDS = {
    "socket_connect_timeout": PATIENCE,
    "socket_timeout": PATIENCE,
    "read_timeout": PATIENCE,
    "write_timeout": PATIENCE,
    **_RETRY,
}


class _Rest:
    """Until when this process leaves the broker alone, so that an outage slows one save and not
    every one."""

    until = 0.0

    def begin(self) -> None:
        self.until = time.monotonic() + REST

    def __bool__(self) -> bool:
        return time.monotonic() < self.until


_rest = _Rest()


def poke(connection_ids: Sequence[str]) -> None:
    """Send a message for each lane. Never raises for a broker that is down: that is logged, and
    the sweep finds the work."""
    for connection_id in connection_ids:
        _tell(connection_id)


@shared_task(name=DRAIN, ignore_result=True, max_retries=0)
def drain_lane(connection_id: str) -> None:
    """Take a turn in one lane; a new message hands it on where more may be due."""
    from xkit_crm.delivery.backends import turns

    done = turns.take(connection_id, _tell)
    if done:
        told = logs.of(connection_id)
        logger.info("Lane %s: %d dealt with.", connection_id, done, extra=told)


@shared_task(name=SWEEP, ignore_result=True, max_retries=0)
def sweep() -> None:
    """Send a message for every lane in which something can be done now."""
    from xkit_crm.delivery.backends import turns

    turns.sweep(poke)


def beat_schedule(every: timedelta = timedelta(seconds=10)) -> dict[str, dict[str, Any]]:
    """Entries for the product's `CELERY_BEAT_SCHEDULE`.

    `every` is how long, at most, what a lost message told of lies, and how late a retry may be.
    """
    return {
        "xkit_crm-sweep": {
            "task": SWEEP,
            "schedule": every,
            # Sweeps that piled up while no worker ran would all find the same.
            "options": {"expires": max(every.total_seconds(), EXPIRES)},
        }
    }


def has_no_app() -> bool:
    """Whether the product's Celery app was never imported in this process, so that Celery would
    stand one in which has no settings."""
    return str(current_app.main) == "default"


def is_swept() -> bool:
    """Whether beat runs the sweep. True where that can't be known, since another scheduler than
    Celery's own keeps its entries elsewhere, such as in a table."""
    conf = current_app.conf
    if conf.beat_scheduler != "celery.beat:PersistentScheduler":
        return True
    entries = conf.beat_schedule.values()
    return any(
        (entry["task"] if isinstance(entry, dict) else entry.task) == SWEEP for entry in entries
    )


def _tell(connection_id: str) -> None:
    if _rest:
        return
    try:
        with producers[_broker()].acquire(block=True, timeout=PATIENCE) as producer:
            drain_lane.apply_async(
                (connection_id,),
                producer=producer,
                expires=EXPIRES,
                retry=True,
                retry_policy=_RETRY,
            )
    except (OperationalError, LimitExceeded, OSError) as error:
        _rest.begin()
        logger.warning(
            "The Celery broker can't be reached (%s), so no worker is told of lane %s, and of none "
            "in the next %d s. Nothing is lost: the sweep finds the work in the database.",
            error,
            connection_id,
            REST,
            extra=logs.of(connection_id),
        )


def _broker() -> Connection:
    """The product's broker, with an end to every wait. What the product sets itself is kept."""
    theirs = current_app.conf.broker_transport_options or {}
    bounds = {name: bound for name, bound in _BOUNDS.items() if name not in theirs}
    return current_app.connection_for_write(connect_timeout=PATIENCE, transport_options=bounds)
