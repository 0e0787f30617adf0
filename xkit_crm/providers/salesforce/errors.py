"""What Salesforce's errors mean: lists of a message, a code and fields, in two spellings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)

#: What the vendor says of a record that isn't there, unless it names a field that points to it.
_GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID", "NOT_FOUND"})
_LATER = frozenset({"SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG"})
_SHUT = frozenset(
    {
        "API_CURRENTLY_DISABLED",
        "API_DISABLED_FOR_ORG",
        "INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
        "INVALID_SESSION_ID",
    }
)
#: Seconds to leave it alone when the day's calls are used up. They are counted over the last 24
#: hours, so that some come back all the time.
_USED_UP = 3600.0

#: Where a message names a field that `fields` doesn't.
_FIELD_IN_MESSAGE = re.compile(
    r"No such column '(\w+)'|duplicate value found: (\w+) duplicates", re.ASCII
)


def errors_in(body: Any) -> list[Mapping[str, Any]]:
    """The single errors: a list of them, or of results that have some."""
    found: list[Mapping[str, Any]] = []
    for one in body if isinstance(body, list) else ():
        if isinstance(one, Mapping):
            found += [one] if "errorCode" in one else one.get("errors") or []
    return found


def _code(error: Mapping[str, Any]) -> str:
    return str(error.get("errorCode") or error.get("statusCode") or "")


def sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{one.get('message', '')} ({_code(one)})" for one in errors)


def problems_in(errors: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """The fields at fault, unless it is the record's own id."""
    for one in errors:
        said = str(one.get("message") or _code(one))
        names = list(one.get("fields") or ())
        if not names and (found := _FIELD_IN_MESSAGE.search(said)):
            names = [found[1] or found[2]]
        yield from (Problem(name, said) for name in names if name.lower() != "id")


def known_error(message: str, errors: Sequence[Mapping[str, Any]]) -> CRMError | None:
    """The typed error, where the vendor's code says more than that it refuses."""
    code = _code(errors[0]) if errors else ""
    if code == "UNABLE_TO_LOCK_ROW":
        return RecordLocked(message)
    if code == "REQUEST_LIMIT_EXCEEDED":
        # The other one is of too many long requests at this moment.
        return RateLimited(message, retry_after=None if "Concurrent" in message else _USED_UP)
    if code in _LATER:
        return CRMUnavailable(message)
    if code in _SHUT:
        return CRMUnauthorized(message)
    if code in _GONE and not any(problems_in(errors)):
        return RemoteRecordNotFound(message)
    return None


def error_of(result: Mapping[str, Any]) -> CRMError | None:
    """What went wrong with one of many."""
    if result["success"]:
        return None
    errors = errors_in([result])
    message = f"Salesforce answered: {sentence(errors)}"
    return known_error(message, errors) or RejectedByCRM(message, errors=tuple(problems_in(errors)))
