"""What products use in their own tests.

`deliver()` does what the worker would: in a `TestCase` nothing is ever committed, so nothing is
delivered by itself.
"""

from __future__ import annotations


def deliver() -> int:
    """Carry out every invocation that is due now; gives how many were."""
    from xkit_crm.delivery.worker import Worker  # it needs Django; the servers beside it don't
    from xkit_crm.sync import triggers

    triggers.mark_now()
    return Worker().run_once()


__all__ = ["deliver"]
