"""The settings of the worker processes that tests start: a CRM that may hang, and short leases."""

from __future__ import annotations

from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import XKIT_CRM

XKIT_CRM = {
    **XKIT_CRM,
    "LANE_LEASE": timedelta(seconds=1),
    "PROVIDERS": {"sandbox": "tests.delivery.hanging.HangingProvider"},
}
