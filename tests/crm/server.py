"""The loopback CRM's HTTP side: `python -m tests.crm.server --port 0 --seed 7`.

A process of its own, so that it lives on when workers are killed and the database is restarted.
HTTP/1.1 with keep-alive, read and written by hand, since the standard library's handler takes
longer to parse the headers than all the rest. What a tenant may do stands in `state.py`, what goes
wrong in `faults.py`; `control.py` is the tests' side of the admin endpoints.

    POST   /orgs/<org>/objects/<object>                  {"values": {...}, "key": "..."}
    GET    /orgs/<org>/objects/<object>?key=...          those made with this key
    GET, PATCH, DELETE /orgs/<org>/objects/<object>/<id>
    POST   /orgs/<org>/objects/<object>/batch/<create|update|delete|get>   {"items": [...]}
    POST   /orgs/<org>/objects/<object>/search           {"criteria": [...], "limit": n}
    GET    /orgs/<org>/objects, /orgs/<org>/objects/<object>/fields
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote

from tests.crm.faults import Fault, Faults
from tests.crm.state import CRM, MAX_BATCH, Call, Org, Refused, check_values

OBJECTS = ("Opportunity", "Contact", "Account")
#: Every object has these; a write to others is taken as well.
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "label": "Name", "type": "string", "required": True, "max_length": 255},
    {"name": "Amount", "label": "Amount", "type": "number"},
    {"name": "Views", "label": "Views", "type": "integer"},
    {"name": "OwnerEmail", "label": "Owner's Email", "type": "email"},
    {"name": "UpdatedAt", "label": "Updated at", "type": "datetime"},
    {"name": "Description", "label": "Description", "type": "text"},
    *({"name": f"Text{n}", "label": f"Text {n}", "type": "string"} for n in range(10)),
)
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LOST = (Fault.DROP_AFTER, Fault.DROP_MIDWAY, Fault.TIMEOUT_AFTER)


class Hang(Exception):
    """No answer: the connection is closed after so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: list[str]
    query: Mapping[str, str]
    token: str
    body: Any


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def read(stream: BinaryIO) -> Request | None:
    """The next request of a connection; None where the other side has closed it."""
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    length, token = 0, ""
    while (header := stream.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = header.partition(b":")
        match name.lower():
            case b"content-length":
                length = int(value)
            case b"authorization":
                token = value.strip().decode("latin-1").removeprefix("Bearer ")
    raw = stream.read(length) if length else b""
    if len(raw) < length:
        return None
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=[unquote(part) for part in path.strip("/").split("/")],
        query=dict(parse_qsl(query)) if query else {},
        token=token,
        body=json.loads(raw) if raw else {},
    )


def written(answer: Answer) -> bytes:
    """The answer as it goes over the wire, in one piece."""
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "\r\n"]
    return "\r\n".join(lines).encode("latin-1") + body


# -- what a tenant's calls do ---------------------------------------------------------------------


def _create(org: Org, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": org.create(name, item["values"], item["key"]).id}


def _update(org: Org, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": org.update(name, item["id"], item["values"]).id}


def _delete(org: Org, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": org.delete(name, item["id"]).id}


def _get(org: Org, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    return org.get(name, item["id"]).as_dict()


_ITEMS: dict[str, Callable[[Org, str, Mapping[str, Any]], dict[str, Any]]] = {
    "create": _create,
    "update": _update,
    "delete": _delete,
    "get": _get,
}
_METHODS = {"POST": "create", "PATCH": "update", "DELETE": "delete", "GET": "get"}


@dataclass(frozen=True, slots=True)
class Operation:
    """A call that was understood: its name, its object and its items."""

    name: str
    object: str
    items: list[Mapping[str, Any]]
    batch: bool = False


def understand(request: Request) -> Operation:
    """What a request below /orgs/<org>/ asks for; `Refused` where it makes no sense."""
    match request.method, request.path[2:]:
        case "GET", ["objects"]:
            return Operation("describe", "", [])
        case "GET", ["objects", name, "fields"] if name in OBJECTS:
            return Operation("describe", name, [])
        case "POST", ["objects", name]:
            return Operation("create", name, [request.body])
        case "GET", ["objects", name]:
            return Operation("find", name, [request.query])
        case "POST", ["objects", name, "search"]:
            return Operation("search", name, [request.body])
        case "POST", ["objects", name, "batch", operation] if operation in _ITEMS:
            items = request.body["items"]
            if not 1 <= len(items) <= MAX_BATCH:
                raise Refused(400, f"A batch has 1 to {MAX_BATCH} items, not {len(items)}.")
            return Operation(operation, name, items, batch=True)
        case method, ["objects", name, record_id] if method in ("GET", "PATCH", "DELETE"):
            return Operation(_METHODS[method], name, [{**request.body, "id": record_id}])
    raise Refused(404, "There is nothing here.")


def carry_out(org: Org, operation: Operation, items: list[Mapping[str, Any]]) -> Answer:
    """Do it, with the tenant's lock held."""
    name = operation.object
    match operation.name:
        case "describe":
            return Answer(200, [dict(f) for f in FIELDS] if name else list(OBJECTS))
        case "find":
            return Answer(200, [r.as_dict() for r in org.find(name, items[0].get("key", ""))])
        case "search":
            asked = items[0]
            found = org.search(name, asked["criteria"], int(asked.get("limit", 20)))
            return Answer(200, [r.as_dict() for r in found])
    if not operation.batch:
        done = _ITEMS[operation.name](org, name, items[0])
        return Answer(201 if operation.name == "create" else 200, done)
    return Answer(200, {"results": list(_batch(org, operation, items))})


def _batch(
    org: Org, operation: Operation, items: list[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    if org.faults.all_or_none and operation.name in ("create", "update"):
        for item in items:
            check_values(item.get("values", {}))
    seen: set[str] = set()
    for item in items:
        try:
            if (record_id := item.get("id")) is not None:
                if record_id in seen:
                    raise Refused(400, f"{record_id} is in this batch twice.")
                seen.add(record_id)
            yield _ITEMS[operation.name](org, operation.object, item)
        except Refused as refused:
            yield {"error": refused.as_dict()}


# -- the server ------------------------------------------------------------------------------------


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, for as long as it is kept alive."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], seed: str) -> None:
        self.crm = CRM(seed)
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that is killed in the middle of a call is what this is for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    # -- a tenant's call ------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """The answer to any request; `Hang` where there is none."""
        try:
            if request.path[0] == "admin":
                return self._administer(request)
            if request.path[0] != "orgs" or len(request.path) < 3:
                raise Refused(404, "There is nothing here.")
            return self._call(self.crm.org(request.path[1]), request)
        except Refused as refused:
            return Answer(refused.status, {"error": refused.as_dict()})
        except (KeyError, TypeError, ValueError) as error:
            return Answer(400, {"error": Refused(400, repr(error)).as_dict()})

    def _call(self, org: Org, request: Request) -> Answer:
        came, outcome = time.time(), "?"
        operation = understand(request)
        try:
            answer = self._befallen(org, request, operation, came)
            outcome = str(answer.status)
            return answer
        except Refused as refused:
            outcome = str(refused.status)
            raise
        except Hang as hang:
            outcome = str(hang.__cause__ or "cut off")
            raise
        finally:
            self.crm.journal.called(
                Call(came, org.name, operation.name, len(operation.items), outcome)
            )

    def _befallen(self, org: Org, request: Request, operation: Operation, now: float) -> Answer:
        """The answer after whatever goes wrong with this call has gone wrong."""
        with org.lock:
            refusal = _turned_away(org, request, now)
            fault = None if refusal else org.faults.draw(org.random)
            takes, hang = org.faults.takes(org.random), org.faults.hang
            if fault is Fault.EXPIRED:
                org.expired = True
            refusal = refusal or _refused(fault, org)
            headers = org.headers()
        if refusal is not None:
            return replace(refusal, headers={**headers, **refusal.headers})
        if fault in (Fault.DROP_BEFORE, Fault.TIMEOUT_BEFORE):
            raise Hang(hang if fault is Fault.TIMEOUT_BEFORE else 0) from Exception(fault)
        _pass(takes / 2)
        items = operation.items
        if fault is Fault.DROP_MIDWAY and operation.batch:
            items = items[: len(items) // 2]
        with org.lock:
            answer = carry_out(org, operation, items)
        if fault in _LOST:
            raise Hang(hang if fault is Fault.TIMEOUT_AFTER else 0) from Exception(fault)
        _pass(takes / 2)
        return replace(answer, headers=headers)

    # -- the tests' side ------------------------------------------------------------------------

    def _administer(self, request: Request) -> Answer:
        body, query, crm = request.body, request.query, self.crm
        after = int(query.get("after", 0))
        match request.method, request.path[1]:
            case "POST", "faults":
                crm.misbehave(Faults.parse(body["faults"]), body.get("org"))
            case "POST", "expire":
                crm.org(body["org"]).expired = True
            case "POST", "authorise":
                crm.org(body["org"]).authorise(body["token"])
            case "POST", "forget":
                crm.forget()
            case "GET", "counts":
                return Answer(200, crm.counts())
            case "GET", "journal":
                found = crm.journal.writes[after:]
                return Answer(200, [asdict(w) for w in found if _of(w.org, query)])
            case "GET", "calls":
                calls = crm.journal.calls[after:]
                return Answer(200, [asdict(c) for c in calls if _of(c.org, query)])
            case "GET", "records":
                held = [
                    {"org": org.name, **record.as_dict()}
                    for org in crm.orgs()
                    if _of(org.name, query)
                    for record in list(org.records.values())
                ]
                return Answer(200, held)
            case _:
                raise Refused(404, "There is nothing here.")
        return Answer(200, {})


def _turned_away(org: Org, request: Request, now: float) -> Answer | None:
    """The answer to a call that the tenant may not make now; None where it may."""
    if not org.accepts(request.token):
        return _refusal(401, "The token is not valid (any more).")
    wait = org.take_turn(now)
    if wait is None:
        return None
    return _refusal(429, "Too many calls.", {"Retry-After": f"{wait:.3f}"})


def _refused(fault: Fault | None, org: Org) -> Answer | None:
    """The answer of a fault that has one."""
    match fault:
        case Fault.RATE_LIMITED:
            said = {"Retry-After": f"{org.faults.retry_after:.3f}"}
            return _refusal(429, "Too many calls.", said)
        case Fault.UNAVAILABLE:
            return _refusal(503, "Down for maintenance.")
        case Fault.EXPIRED:
            return _refusal(401, "The token has expired.")
    return None


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"error": Refused(status, message).as_dict()}, headers or {})


def _pass(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


def _of(org: str, query: Mapping[str, str]) -> bool:
    return "org" not in query or query["org"] == org


class Handler(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.request.makefile("rb") as stream:
            while (request := read(stream)) is not None:
                try:
                    answer = self.server.answer(request)
                except Hang as hang:
                    if hang.seconds:
                        time.sleep(hang.seconds)
                    return
                self.request.sendall(written(answer))


def _end_with(parent: int) -> None:
    """A server whose tests were killed is of no use to anybody."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crm.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--seed", default="0", help="which calls the faults hit")
    parser.add_argument("--end-with-parent", action="store_true")
    options = parser.parse_args()
    if options.end_with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Server(("127.0.0.1", options.port), options.seed) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
