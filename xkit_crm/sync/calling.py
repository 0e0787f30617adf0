"""Call a CRM outside of any lane without being a burden to it.

Backfill and the deep reconciliation read many records, a person in the admin a few; what they ask
goes through here: no faster than was asked for or than the vendor allows, leaving the customer's
other tools the share of the quota that is theirs, and waiting where the CRM says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from django.utils import timezone

from xkit_crm.connections import break_off
from xkit_crm.delivery import rate as limiting
from xkit_crm.exceptions import CRMUnauthorized, CRMUnavailable, RateLimited, XkitError
from xkit_crm.models import Connection
from xkit_crm.providers.base import Provider
from xkit_crm.providers.registry import provider_for
from xkit_crm.redaction import redact

#: Times that one call is made before the CRM is taken to be down.
TRIES = 8
#: The longest wait between two of them, in seconds, where the CRM names none.
LONGEST_WAIT = 60.0
#: A person who waits for a quota to be renewed had better come back later.
PATIENCE = timedelta(minutes=15)

_Result = TypeVar("_Result")


class Caller:
    """Makes the calls to one connection's CRM. `rate` is in calls per second, `tries` how often
    one call is made before the CRM is taken to be down."""

    def __init__(
        self,
        connection: Connection,
        *,
        rate: float | None = None,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = timezone.now,
    ) -> None:
        self.follow(connection)
        self._tries, self._sleep, self._now = tries, sleep, now
        self._interval = timedelta(seconds=1 / rate) if rate else timedelta()
        self._next = now()
        self._gauge = limiting.Gauge()

    def follow(self, connection: Connection) -> None:
        """Call the CRM as the connection has it now."""
        self.provider: Provider = provider_for(connection)
        self._connection = connection

    def __call__(self, call: Callable[[], _Result]) -> _Result:
        """What the call gives; made again where the CRM is busy or away.

        Raises the `CRMError` branch, without the connection's credentials in its words. Refused
        credentials break the connection off, as they do in a lane.
        """
        tries = 0
        while True:
            self._wait_for_turn()
            tries += 1
            try:
                return self._made(call)
            except (RateLimited, CRMUnavailable) as error:
                wait = error.retry_after or min(2.0**tries, LONGEST_WAIT)
                if tries == self._tries or wait > PATIENCE.total_seconds():
                    raise self._shown(error) from None
                self._sleep(wait)
            except CRMUnauthorized as error:
                shown = self._shown(error)
                break_off(self._connection, shown.message)
                raise shown from None
            except XkitError as error:
                raise self._shown(error) from None

    def _made(self, call: Callable[[], _Result]) -> _Result:
        usage = self.provider.usage
        before = usage.requests
        try:
            return call()
        finally:
            limiting.spend(
                self._gauge,
                self.provider.limits,
                usage,
                requests=max(usage.requests - before, 1),
                now=self._now(),
            )

    def _wait_for_turn(self) -> None:
        now = self._now()
        reserve = self._connection.quota_reserve
        wait = limiting.wait(self._gauge, self.provider.limits, reserve=reserve, now=now)
        if wait > PATIENCE:
            raise RateLimited(
                f"The quota of this CRM that is ours is used up until {now + wait:%Y-%m-%d %H:%M}"
                " UTC.",
                hint="Run it again then; it goes on where it stopped.",
                retry_after=wait.total_seconds(),
            )
        wait = max(wait, self._next - now)
        if wait > timedelta():
            self._sleep(wait.total_seconds())
        self._next = max(self._next, self._now()) + self._interval

    def _shown(self, error: XkitError) -> XkitError:
        """The same error without the connection's secrets."""
        secrets = self._connection.credentials
        return type(error)(
            redact(error.message, secrets),
            hint=redact(error.hint, secrets),
            errors=error.errors,
            retry_after=error.retry_after,
        )
