"""A small threaded HTTP server for the demo: the site, in this process, on this machine only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

HOST = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing: the demo's own output is what is to be read."""

    def address_string(self) -> str:
        return str(self.client_address[0])


@contextmanager
def site(port: int) -> Iterator[str]:
    """Serve the site during the block; gives its address. Port 0 takes a free one.

    Raises `OSError` where the port is taken.
    """
    application = StaticFilesHandler(get_wsgi_application())
    with make_server(HOST, port, application, _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
