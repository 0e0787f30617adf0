"""Several workers by one command: processes that a parent starts, and starts again where one ends.

Python runs in one core at a time, so one process is one core's worth. The parent only watches: it
has no thread and no database connection, so that it can be forked at any time. What a child had in
hand when it died is taken up by the others when its leases have run out. See
`manage.py xkit_worker --processes`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import HTTPServer
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import ForkProcess

from django.db import connections

from xkit_crm.delivery.health import Pulse
from xkit_crm.delivery.worker import Worker

logger = logging.getLogger(__name__)

#: Seconds between two looks at the children; one that ends is seen at once.
WATCH = 0.2
#: Seconds that a child has to have lived to be started again at once.
LIVED = 1.0

_SIGNALS = {signal.SIGTERM, signal.SIGINT}

_fork = get_context("fork")


class Processes:
    """`count` workers in processes of their own. `stop` may be called from a signal handler."""

    def __init__(self, count: int, make: Callable[[], Worker]) -> None:
        self.make = make
        #: The parent's first.
        self.pulses = [Pulse(_fork.RawArray("d", 2)) for _ in range(count + 1)]
        self._stopping = False
        self._children: dict[ForkProcess, Callable[[], ForkProcess]] = {}

    def stop(self) -> None:
        """Have every worker finish the calls in hand, and end."""
        self._stopping = True

    def run(self, *, probe: HTTPServer | None = None, watch: Callable[[], object]) -> None:
        """Work until stopped, with a process that answers the probe, if there is one; `watch` is
        called again and again."""
        connections.close_all()  # nobody shares one with a child
        try:
            for pulse in self.pulses[1:]:
                self._keep(partial(self._worker, pulse))
            if probe is not None:
                self._keep(partial(self._start, probe.serve_forever))
            while not self._stopping:
                self.pulses[0].beat(well=True)
                watch()
                connection.wait([child.sentinel for child in self._children], WATCH)
                self._start_again()
        finally:
            for child in self._children:
                child.terminate()
            for child in self._children:
                child.join()

    def _keep(self, start: Callable[[], ForkProcess]) -> None:
        self._children[start()] = start

    def _worker(self, pulse: Pulse) -> ForkProcess:
        pulse.begin()
        return self._start(partial(_work, self.make, pulse))

    def _start(self, target: Callable[[], object]) -> ForkProcess:
        child = _fork.Process(target=_as_child, args=(target,))
        child.began = time.monotonic()  # type: ignore[attr-defined]
        # A signal that comes before the child has handlers of its own waits until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return child

    def _start_again(self) -> None:
        """Put another in the place of each that has ended, whatever of."""
        for child in [child for child in self._children if child.exitcode is not None]:
            if self._stopping:
                return
            logger.error(
                "Process %d ended with %d; another takes its place.", child.pid, child.exitcode
            )
            if time.monotonic() - child.began < LIVED:  # type: ignore[attr-defined]
                time.sleep(LIVED)  # it would end again, and again
            self._keep(self._children.pop(child))


def _as_child(target: Callable[[], object]) -> None:
    """In the child: what the parent does about signals is not for us."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all of us; the parent decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target()


def _end_with_parent() -> None:
    """A process that nobody watches, nor can stop, is not left behind."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _work(make: Callable[[], Worker], pulse: Pulse) -> None:
    worker = make()
    worker.pulse = pulse
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()
