"""Webhooks to the product's own endpoint: a connection was enabled, disabled, broke off.

`XKIT_CRM["WEBHOOK"]` names the address and the secret. A notification is written in the transaction
that changes the connection, and sent at least once, perhaps out of order, with up to twenty retries
from fifteen seconds to about three weeks. The body is the reference product's, the signature that
of Standard Webhooks (https://www.standardwebhooks.com), which has libraries to check it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from datetime import timedelta
from typing import Any

import requests
from django.db import router, transaction
from django.utils import timezone

from xkit_crm.conf import settings
from xkit_crm.delivery.retry import Policy
from xkit_crm.exceptions import CRMUnavailable
from xkit_crm.models import Connection, Notification
from xkit_crm.models.notification import NotificationStatus

logger = logging.getLogger(__name__)

RETRIES = Policy(max_attempts=21, base=timedelta(seconds=15), longest=timedelta(days=12))
#: Seconds that the endpoint may take, and how long nobody else tries meanwhile.
TIMEOUT = 10.0
IN_HAND = timedelta(seconds=60)


def notify(connection: Connection) -> None:
    """Write down that the endpoint is to be told of the connection's status."""
    if settings.WEBHOOK is None:
        return
    Notification.objects.create(
        event_type=f"connection.{connection.status}",
        payload={
            "connector_slug": connection.provider,
            "context_external_id": connection.context,
            "connection_external_id": connection.pk,
            "reason": connection.status_reason,
        },
    )
    if settings.DELIVERY == "immediate":
        using = router.db_for_write(Notification)
        transaction.on_commit(send_due, using=using, robust=True)


def send_due(*, limit: int = 100) -> int:
    """Send what is due, oldest first; gives how many were taken. Costs one query where none is."""
    if settings.WEBHOOK is None:
        return 0
    due = Notification.objects.filter(
        status=NotificationStatus.PENDING, due_at__lte=timezone.now()
    ).order_by("due_at", "id")[:limit]
    sent = 0
    for one in list(due):
        # Taken for a while: if two look at once, or one dies, it is sent once, or later again.
        mine = Notification.objects.filter(pk=one.pk, due_at=one.due_at, tries=one.tries)
        if mine.update(due_at=timezone.now() + IN_HAND, tries=one.tries + 1):
            _send(one, one.tries + 1)
            sent += 1
    return sent


def signature(secret: str, *, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002
    """What `webhook-signature` has to be: `v1,` and the HMAC-SHA256 of id, timestamp and body, each
    after a dot, in base64. A secret that begins with `whsec_` is base64 itself."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def _send(one: Notification, tries: int) -> None:
    webhook: dict[str, Any] = settings.WEBHOOK
    body = json.dumps({"event_type": one.event_type, "payload": one.payload}).encode()
    told, timestamp = str(one.uuid), int(timezone.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": told,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(webhook["secret"], id=told, timestamp=timestamp, body=body),
    }
    try:
        answer = requests.post(
            webhook["url"], data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
        )
        error = "" if answer.status_code < 300 else f"It answered {answer.status_code}."
    except requests.RequestException as raised:
        error = f"No answer: {type(raised).__name__}."
    one.status, one.error = NotificationStatus.DELIVERED, error
    if error:
        wait = RETRIES.wait(CRMUnavailable(error), tries)
        one.status = NotificationStatus.FAILED if wait is None else NotificationStatus.PENDING
        one.due_at = timezone.now() + (wait or timedelta())
        logger.warning("Notification %s (%s), try %d: %s", told, one.event_type, tries, error)
    Notification.objects.filter(pk=one.pk).update(status=one.status, error=error, due_at=one.due_at)
