"""The worker: goes from lane to lane for as long as it is wanted. See `manage.py xkit_worker`.

One thread looks where there is work, the others carry it out, each in one lane at a time. A lane
with a long backlog gets a turn like any other, then goes to the back of the queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from math import inf
from queue import Empty, SimpleQueue

from django.db import connections

from xkit_crm import catalogue, logs, notifications
from xkit_crm.conf import settings
from xkit_crm.delivery import lanes, retention, rollup
from xkit_crm.delivery.drain import take_turn
from xkit_crm.delivery.health import Pulse
from xkit_crm.sync import bindings, taking_in

logger = logging.getLogger(__name__)

#: Seconds that one lane is worked in before it is the next one's turn.
TURN = 1.0
#: Looking for work takes this share of the time at most, however many lanes there are.
LOOKING = 0.1
#: Where there was work lately there is more in a moment: seconds between two looks then, their
#: share of the time, and for how long.
EAGER = 0.001
EAGER_LOOKING = 0.2
EAGER_FOR = 1.0
#: Seconds between two looks for notifications, and for what is to be tidied up.
NOTIFY = 1.0
TIDY = 1.0
#: Seconds that a lane is left alone in which something went wrong that nobody expected: it may go
#: wrong the next time as well.
AFTER_TROUBLE = 1.0
#: A turn that takes so many seconds waited for its CRM most of the time.
SLOW = 5.0
#: Seconds that a thread without work keeps its connections to databases.
KEEP = 60.0


class Worker:
    """Drains every lane in turn. `stop` may be called from a signal handler or another thread."""

    def __init__(self, *, threads: int = 4, poll_interval: float = 0.05) -> None:
        self.threads = threads
        self.poll_interval = poll_interval
        self.pulse = Pulse()
        # No lock behind it, so that a signal handler can set it whatever it interrupts.
        self._stopping = False
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._lock = threading.Lock()
        #: Lanes that are queued or worked in.
        self._taken: set[str] = set()
        #: Set when a thread has done with a lane.
        self._freed = threading.Event()
        #: Lanes whose last turn was a slow one.
        self._slow: set[str] = set()
        #: Until when lanes are left alone.
        self._left_alone: dict[str, float] = {}
        self._done = 0

    def stop(self) -> None:
        """Finish the calls in hand, give the lanes back, and end."""
        self._stopping = True

    def run(self) -> int:
        """Work until stopped; gives how many invocations were dealt with.

        A database that goes away is waited for, since a worker that ends helps nobody.
        """
        threads = [
            threading.Thread(target=self._serve, args=(n,), name=f"xkit_crm lane {n}", daemon=True)
            for n in range(self.threads)
        ]
        # Beside the lanes, so that an endpoint which doesn't answer, or much that is to be tidied
        # up, holds up none of them and is not taken for a worker that hangs.
        for name, step, pause in (
            ("webhook", notifications.send_due, NOTIFY),
            ("upkeep", self._tidy, TIDY),
        ):
            threads.append(
                threading.Thread(
                    target=self._repeat, args=(step, pause), name=f"xkit_crm {name}", daemon=True
                )
            )
        for thread in threads:
            thread.start()
        eager_until = -inf
        while not self._stopping:
            took_in = taking_in.take_in_for()
            began = time.monotonic()
            found = self._look_and_queue()
            now = time.monotonic()
            if found or took_in:
                eager_until = now + EAGER_FOR
            is_eager = now < eager_until
            if is_eager:
                self._wait_for_a_thread()
            pause = min(EAGER, self.poll_interval) if is_eager else self.poll_interval
            took, share = now - began, EAGER_LOOKING if is_eager else LOOKING
            self._rest(max(pause, took / share - took))
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()
        connections.close_all()
        return self._done

    def run_once(self) -> int:
        """Carry out everything that is due now, and what becomes due by that; then end. Stopped
        meanwhile, it ends as soon as the call in hand is done."""
        done = 0
        notifications.send_due()
        while not self._stopping and taking_in.take_in_for():
            pass
        while not self._stopping and (found := self._look()):
            worked = 0
            for connection_id in found:
                worked += 0 if self._stopping else self._turn(connection_id, seconds=inf)[0]
            if not worked:
                break
            done += worked
        rollup.roll_up(go_on=lambda: not self._stopping)
        return done

    def _look_and_queue(self) -> bool:
        """Whether there is work in lanes that nobody holds."""
        _close_broken()
        try:
            found = self._look()
        except Exception:
            logger.exception("The worker goes on in %s s.", self.poll_interval)
            self.pulse.beat(well=False)
            connections.close_all()
            return False
        self.pulse.beat(well=True)
        now = time.monotonic()
        found = [one for one in found if self._left_alone.get(one, now) <= now]
        with self._lock:
            chosen = [one for one in found if one not in self._taken]
            # CRMs that hang, as all of a vendor's may, leave half of the threads to the others.
            slow = [one for one in chosen if one in self._slow]
            room = max(self.threads // 2, 1) - len(self._slow & self._taken)
            left = set(slow[max(room, 0) :])
            for connection_id in chosen:
                if connection_id not in left:
                    self._taken.add(connection_id)
                    self._queue.put(connection_id)
        return len(found) > len(left)

    def _look(self) -> list[str]:
        """The lanes where there is work."""
        catalogue.refresh_if_stale()
        bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
        return lanes.with_work()

    def _serve(self, number: int) -> None:
        """Work in one lane after the other."""
        # Threads that all change lanes at the same moment wait for one another, again and again.
        seconds = TURN * (number + 1) / self.threads
        while (connection_id := self._next()) is not None:
            began = time.monotonic()
            worked, is_over = (
                (0, True) if self._stopping else self._turn(connection_id, seconds=seconds)
            )
            seconds = TURN
            _close_broken()
            with self._lock:
                self._done += worked
                is_slow = time.monotonic() - began > SLOW
                (self._slow.add if is_slow else self._slow.discard)(connection_id)
                if not is_over and not is_slow:
                    self._queue.put(connection_id)  # the others come first
                else:
                    self._taken.discard(connection_id)
                    self._freed.set()
        connections.close_all()

    def _repeat(self, step: Callable[[], object], pause: float) -> None:
        """Do it again and again, whatever comes of it."""
        while not self._stopping:
            try:
                step()
            except Exception:
                logger.exception("The worker tries that again in %s s.", pause)
                connections.close_all()
            self._rest(pause)
        connections.close_all()

    def _tidy(self) -> None:
        """Delete what is kept too long, and put together what was counted, where it is time."""
        retention.prune_if_due()
        rollup.roll_up_if_due(go_on=lambda: not self._stopping)
        connections.close_all()  # it is not time again soon

    def _next(self) -> str | None:
        """The next lane to work in, waited for; None at the end."""
        try:
            return self._queue.get(timeout=KEEP)
        except Empty:
            connections.close_all()
            return self._queue.get()

    def _turn(self, connection_id: str, *, seconds: float = TURN) -> tuple[int, bool]:
        """Work in the lane for a while: how many were dealt with, and whether all that was due is.

        One lane's trouble is no other's.
        """
        until = time.monotonic() + seconds

        def go_on() -> bool:
            return not self._stopping and time.monotonic() < until

        try:
            worked = take_turn(connection_id, go_on=go_on)
        except BaseException:
            # What it had in hand is taken up again. An adapter that ends the process doesn't, nor
            # one that cancels what it awaits: this thread's lanes would be nobody's.
            logger.exception("Lane %s failed.", connection_id, extra=logs.of(connection_id))
            self._left_alone[connection_id] = time.monotonic() + AFTER_TROUBLE
            connections.close_all()
            return 0, True
        if worked:
            told = logs.of(connection_id)
            logger.info("Lane %s: %d dealt with.", connection_id, worked, extra=told)
        return worked, not worked or self._stopping or go_on()

    def _wait_for_a_thread(self) -> None:
        """Until one of them has no lane, or the poll interval is over: before that, finding more
        helps nobody."""
        until = time.monotonic() + self.poll_interval
        while (
            len(self._taken) >= self.threads
            and not self._stopping
            and (left := until - time.monotonic()) > 0
        ):
            self._freed.wait(min(left, 0.1))
            self._freed.clear()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))


def _close_broken() -> None:
    """Close the connections on which something went wrong.

    The others are kept while there is work, whatever `CONN_MAX_AGE` says: that is meant for a
    process that may not be asked again soon, and to connect costs more than most turns.
    """
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close()
