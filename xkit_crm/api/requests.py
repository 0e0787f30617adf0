"""Reading a request: the JSON body within its limits, and the headers that ask for behaviour."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from uuid import uuid4

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from xkit_crm.conf import settings
from xkit_crm.exceptions import Malformed, Problem, TooLarge
from xkit_crm.invoking import require_key

#: Levels of nesting that a body may have.
MAX_DEPTH = 64
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,200}")


class JSONBody(BaseParser):
    """Reads any body as JSON: curl sends forms unless told otherwise, and means JSON here."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.MAX_BODY_BYTES
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise TooLarge(
                f"The body is larger than {limit} bytes.",
                hint='Send less, or raise XKIT_CRM["MAX_BODY_BYTES"].',
            )
        return read_json(raw)


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def read_json(raw: bytes) -> Any:
    """The value of a JSON text; raises `Malformed`."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_not_json)
    except RecursionError:
        raise Malformed(
            "The body is nested too deeply.", hint=f"Up to {MAX_DEPTH} levels."
        ) from None
    except ValueError as error:
        raise Malformed(
            f"The body isn't JSON: {error}.", hint="Send a JSON object in UTF-8."
        ) from None
    if _deeper_than(value, MAX_DEPTH):
        raise Malformed("The body is nested too deeply.", hint=f"Up to {MAX_DEPTH} levels.")
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in inner)


def payload_of(body: Any) -> dict[str, Any]:
    """The payload in an invoke request's body; raises `Malformed` with every problem."""
    hint = 'Send {"payload": {...}}.'
    if not isinstance(body, dict):
        raise Malformed("The body isn't an object.", hint=hint)
    problems = [
        Problem(key, "unknown; the body has one key, payload") for key in body if key != "payload"
    ]
    if "payload" not in body:
        problems.insert(0, Problem("payload", "missing"))
    elif not isinstance(body["payload"], dict):
        problems.insert(0, Problem("payload", "isn't an object"))
    if problems:
        raise Malformed("The body isn't what an event takes.", hint=hint, errors=problems)
    payload: dict[str, Any] = body["payload"]
    return payload


@dataclass(frozen=True, slots=True)
class Preference:
    """The `Prefer` header (RFC 7240): answer at once, or wait so many seconds."""

    respond_async: bool = False
    wait: float | None = None

    @classmethod
    def of(cls, header: str) -> Preference:
        asked = [part.strip().lower() for part in header.replace(";", ",").split(",")]
        waits = [part.partition("=")[2].strip(' "') for part in asked if part.startswith("wait")]
        seconds = [min(float(wait), settings.WAIT_TIMEOUT) for wait in waits if wait.isdecimal()]
        return cls("respond-async" in asked, seconds[0] if seconds else None)


def idempotency_key_of(request: HttpRequest) -> str | None:
    """The `Idempotency-Key` header; raises `Malformed` where it is empty or too long."""
    return require_key(request.headers.get("Idempotency-Key"))


def request_id_of(request: HttpRequest) -> str:
    """The caller's `X-Request-ID` where it is harmless, or a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid4())
