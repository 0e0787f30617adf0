"""How fast one lane may call its CRM: a token bucket, the CRM's own word, its daily quota, and a
circuit breaker.

Plain data and arithmetic. `lanes.py` reads it with the lane and writes it back when the lane is
given up; as only one worker is ever in a lane, all processes share it without asking anybody
between two calls.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from xkit_crm.providers.base import Limits, Usage

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


#: The gauge's parts, by the names of the lane's columns.
COLUMNS = ("tokens", "tokens_at", "quota", "quota_left", "quota_resets_at", "failures")


def wait(gauge: Gauge, limits: Limits, *, reserve: int, now: datetime) -> timedelta:
    """How long to wait before the next call; nothing where it may be made now.

    `reserve` is the share of the daily quota, in per cent, that is left to others.
    """
    pause = _until_quota(gauge, reserve=reserve, now=now)
    tokens = available(gauge, limits, now=now)
    if tokens is not None and tokens < 1:
        missing = (1 - tokens) / _rate(limits) if limits.calls else 0.0
        since = max(gauge.tokens_at or now, now)
        pause = max(pause, since - now + timedelta(seconds=missing))
    return pause


def available(gauge: Gauge, limits: Limits, *, now: datetime) -> float | None:
    """How many calls the bucket has now; None where nobody counts."""
    if limits.calls is None:
        # Only the CRM's word, until the moment it named.
        waits = gauge.tokens is not None and gauge.tokens_at is not None and gauge.tokens_at > now
        return gauge.tokens if waits else None
    most = float(limits.burst or limits.calls)
    if gauge.tokens is None or gauge.tokens_at is None:
        return most
    passed = max((now - gauge.tokens_at).total_seconds(), 0.0)
    return min(most, gauge.tokens + passed * _rate(limits))


def spend(gauge: Gauge, limits: Limits, usage: Usage, *, requests: int, now: datetime) -> None:
    """Take `requests` from the bucket, and correct it by what the CRM said of itself."""
    tokens = available(gauge, limits, now=now)
    gauge.tokens = None if tokens is None else tokens - requests
    gauge.tokens_at = max(now, gauge.tokens_at or now)
    if usage.left is not None and (gauge.tokens is None or usage.left < gauge.tokens):
        # Others call the same CRM with the same account: it knows better. Where the provider
        # declares no limit, only "none left" says anything.
        if usage.left == 0:
            gauge.tokens, gauge.tokens_at = 0.0, max(now, usage.resets_at or now)
        elif limits.calls is not None:
            gauge.tokens = float(usage.left)
    if usage.quota_left is not None:
        gauge.quota, gauge.quota_left = usage.quota or gauge.quota, usage.quota_left
        gauge.quota_resets_at = usage.quota_resets_at or now + QUOTA_PAUSE


def _rate(limits: Limits) -> float:
    return (limits.calls or 0) / limits.per


def _until_quota(gauge: Gauge, *, reserve: int, now: datetime) -> timedelta:
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
