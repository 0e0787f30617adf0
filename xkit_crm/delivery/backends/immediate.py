"""Carry out in the process that saved, right after the commit. For development and small products.

The caller waits for the CRM. What has to be tried again later waits in the database, until the
next invocation of its lane or `manage.py xkit_worker` comes by.
"""

from __future__ import annotations

from collections.abc import Sequence

from xkit_crm.delivery.drain import drain


def poke(connection_ids: Sequence[str]) -> None:
    """Drain these lanes now."""
    for connection_id in connection_ids:
        drain(connection_id)
