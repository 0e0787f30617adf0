"""The worker: goes from lane to lane for as long as it is wanted. See `manage.py xkit_worker`."""

from __future__ import annotations

import logging
import time

from django.db import close_old_connections

from xkit_crm import catalogue
from xkit_crm.conf import settings
from xkit_crm.delivery import lanes
from xkit_crm.delivery.drain import drain
from xkit_crm.sync import bindings

logger = logging.getLogger(__name__)

#: Invocations of one lane before it is the next lane's turn, so that a backlog starves nobody.
TURN = 50


class Worker:
    """Drains every lane in turn. `stop` may be called from a signal handler or another thread."""

    def __init__(self, *, poll_interval: float = 1.0) -> None:
        self.poll_interval = poll_interval
        # No lock behind it, so that a signal handler can set it whatever it interrupts.
        self._stopping = False

    def stop(self) -> None:
        """Finish the invocation in hand, give the lane back, and end."""
        self._stopping = True

    def run(self) -> int:
        """Work until stopped; gives how many invocations were carried out.

        A database that goes away is waited for, since a worker that ends helps nobody.
        """
        done = 0
        while not self._stopping:
            close_old_connections()
            worked = 0
            try:
                worked = self._round()
            except Exception:
                logger.exception("The worker goes on in %s s.", self.poll_interval)
            done += worked
            if not worked:
                self._rest()
        return done

    def _rest(self) -> None:
        until = time.monotonic() + self.poll_interval
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def run_once(self) -> int:
        """Carry out everything that is due now, and what becomes due by that; then end."""
        done = 0
        while not self._stopping and (worked := self._round()):
            done += worked
        return done

    def _round(self) -> int:
        catalogue.refresh_if_stale()
        bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
        done = 0
        for connection_id in lanes.with_work():
            if self._stopping:
                break
            try:
                worked = drain(connection_id, limit=TURN, go_on=lambda: not self._stopping)
            except Exception:
                # One lane's trouble is no other's; what it had in hand is taken up again.
                logger.exception("Lane %s failed.", connection_id)
                continue
            if worked:
                logger.info("Lane %s: %d carried out.", connection_id, worked)
            done += worked
        return done
