"""When to try again: plain decisions from an error and the number of tries."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from xkit_crm.exceptions import XkitError


@dataclass(frozen=True, slots=True)
class Policy:
    """How often, and how long apart."""

    max_attempts: int
    base: timedelta
    longest: timedelta

    def wait(self, error: XkitError, tries: int) -> timedelta | None:
        """How long to wait before the next try; None where there is none.

        Exponential backoff with full jitter: anywhere between nothing and base * 2^(tries-1), so
        that what failed together doesn't come back together. `retry_after` is obeyed on top.
        """
        if not error.retryable or tries >= self.max_attempts:
            return None
        ceiling: timedelta = min(self.longest, self.base * 2 ** min(tries - 1, 30))
        wait: timedelta = ceiling * random.random()  # noqa: S311 - jitter, no secret
        if error.retry_after is not None:
            wait += timedelta(seconds=error.retry_after)
        return wait
