"""When to try again: exponential backoff with full jitter, on top of what the CRM asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkit_crm.delivery.retry import Policy
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    PayloadInvalid,
    RateLimited,
    RejectedByCRM,
)

POLICY = Policy(max_attempts=12, base=timedelta(seconds=2), longest=timedelta(hours=1))
DOWN = CRMUnavailable("It is down.")


@given(st.integers(1, 11))
def test_the_wait_lies_between_nothing_and_a_ceiling_that_doubles(tries: int) -> None:
    wait = POLICY.wait(DOWN, tries)
    assert wait is not None
    assert timedelta() <= wait <= min(timedelta(seconds=2 * 2 ** (tries - 1)), POLICY.longest)


def test_waits_differ_so_that_what_failed_together_does_not_come_back_together() -> None:
    assert len({POLICY.wait(DOWN, 8) for _ in range(20)}) > 10


@given(st.floats(0, 10_000), st.integers(1, 11))
def test_what_the_crm_asks_for_is_never_undercut(seconds: float, tries: int) -> None:
    wait = POLICY.wait(RateLimited("Slow down.", retry_after=seconds), tries)
    assert wait is not None
    assert wait >= timedelta(seconds=seconds)


def test_after_the_last_try_there_is_no_wait() -> None:
    assert POLICY.wait(DOWN, 12) is None
    assert POLICY.wait(DOWN, 500) is None


@pytest.mark.parametrize("kind", [RejectedByCRM, CRMError, CRMUnauthorized, PayloadInvalid])
def test_what_will_not_pass_by_itself_is_not_tried_again(kind: type[CRMError]) -> None:
    assert POLICY.wait(kind("No."), 1) is None


def test_a_huge_number_of_tries_does_not_overflow() -> None:
    endless = Policy(max_attempts=10**6, base=timedelta(seconds=2), longest=timedelta(hours=1))
    assert endless.wait(DOWN, 10**5) is not None
