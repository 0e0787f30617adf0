"""The sandbox CRM of the Celery processes that tests start."""

from __future__ import annotations

from tests.delivery.hanging import HangingProvider


class OneByOne(HangingProvider):
    """Takes one record in a call, as many vendors do, and may hang in each."""

    batch_size = 1
