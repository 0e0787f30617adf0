"""How fast one lane may call its CRM: a token bucket, the CRM's own word, its daily quota, and a
circuit breaker.

Plain data and arithmetic. `lanes.py` reads it with the lane and writes it back when the lane is
given up; as only one worker is ever in a lane, all processes share it without asking anybody
between two calls.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from xkit_crm.exceptions import LONGEST_WAIT
from xkit_crm.providers.base import Limits, Usage

#: So few calls left may not be enough for what is begun next.
SCARCE = 3
#: The largest number that a lane's column holds on every database.
MOST = 2**31 - 1
#: When a quota is taken to be renewed where the CRM didn't say.
QUOTA_PAUSE = timedelta(hours=1)


@dataclass(slots=True)
class Gauge:
    """What may be called yet, and how the last calls went."""

    tokens: float | None = None
    tokens_at: datetime | None = None
    quota: int | None = None
    quota_left: int | None = None
    quota_resets_at: datetime | None = None
    #: Calls in a row that found the CRM unavailable.
    failures: int = 0
    call_seconds: float | None = None


#: The gauge's parts, by the names of the lane's columns.
COLUMNS = tuple(field.name for field in fields(Gauge))


def wait(gauge: Gauge, limits: Limits, *, reserve: int, now: datetime, calls: int = 1) -> timedelta:
    """How long to wait before the next `calls`; nothing where they may be made now.

    `reserve` is the share of the daily quota, in per cent, that is left to others.
    """
    pause = until_quota(gauge, reserve=reserve, now=now)
    tokens = available(gauge, limits, now=now)
    wanted = min(calls, burst(limits)) if limits.calls else calls
    if tokens is not None and tokens < wanted:
        missing = (wanted - tokens) / _rate(limits) if limits.calls else 0.0
        since = max(gauge.tokens_at or now, now)
        pause = max(pause, since - now + timedelta(seconds=missing))
    return pause


def available(gauge: Gauge, limits: Limits, *, now: datetime) -> float | None:
    """How many calls the bucket has now; None where nobody counts."""
    if limits.calls is None:
        # Only the CRM's word, until the moment it named.
        waits = gauge.tokens is not None and gauge.tokens_at is not None and gauge.tokens_at > now
        return gauge.tokens if waits else None
    most = burst(limits)
    if gauge.tokens is None or gauge.tokens_at is None:
        return most
    passed = max((now - gauge.tokens_at).total_seconds(), 0.0)
    return min(most, gauge.tokens + passed * _rate(limits))


def spend(gauge: Gauge, limits: Limits, usage: Usage, *, requests: int, now: datetime) -> None:
    """Take `requests` from the bucket, and correct it by what the CRM said of itself."""
    tokens = available(gauge, limits, now=now)
    gauge.tokens = None if tokens is None else tokens - requests
    gauge.tokens_at = max(now, gauge.tokens_at or now)
    longest = now + timedelta(seconds=LONGEST_WAIT)
    # Others call the same CRM with the same account: it knows better.
    if (left := _kept(usage.left)) is not None:
        known = limits.calls is not None
        gauge.tokens = min(gauge.tokens or 0.0, float(left)) if known else float(left)
        if left < SCARCE or not known:
            # What is left has to last until the CRM counts anew.
            gauge.tokens_at = max(now, min(usage.resets_at or now, longest))
    if (quota_left := _kept(usage.quota_left)) is not None:
        gauge.quota, gauge.quota_left = _kept(usage.quota) or gauge.quota, quota_left
        gauge.quota_resets_at = min(usage.quota_resets_at or now + QUOTA_PAUSE, longest)


def _kept(said: object) -> int | None:
    """What a provider says is left, as the lane's columns hold it; None where it is no number.

    A CRM may count below nothing, and a provider hand on what it was told as it is.
    """
    try:
        return min(max(int(said), 0), MOST)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):
        return None


def burst(limits: Limits) -> float:
    """The tokens of a full bucket: how many calls may be made at once."""
    calls = limits.calls or 0
    return float(max(calls // 10, 1) if limits.burst is None else limits.burst)


def _rate(limits: Limits) -> float:
    """Tokens a second. Where the vendor counts calls in a window and declares no burst, a full
    bucket and what is refilled in one window are what it allows, and no more."""
    calls = limits.calls or 0
    kept = 0.0 if limits.burst is not None or calls == 1 else burst(limits)
    return (calls - kept) / limits.per


def until_quota(gauge: Gauge, *, reserve: int, now: datetime) -> timedelta:
    """How long until the daily quota allows more; nothing where it does now."""
    resets_at = gauge.quota_resets_at
    if gauge.quota_left is None or resets_at is None or resets_at <= now:
        return timedelta()
    kept = (gauge.quota or 0) * reserve / 100
    return timedelta() if gauge.quota_left > kept else resets_at - now


# -- the circuit breaker --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Breaker:
    """Leave a CRM alone that is down: after `threshold` failures in a row it is called once in a
    while only, with twice the pause each time, until a call goes well."""

    threshold: int
    base: timedelta
    longest: timedelta

    def is_open(self, gauge: Gauge) -> bool:
        """Whether the CRM is taken to be down: then one call at a time finds out."""
        return gauge.failures >= self.threshold

    def pause(self, gauge: Gauge) -> timedelta:
        """How long to leave it alone after the last failure."""
        if not self.is_open(gauge):
            return timedelta()
        doublings = min(gauge.failures - self.threshold, 30)
        ceiling: timedelta = min(self.longest, self.base * 2**doublings)
        # Half of it for sure, so that it is a pause; the rest by chance, so that the lanes of a
        # vendor that was down don't come back at once.
        return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter, no secret
