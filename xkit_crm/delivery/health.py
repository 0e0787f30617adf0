"""Whether a worker is alive and well, for who watches it: a file's age, or an HTTP probe.

Container platforms ask in one of the two ways: `find health -mmin -1`, or `GET /live` and
`GET /ready`. Neither touches the database, so that a probe costs nothing and hangs on nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import MutableSequence, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

#: Seconds without a beat after which a worker is taken to hang.
STALE = 60.0


class Pulse:
    """When a worker last looked for work, and whether it could.

    `cells` are two numbers that hold that, in memory that others share where they are to see it.
    """

    def __init__(self, cells: MutableSequence[float] | None = None) -> None:
        self.file: Path | None = None
        self._cells: MutableSequence[float] = [0.0, 0.0] if cells is None else cells
        self.begin()

    def begin(self) -> None:
        """A worker begins: it has not looked yet."""
        self._cells[:] = [time.monotonic(), False]

    def beat(self, *, well: bool) -> None:
        """The worker looked for work; `well` says whether the database answered."""
        self._cells[:] = [time.monotonic(), well]
        if self.file is not None and well:
            _touch(self.file)

    @property
    def last(self) -> float:
        """When it looked last, or began."""
        return self._cells[0]

    @property
    def is_alive(self) -> bool:
        """Whether the worker's loop turns, whatever the database does: if not, restart it."""
        return time.monotonic() - self.last < STALE

    @property
    def is_ready(self) -> bool:
        """Whether it can work: it is alive and the database answers."""
        return self.is_alive and bool(self._cells[1])


class Pulses:
    """Those of several workers: as well as the one that is worst."""

    def __init__(self, pulses: Sequence[Pulse]) -> None:
        self.pulses = pulses
        self.file: Path | None = None
        self._touched = time.monotonic()

    def touch(self) -> None:
        """Touch the file where every one of them has looked since it was touched last."""
        if self.file is None or not self.is_ready:
            return
        if min(pulse.last for pulse in self.pulses) > self._touched:
            self._touched = time.monotonic()
            _touch(self.file)

    @property
    def is_alive(self) -> bool:
        """Whether the loop of each turns."""
        return all(pulse.is_alive for pulse in self.pulses)

    @property
    def is_ready(self) -> bool:
        """Whether each can work."""
        return all(pulse.is_ready for pulse in self.pulses)


def _touch(file: Path) -> None:
    """Whoever watches it finds it old where that fails, and the work goes on until they decide."""
    try:
        file.touch()
    except OSError as error:
        if file not in _failing:  # said once: it is touched at every look
            logger.warning("The health file can't be touched: %s", error)
        _failing.add(file)
    else:
        _failing.discard(file)


_failing: set[Path] = set()


def serve(pulse: Pulse, address: str) -> ThreadingHTTPServer:
    """Answer `/live` and `/ready` with 200 or 503 at `host:port`, from a thread of its own.

    Raises `OSError` where the address can't be had.
    """
    server = probe(pulse, address)
    threading.Thread(target=server.serve_forever, name="xkit_crm probe", daemon=True).start()
    return server


def probe(pulse: Pulse | Pulses, address: str) -> ThreadingHTTPServer:
    """What answers `/live` and `/ready` with 200 or 503 at `host:port`, once it serves.

    Raises `OSError` where the address can't be had.
    """
    host, _, port = address.rpartition(":")

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {"/live": pulse.is_alive, "/ready": pulse.is_ready}.get(self.path)
            status = 404 if asked is None else 200 if asked else 503
            body = json.dumps({"ok": bool(asked)}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """A probe every few seconds is no news."""

    return ThreadingHTTPServer((host or "127.0.0.1", int(port)), Probe)
