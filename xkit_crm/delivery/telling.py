"""Telling the product of invocations that have come to their end, where it listens."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router

from xkit_crm import signals
from xkit_crm.models import Invocation


def ended(invocations: Iterable[Invocation]) -> None:
    """Tell of these once the transaction is committed; where nobody listens they aren't read."""
    if not signals.invocation_finished.has_listeners(Invocation):
        return
    using = router.db_for_write(Invocation)
    for invocation in invocations:
        signals.send_on_commit(
            signals.invocation_finished, Invocation, using=using, invocation=invocation
        )


def ended_where(**criteria: object) -> None:
    """Tell of those that were just settled without being read. Costs a query where anybody
    listens."""
    ended(Invocation.objects.select_related("event", "connection").filter(**criteria))
