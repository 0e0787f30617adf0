"""Django signals that a product can listen to.

All are sent after the change is in the database, with `send_robust`: a receiver that fails is
logged and stops nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

logger = logging.getLogger(__name__)

#: sender=Connection; connection, old_status, new_status, reason
connection_status_changed = Signal()
#: sender=Invocation; invocation, in one of its end states
invocation_finished = Signal()
#: sender=RecordLink; link, created
record_linked = Signal()


def send_on_commit(signal: Signal, sender: type, *, using: str, **named: Any) -> None:
    """Tell every receiver once the transaction in this database is committed."""
    transaction.on_commit(partial(send, signal, sender, **named), using=using)


def send(signal: Signal, sender: type, **named: Any) -> None:
    """Tell every receiver, and log those that fail."""
    for receiver, answer in signal.send_robust(sender=sender, **named):
        if isinstance(answer, Exception):
            logger.error("Receiver %r failed.", receiver, exc_info=answer)
