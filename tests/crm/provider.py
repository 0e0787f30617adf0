"""The adapter to the loopback CRM, written as one to a vendor's HTTP API is.

Credentials: `{"url": ..., "org": ..., "token": ...}`, and `timeout` in seconds where the default
doesn't fit. The variants at the end differ in what their vendor is said to be able to do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import requests

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers.base import (
    Criterion,
    Draft,
    Edit,
    Limits,
    Provider,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
)

#: Seconds until a call that is not answered is given up.
TIMEOUT = 5.0

_local = threading.local()


def _session() -> requests.Session:
    """This thread's own, with its connections kept alive; a forked process makes a new one."""
    if getattr(_local, "pid", None) != os.getpid():
        session = requests.Session()
        session.trust_env = False  # no proxy to this machine, and no look at the environment
        _local.session, _local.pid = session, os.getpid()
    found: requests.Session = _local.session
    return found


class LoopbackProvider(Provider):
    slug = "loopback"
    label = "Loopback CRM"
    batch_size = 200

    def describe_objects(self) -> Sequence[RemoteObject]:
        return [RemoteObject(name, name, f"{name}s") for name in self._call("GET", "")]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        described = self._call("GET", f"{_path(remote_object)}/fields")
        return [RemoteField(**{**field, "type": RemoteType(field["type"])}) for field in described]

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        return _record(self._call("GET", _path(ref.remote_object, ref.crm_id)), fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        asked = [
            {"field": c.field, "operator": str(c.operator), "value": c.value} for c in criteria
        ]
        body = {"criteria": asked, "limit": limit}
        found = self._call("POST", f"{_path(remote_object)}/search", body)
        return [_record(item, fields) for item in found]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        body = {"values": values, "key": key}
        made = self._call("POST", _path(remote_object), body, writes=True)
        return RecordRef(remote_object, made["id"])

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        found = self._call("GET", f"{_path(remote_object)}?key={quote(key, safe='')}")
        return RecordRef(remote_object, found[0]["id"]) if found else None

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        path = _path(ref.remote_object, ref.crm_id)
        self._call("PATCH", path, {"values": values}, writes=True)

    def delete(self, ref: RecordRef) -> None:
        self._call("DELETE", _path(ref.remote_object, ref.crm_id), writes=True)

    # -- many at once ---------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        if self.batch_size == 1:
            return super().create_many(remote_object, drafts)
        items = [{"values": draft.values, "key": draft.key} for draft in drafts]
        return [
            _refusal(result) or RecordRef(remote_object, result["id"])
            for result in self._batch(remote_object, "create", items)
        ]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        if self.batch_size == 1:
            return super().update_many(edits)
        items = [{"id": edit.ref.crm_id, "values": edit.values} for edit in edits]
        return [_refusal(r) for r in self._batch(edits[0].ref.remote_object, "update", items)]

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        if self.batch_size == 1:
            return super().delete_many(refs)
        items = [{"id": ref.crm_id} for ref in refs]
        return [_refusal(r) for r in self._batch(refs[0].remote_object, "delete", items)]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        if self.batch_size == 1:
            return super().get_many(refs, fields)
        items = [{"id": ref.crm_id} for ref in refs]
        results = self._batch(refs[0].remote_object, "get", items, writes=False)
        return [_refusal(result) or _record(result, fields) for result in results]

    def _batch(
        self, remote_object: str, operation: str, items: Sequence[Any], *, writes: bool = True
    ) -> Sequence[dict[str, Any]]:
        path = f"{_path(remote_object)}/batch/{operation}"
        results: list[dict[str, Any]] = self._call("POST", path, {"items": items}, writes=writes)[
            "results"
        ]
        return results

    # -- one request ----------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None, *, writes: bool = False) -> Any:
        access = self.access.credentials
        self.usage.requests += 1
        try:
            response = _session().request(
                method,
                f"{access['url']}/orgs/{quote(access['org'], safe='')}/objects{path}",
                json=body,
                headers={"Authorization": f"Bearer {access['token']}"},
                timeout=access.get("timeout", TIMEOUT),
            )
        except requests.exceptions.RequestException as error:
            raise CRMUnavailable(
                f"The CRM did not answer: {type(error).__name__}.",
                outcome_unknown=writes and not _never_arrived(error),
            ) from error
        self._note(response.headers)
        if response.ok:
            return response.json()
        raise _error(response)

    def _note(self, headers: Mapping[str, str]) -> None:
        usage = self.usage
        if "X-RateLimit-Remaining" in headers:
            usage.left = int(headers["X-RateLimit-Remaining"])
            usage.resets_at = _moment(headers["X-RateLimit-Reset"])
        if "X-Quota-Remaining" in headers:
            usage.quota = int(headers["X-Quota-Limit"])
            usage.quota_left = int(headers["X-Quota-Remaining"])
            usage.quota_resets_at = _moment(headers["X-Quota-Reset"])


def _path(remote_object: str, crm_id: str | None = None) -> str:
    path = f"/{quote(remote_object, safe='')}"
    return path if crm_id is None else f"{path}/{quote(crm_id, safe='')}"


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(float(seconds), tz=UTC)


def _record(item: Mapping[str, Any], fields: Sequence[str]) -> RemoteRecord:
    values = item["values"]
    ref = RecordRef(item["object"], item["id"])
    return RemoteRecord(ref, {name: values.get(name) for name in fields})


def _never_arrived(error: requests.exceptions.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been written."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ == "NewConnectionError"


def _error(response: requests.Response) -> CRMError:
    """The typed error of an answer that is none of the good ones."""
    try:
        said = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = {"message": response.reason, "problems": []}
    retry_after = response.headers.get("Retry-After")
    return _typed(response.status_code, said, float(retry_after) if retry_after else None)


def _refusal(result: Mapping[str, Any]) -> CRMError | None:
    """The error of one item of a batch; None where it was carried out."""
    said = result.get("error")
    return _typed(said["status"], said) if said else None


def _typed(status: int, said: Mapping[str, Any], retry_after: float | None = None) -> CRMError:
    message = f"The CRM answered {status}: {said['message']}"
    match status:
        case 401:
            return CRMUnauthorized(message)
        case 404:
            return RemoteRecordNotFound(message)
        case 422:
            problems = [Problem(p["field"], p["text"]) for p in said["problems"]]
            return RejectedByCRM(message, errors=problems)
        case 429:
            return RateLimited(message, retry_after=retry_after)
        case 503:
            return CRMUnavailable(message, retry_after=retry_after)
    return CRMError(message)


# -- other vendors ---------------------------------------------------------------------------------


class SingleLoopbackProvider(LoopbackProvider):
    """One record a call."""

    slug = "loopback-single"
    batch_size = 1


class BlindLoopbackProvider(LoopbackProvider):
    """Can't be asked what an earlier create made."""

    slug = "loopback-blind"
    can_find_created = False

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        raise AssertionError("this CRM can't be asked")


class LimitedLoopbackProvider(LoopbackProvider):
    """Allows twenty calls a second, and says so."""

    slug = "loopback-limited"
    limits: ClassVar[Limits] = Limits(calls=20, per=1.0)


#: For `XKIT_CRM["PROVIDERS"]`.
PROVIDERS = {
    found.slug: f"{found.__module__}.{found.__qualname__}"
    for found in (
        LoopbackProvider,
        SingleLoopbackProvider,
        BlindLoopbackProvider,
        LimitedLoopbackProvider,
    )
}
