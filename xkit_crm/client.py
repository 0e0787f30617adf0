"""XkitClient: speaks the HTTP contract to another deployment.

For a product that is a thin client of a central one, by hand or through XKIT_CRM["REMOTE"]. Errors
come back as the classes of `exceptions.py`, as they would from a local call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from xkit_crm import __version__
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnavailable,
    Malformed,
    XkitError,
    from_dict,
)
from xkit_crm.schema import to_json

if TYPE_CHECKING:
    from xkit_crm.models import Invocation

#: Statuses that say: nothing is wrong with the request, come back later.
_PASSING = frozenset({429, 502, 503, 504})


class XkitClient:
    """One deployment, one key, one pooled session; safe to share between threads.

    `timeout` is (connect, read) in seconds. A request is sent again (`retries` times, waiting as
    the answer says, `max_wait` seconds at most) only where that can't do the work twice: reads,
    and invocations, which carry an idempotency key.
    """

    def __init__(
        self,
        base_url: str,
        publishable_key: str,
        secret_key: str,
        *,
        timeout: tuple[float, float] = (5.0, 40.0),
        retries: int = 2,
        max_wait: float = 10.0,
        session: requests.Session | None = None,
    ) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise ConfigurationError(
                f"{base_url!r} is no address of a deployment.",
                hint="Give where its API is mounted, such as https://crm.example.com/api/v1.",
            )
        self.base_url = base_url.rstrip("/")
        self.timeout, self.retries, self.max_wait = timeout, retries, max_wait
        self.session = session or _session()
        self.session.auth = (publishable_key, secret_key)

    def __repr__(self) -> str:
        return f"XkitClient({self.base_url!r})"

    def invoke(
        self,
        connection: str,
        crm_object: str,
        event: str,
        payload: Mapping[str, Any],
        record: str | None = None,
        *,
        idempotency_key: str | None = None,
        wait: bool = True,
    ) -> dict[str, Any]:
        """Fire an event; gives the answer: `record` (or `records`) and `invocation`.

        Without `wait` it answers as soon as the invocation is stored. Without an idempotency key
        one is made, so that a retry after a lost answer doesn't do the work twice. Raises the
        `XkitError` that the deployment answered, `CRMUnavailable` where it can't be reached.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        if not wait:
            headers["Prefer"] = "respond-async"
        path = _path(connection, crm_object, record) + f"/events/{_quote(event)}"
        return self._request("POST", path, {"payload": to_json(payload)}, headers=headers)

    def invocation(
        self,
        connection: str,
        crm_object: str,
        event: str,
        payload: Mapping[str, Any],
        **named: Any,
    ) -> Invocation:
        """The same as an (unsaved) `Invocation`, as the local `invoke()` gives one."""
        # Not at import: the client is of use without Django's apps, too.
        from xkit_crm.models import Invocation
        from xkit_crm.models.invocation import InvocationStatus

        made = Invocation(connection_id=connection, payload=payload)
        try:
            answer = self.invoke(connection, crm_object, event, payload, **named)
        except XkitError as error:
            if not isinstance(error, CRMError):
                raise
            unknown = error.outcome_unknown
            made.status = InvocationStatus.UNKNOWN if unknown else InvocationStatus.FAILED
            made.error_code, made.error_detail = error.code, error.as_dict()
            return made
        made.uuid, made.status = answer["invocation"]["id"], answer["invocation"]["status"]
        found = answer.get("records", [answer["record"]] if answer.get("record") else [])
        made.result = {"records": found}
        made.record_id = found[0]["id"] if len(found) == 1 else ""
        return made

    def preview(
        self,
        connection: str,
        crm_object: str,
        event: str,
        payload: Mapping[str, Any],
        record: str | None = None,
    ) -> dict[str, Any]:
        """What firing the event would send; writes nothing."""
        path = _path(connection, crm_object, record) + f"/events/{_quote(event)}/preview"
        return self._request("POST", path, {"payload": to_json(payload)})

    def record(self, connection: str, crm_object: str, record: str) -> dict[str, Any]:
        """One record with its mapped fields: `{"record": {...}}`."""
        return self._request("GET", _path(connection, crm_object, record))

    def connection(self, connection: str) -> dict[str, Any]:
        """One connection: its provider and status."""
        return self._request("GET", f"crm/connections/{_quote(connection)}")

    def connections(self, context: str | None = None) -> list[dict[str, Any]]:
        """Every connection that the key may see, of one owner or of all."""
        query = "" if context is None else f"&context={_quote(context)}"
        return self._pages(f"crm/connections?limit=200{query}")

    def _pages(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        url: str | None = path
        while url:
            page = self._request("GET", url)
            found += page["results"]
            following = page.get("next")
            # Only the query is followed: the rest is ours to know.
            url = f"{path.partition('?')[0]}?{following.partition('?')[2]}" if following else None
        return found

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, allow_nan=False)
        for remaining in range(self.retries, -1, -1):
            try:
                return self._send(method, path, data, headers or {})
            except XkitError as error:
                wait = min(error.retry_after or 0.2, self.max_wait)
                if not remaining or not error.retryable:
                    raise
                if error.retry_after is not None and error.retry_after > self.max_wait:
                    raise
                time.sleep(wait)
        raise AssertionError("the last try either answers or raises")

    def _send(
        self, method: str, path: str, data: str | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        url = f"{self.base_url}/{path}"
        try:
            response = self.session.request(
                method,
                url,
                data=data,
                headers={"Content-Type": "application/json", **headers},
                timeout=self.timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            if _was_not_sent(error):
                raise CRMUnavailable(
                    f"{self.base_url} can't be reached: {type(error).__name__}.",
                    hint="Check the address and the network.",
                ) from error
            raise CRMUnavailable(
                f"{self.base_url} did not answer: {type(error).__name__}.",
                hint="Send it again with the same idempotency key.",
                outcome_unknown=method != "GET",
            ) from error
        return _answer(response)


def _was_not_sent(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been done."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=32)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = f"xkit_crm/{__version__}"
    session.headers["Accept"] = "application/json"
    return session


def _answer(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and response.ok:
        return body
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        raised = from_dict(error, status=response.status_code)
        after = response.headers.get("Retry-After", "")
        if raised.retry_after is None and after.isdecimal():
            raised.retry_after = float(after)
        raise raised
    kind = CRMUnavailable if response.status_code in _PASSING else CRMError
    if 400 <= response.status_code < 500 and kind is CRMError:
        raise Malformed(
            f"{response.url} answered {response.status_code} without an error body.",
            hint="Check that the base address is where its API is mounted.",
        )
    raise kind(f"{response.url} answered {response.status_code} without a body of ours.")


def _quote(part: str) -> str:
    return quote(part, safe="")


def _path(connection: str, crm_object: str, record: str | None) -> str:
    path = f"crm/{_quote(connection)}/objects/{_quote(crm_object)}"
    return path if record is None else f"{path}/{_quote(record)}"
