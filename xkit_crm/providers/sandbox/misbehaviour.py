"""Misbehaviour: what the sandbox CRM does wrong when it is told to.

`provider` asks before and after each request. A timeout says the same whether or not the write
happened: that is the point of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from django.db.models import F, Q

from xkit_crm.exceptions import (
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    XkitError,
)
from xkit_crm.providers.sandbox.models import Misbehaviour, Operation, Org

Kind = Misbehaviour.Kind


@dataclass(frozen=True, slots=True)
class Strike:
    """What is still to happen to a request that was let in."""

    operation: Operation
    object_name: str
    after: XkitError | None = None
    locks: tuple[Misbehaviour, ...] = ()

    def lock(self) -> None:
        """Raise where the next record that the request writes is locked."""
        for row in self.locks:
            if _happens(row):
                raise _error(row, self.operation, self.object_name)


def strike(org: Org, operation: Operation, object_name: str) -> Strike:
    """Raise what happens instead of the request; gives what happens during and after it."""
    rows = Misbehaviour.objects.filter(
        Q(operation="") | Q(operation=operation),
        Q(object_name="") | Q(object_name=object_name),
        Q(remaining__isnull=True) | Q(remaining__gt=0),
        org=org,
        active=True,
    )
    locks = tuple(row for row in rows if row.kind == Kind.LOCKED_RECORD)
    for row in rows:
        if row in locks or not _happens(row):
            continue
        error = _error(row, operation, object_name)
        if row.kind == Kind.TIMEOUT_AFTER:
            return Strike(operation, object_name, error, locks)
        raise error
    return Strike(operation, object_name, None, locks)


def _happens(row: Misbehaviour) -> bool:
    """Whether it does this time; takes one of the times left, which others take too."""
    if random.random() >= row.rate:  # noqa: S311 - no secret
        return False
    if row.remaining is None:
        return True
    left = Misbehaviour.objects.filter(pk=row.pk, remaining__gt=0)
    return left.update(remaining=F("remaining") - 1) > 0


def _error(row: Misbehaviour, operation: Operation, object_name: str) -> XkitError:
    match row.kind:
        case Kind.RATE_LIMIT:
            return RateLimited(
                "The CRM answered 429: too many requests.", retry_after=row.retry_after or 1
            )
        case Kind.EXPIRED_TOKEN:
            return CRMUnauthorized("The CRM answered 401: the token has expired.")
        case Kind.LOCKED_RECORD:
            return RecordLocked(
                f"The CRM could not lock the {object_name} record.", retry_after=row.retry_after
            )
        case Kind.TIMEOUT_BEFORE | Kind.TIMEOUT_AFTER:
            return CRMUnavailable(
                "The CRM did not answer in time.", outcome_unknown=operation.writes
            )
    return CRMUnavailable(
        "The CRM answered 503: it is down for maintenance.", retry_after=row.retry_after
    )
