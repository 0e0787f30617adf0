"""What goes wrong in the loopback CRM, how often, and what it allows.

Set while it runs (`POST /admin/faults`), for one tenant or for all. Which call is hit is drawn
from the tenant's own seeded generator, so the same calls in the same order meet the same faults.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


class Fault(enum.StrEnum):
    """What may befall a call."""

    RATE_LIMITED = "rate_limited"  # 429 with Retry-After, nothing written
    UNAVAILABLE = "unavailable"  # 503, nothing written
    EXPIRED = "expired"  # 401 from now on, until the tenant is authorised again
    DROP_BEFORE = "drop_before"  # the connection is closed, nothing written
    DROP_MIDWAY = "drop_midway"  # closed with the first half of a batch written
    DROP_AFTER = "drop_after"  # closed with all of it written
    TIMEOUT_BEFORE = "timeout_before"  # no answer for `hang` seconds, nothing written
    TIMEOUT_AFTER = "timeout_after"  # no answer for `hang` seconds, all of it written


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Rates are the share of calls that is hit, from 0 to 1; at most one fault hits a call."""

    rates: Mapping[Fault, float] = field(default_factory=dict)
    #: Seconds that a call takes, half of them before the write and half after; up to `jitter` more.
    latency: float = 0.0
    jitter: float = 0.0
    #: Seconds after which a call that is never answered is cut off.
    hang: float = 2.0
    #: What `Retry-After` says where a call is hit by RATE_LIMITED.
    retry_after: float = 0.1
    #: Calls that are allowed in each window of `per` seconds; None: as many as come.
    calls: int | None = None
    per: float = 1.0
    #: Calls that are allowed in a day, or in `quota_per` seconds.
    quota: int | None = None
    quota_per: float = 86_400.0
    #: Whether one item that is refused makes the CRM refuse the whole batch.
    all_or_none: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Read what the admin endpoint is sent; an unknown name is a mistake in a test."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        rates = {Fault(name): float(rate) for name, rate in data.get("rates", {}).items()}
        return cls(**{**data, "rates": rates})

    def draw(self, source: random.Random) -> Fault | None:
        """What befalls the next call, or None."""
        if not self.rates:
            return None
        left = source.random()
        for fault, rate in self.rates.items():
            left -= rate
            if left < 0:
                return fault
        return None

    def takes(self, source: random.Random) -> float:
        """How many seconds the next call takes."""
        return self.latency + (self.jitter * source.random() if self.jitter else 0.0)
