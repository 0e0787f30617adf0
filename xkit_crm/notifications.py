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
import os
from datetime import timedelta
from typing import Any

import requests
from django.db import router, transaction
from django.utils import timezone
from requests.utils import get_environ_proxies

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
    after a dot, in base64. Raises `ValueError` for a secret that is none."""
    signed = f"{id}.{timestamp}.".encode() + body
    proof = hmac.digest(signing_key(secret), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(proof).decode()}"


def signing_key(secret: str) -> bytes:
    """What a secret signs with: one that begins with `whsec_` is base64. Raises `ValueError` for
    one that can't be decoded, or is empty: what it signed could be forged by everybody."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not key:
        raise ValueError("The secret is empty.")
    return key


def _send(one: Notification, tries: int) -> None:
    error = _told(one)
    one.status, one.error = NotificationStatus.DELIVERED, error
    if error:
        wait = RETRIES.wait(CRMUnavailable(error), tries)
        one.status = NotificationStatus.FAILED if wait is None else NotificationStatus.PENDING
        one.due_at = timezone.now() + (wait or timedelta())
        logger.warning("Notification %s (%s), try %d: %s", one.uuid, one.event_type, tries, error)
    Notification.objects.filter(pk=one.pk).update(status=one.status, error=error, due_at=one.due_at)


def _told(one: Notification) -> str:
    """Tell the endpoint; gives why it didn't hear, or nothing."""
    webhook: dict[str, Any] = settings.WEBHOOK
    body = json.dumps({"event_type": one.event_type, "payload": one.payload}).encode()
    told, timestamp = str(one.uuid), int(timezone.now().timestamp())
    try:
        proof = signature(webhook["secret"], id=told, timestamp=timestamp, body=body)
    except (AttributeError, KeyError, ValueError):
        return "It can't be signed: correct the secret of XKIT_CRM['WEBHOOK']."
    headers = {
        "Content-Type": "application/json",
        "webhook-id": told,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": proof,
    }
    try:
        with _session() as session:
            answer = session.post(
                webhook["url"],
                data=body,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
                proxies=get_environ_proxies(webhook["url"]),
            )
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are sent
        return f"No answer: {type(error).__name__}."
    return "" if answer.status_code < 300 else f"It answered {answer.status_code}."


def _session() -> requests.Session:
    """One that sends no password of a .netrc. The proxies and the certificates to trust are the
    environment's nevertheless."""
    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    return session
