"""What log lines carry beside their words, the same everywhere: for `extra=`.

A formatter that writes JSON makes fields of them; `docs/monitoring.md` has the table. Ids alone,
never payloads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xkit_crm.models import Invocation


def about(invocation: Invocation) -> dict[str, Any]:
    """The fields of a line about an invocation."""
    return {
        "invocation": str(invocation.uuid),
        "connection": invocation.connection_id,
        "provider": invocation.connection.provider,
        "event": invocation.event.slug,
        "status": str(invocation.status),
        "tries": invocation.tries,
        "error_code": invocation.error_code,
        "request_id": invocation.request_id,
    }


def of(connection_id: str) -> dict[str, Any]:
    """The fields of a line about a connection or its lane."""
    return {"connection": connection_id}
