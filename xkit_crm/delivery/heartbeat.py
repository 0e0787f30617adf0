"""Signs of life: leases are renewed while a call to a CRM lasts longer than a part of them.

One daemon thread for a whole process, started with the first lane that is held and ended with the
last. A call that takes longer than a lease is no reason to lose the lane; only a process that is
dead, or stopped, gives none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connections

from xkit_crm.conf import settings

if TYPE_CHECKING:
    from xkit_crm.delivery.lanes import Hold

logger = logging.getLogger(__name__)

#: Looks in the time of a lease; `Hold.renew` asks the database in the last two thirds of it.
BEATS = 6

_lock = threading.Lock()
_holds: set[Hold] = set()
_thread: threading.Thread | None = None


@contextmanager
def renewing(hold: Hold) -> Iterator[None]:
    """Renew the hold's lease from another thread during the block. Costs microseconds; queries
    only where the block lasts longer than a third of the lease."""
    with _lock:
        _holds.add(hold)
        _start()
    try:
        yield
    finally:
        with _lock:
            _holds.discard(hold)


def _start() -> None:
    global _thread
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_beat, name="xkit_crm heartbeat", daemon=True)
        _thread.start()


def _beat() -> None:
    global _thread
    idle = 0
    while True:
        time.sleep(settings.LANE_LEASE.total_seconds() / BEATS)
        with _lock:
            holds = list(_holds)
            idle = 0 if holds else idle + 1
            if idle > BEATS:
                _thread = None
                return
        for hold in holds:
            try:
                hold.renew()
            except Exception as error:  # noqa: BLE001 - the next beat tries again
                logger.warning("A lease could not be renewed: %s", error)
        connections.close_all()


def _forget_after_fork() -> None:
    """A child process has none of its parent's threads, nor its lanes."""
    global _lock, _thread
    _lock, _thread = threading.Lock(), None
    _holds.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
