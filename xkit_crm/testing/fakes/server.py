"""What every fake shares: the HTTP side, the contract, and misbehaviour on demand."""

from __future__ import annotations

import base64
import enum
import hashlib
import inspect
import json
import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from xkit_crm.testing.fakes.contract import Contract, Request


class Misbehaviour(enum.Enum):
    """What goes wrong with the next request of the API."""

    #: Refused, in the vendor's own words for "too many requests".
    RATE_LIMIT = "rate limit"
    #: Carried out, and never answered: the connection is closed.
    LOST = "lost"
    #: Not carried out, and never answered.
    DEAF = "deaf"
    #: 503, not carried out.
    UNAVAILABLE = "unavailable"
    #: 200 with a page for people, not carried out.
    HTML = "html"
    #: Carried out; half of the answer comes.
    TRUNCATED = "truncated"
    #: Sent to another host, not carried out.
    REDIRECT = "redirect"
    #: 10 MB, not carried out.
    HUGE = "huge"


@dataclass(frozen=True, slots=True)
class Response:
    """What goes out: `body` as JSON; None: nothing; a `str` as a page."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeCRM(ABC):
    """A vendor's API. A vendor's fake has a method for each operation of its contract, which is
    given the `Request` and what stands in its path, and gives a `Response`."""

    #: The contract's file name, beside the vendor's module.
    contract_file: ClassVar[str]
    #: Operations that need no token, such as that which gives one.
    open_operations: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.contract = Contract(Path(inspect.getfile(type(self))).parent / self.contract_file)
        #: What every request violated of the contract: it stays empty where the adapter is right.
        self.violations: list[str] = []
        self.requests: list[Request] = []
        #: The only access token that is taken, and the refresh token that gives the next one.
        self.token = secrets.token_urlsafe(24)
        self.refresh_token = secrets.token_urlsafe(24)
        #: How often tokens were given.
        self.renewals = 0
        self.lock = threading.RLock()
        self._code = self._challenge = ""
        self._faults: deque[Misbehaviour] = deque()
        self._ids = iter(range(10_001, 10**9))

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # For tests.

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def options(self) -> Mapping[str, Any]:
        """For `XKIT_CRM["PROVIDER_OPTIONS"][<slug>]`."""
        return {"base_url": self.url}

    def signing_in(self, authorize: str, token: str) -> Mapping[str, Any]:
        """What a provider that signs in here is told: the page and the door for tokens, by their
        paths, and its client."""
        return {
            "authorize_url": f"{self.url}{authorize}",
            "token_url": f"{self.url}{token}",
            "client_id": "a-client",
            "client_secret": "a-client-secret",
        }

    @property
    def credentials(self) -> Mapping[str, Any]:
        """For `xkit_crm.connect`."""
        return {"token": self.token}

    def misbehave(self, *what: Misbehaviour) -> None:
        """Let these go wrong with the next requests, one each."""
        self._faults.extend(what)

    def expire(self) -> None:
        """The access token is good no longer."""
        self.token = secrets.token_urlsafe(24)

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does in the CRM: one record of two, by their ids; whether that can be done
        with records of this object. Not, unless the vendor's fake says how."""
        return False

    # For a vendor's fake.

    def consent(self, request: Request) -> Response:
        """The page where a person says yes or no; the code that they bring back is good once."""
        self._challenge = request.query.get("code_challenge", "")
        self._code = secrets.token_urlsafe(16)
        back, state = request.query["redirect_uri"], request.query.get("state", "")
        yes = escape(f"{back}?{urlencode({'code': self._code, 'state': state})}")
        no = escape(f"{back}?{urlencode({'error': 'access_denied', 'state': state})}")
        return Response(
            200,
            f'<!doctype html><html lang="en"><title>{type(self).__name__}</title>'
            f'<h1>Let them in?</h1><p><a href="{yes}">Allow</a> <a href="{no}">Deny</a></p></html>',
        )

    def takes_code(self, form: Mapping[str, str]) -> bool:
        """Whether a form has the code of the last consent, and proves that it began there."""
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        code, self._code = self._code, ""
        return bool(code) and form.get("code") == code and self._challenge in ("", proof)

    def new_id(self) -> str:
        return str(next(self._ids))

    def is_authorised(self, request: Request) -> bool:
        said = next((v for k, v in request.headers.items() if k.lower() == "authorization"), "")
        return said == f"Bearer {self.token}"

    @abstractmethod
    def unauthorised(self) -> Response:
        """The vendor's own words for a token that is not good."""

    @abstractmethod
    def too_many(self) -> Response:
        """The vendor's own words for too many requests."""

    def not_allowed(self, violations: list[str]) -> Response:
        """The vendor's own words for a request that it doesn't take."""
        return Response(400, {"message": "; ".join(violations)})

    # One request.

    def answer(self, request: Request) -> Response:
        """Check it, carry it out."""
        if request.path == "/favicon.ico":  # a browser's own wish
            return Response(204)
        self.requests.append(request)
        found = self.contract.find(request)
        if found is None:
            self.violations.append(f"{request.method} {request.path}: there is no such operation")
            return Response(404, {"message": "no such operation"})
        operation, named = found
        if violations := list(operation.violations(request)):
            self.violations += [f"{operation.id}: {one}" for one in violations]
            return self.not_allowed(violations)
        if operation.id not in self.open_operations and not self.is_authorised(request):
            return self.unauthorised()
        with self.lock:
            response: Response = getattr(self, operation.id)(request, **named)
        return response

    def next_fault(self, request: Request) -> Misbehaviour | None:
        found = self.contract.find(request)
        if not self._faults or (found and found[0].id in self.open_operations):
            return None
        return self._faults.popleft()


class _Gone(Exception):
    """No answer: the connection is closed."""


class _Handler(BaseHTTPRequestHandler):
    fake: ClassVar[FakeCRM]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        request = self._read()
        try:
            status, headers, content, length = self._answer(request)
        except _Gone:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in content:
                self.wfile.write(part)
        if length != sum(map(len, content)):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - their names

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or ""
        is_form = kind.startswith("application/x-www-form-urlencoded")
        body: Any = None
        if content and is_form:
            body = dict(parse_qsl(content.decode(), keep_blank_values=True))
        elif content:
            body = content.decode() if kind.startswith("multipart/") else json.loads(content)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(
            self.command, parts.path, query, dict(self.headers.items()), body, is_form=is_form
        )

    def _answer(self, request: Request) -> tuple[int, dict[str, str], list[bytes], int]:
        fault = self.fake.next_fault(request)
        match fault:
            case Misbehaviour.DEAF:
                raise _Gone
            case Misbehaviour.RATE_LIMIT:
                response = self.fake.too_many()
            case Misbehaviour.UNAVAILABLE:
                response = Response(503, "<h1>Service Unavailable</h1>")
            case Misbehaviour.HTML:
                response = Response(200, "<h1>We'll be back soon</h1>")
            case Misbehaviour.REDIRECT:
                response = Response(302, None, {"Location": "https://elsewhere.example/"})
            case Misbehaviour.HUGE:
                response = Response(200, "x" * (10 * 1024 * 1024))
            case _:
                response = self.fake.answer(request)
        # Half of an answer without a body is none.
        cut = fault is Misbehaviour.TRUNCATED and response.body is None
        if fault is Misbehaviour.LOST or cut:
            raise _Gone
        is_page = isinstance(response.body, str)
        content = b"" if response.body is None else _encoded(response.body)
        headers = dict(response.headers)
        if content:
            kind = "text/html; charset=utf-8" if is_page else "application/json"
            headers.setdefault("Content-Type", kind)
        length = len(content)
        if fault is Misbehaviour.TRUNCATED:
            content = content[: length // 2]
        return response.status, headers, [content], length


def _encoded(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
