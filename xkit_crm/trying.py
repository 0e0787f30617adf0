"""Trying an event: an operator sees what it would send, sends it for real, and sees the answer.

The admin's pages draw what is given here. What is sent goes through the one door like anything
else; CRM Link's own "try it" is of a mapping that nobody has confirmed, and makes no invocation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from xkit_crm import catalogue, invoking, records
from xkit_crm.conf import settings
from xkit_crm.delivery.explaining import Explanation, explain
from xkit_crm.exceptions import ConfigurationError, InProgress, WrongEventType, XkitError
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Attempt, Connection, Invocation
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import Source
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.registry import provider_for
from xkit_crm.sync import examples
from xkit_crm.sync.examples import Example
from xkit_crm.sync.links import links

#: Attempts that an answer tells, the last ones.
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be tried: nothing of it is checked yet."""

    connection: Connection
    event: catalogue.Event
    payload: Mapping[str, Any]
    #: The record of an update or delete; empty where none is named.
    record_id: str = ""
    #: The row of the product that the payload was taken from, where it was.
    row: models.Model | None = None

    @property
    def record(self) -> str | None:
        return self.record_id if self.event.type.needs_record else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What trying it would do. With an `error` nothing would be sent."""

    action: str = ""
    #: The remote object, the record or the workflow.
    target: str = ""
    written: tuple[records.Written, ...] = ()
    #: What the record that would be deleted holds: labels and values.
    held: tuple[tuple[str, Any], ...] = ()
    error: XkitError | None = None
    #: Whether the connection only rehearses, so that nothing would be sent now.
    is_shadow: bool = False

    @property
    def does_nothing(self) -> bool:
        """Whether the customer decided that this event does nothing."""
        return self.error is None and self.action == ActionType.NOOP


def example(connection: Connection, event: catalogue.Event, key: str) -> Example | None:
    """The row that is named with its payload; None where the connection has none of it."""
    return examples.example(key, event, connection) if key else None


def plan(wish: Wish) -> Plan:
    """What sending it now would do, in the CRM's own labels. Writes nothing."""
    try:
        _require_new(wish)
        request = invoking.read(
            wish.connection, wish.event.crm_object, wish.event.slug, wish.payload, wish.record
        )
        decision = invoking.admit(request)
        provider = provider_for(wish.connection)
        found = records.preview_of(
            provider, wish.connection, decision, request.payload, wish.record
        )
        if decision.action.action == ActionType.WORKFLOW:
            described = decision.inputs(provider)
        else:
            described = decision.fields(provider) if decision.needs_fields else {}
        held: Mapping[str, Any] = {}
        if decision.action.action == ActionType.DELETE and decision.read_fields:
            ref = RecordRef.parse(wish.record_id)
            held = provider.get(ref, decision.read_fields).values
    except XkitError as error:
        return Plan(error=error, is_shadow=wish.connection.shadow)
    return Plan(
        found.action,
        found.target,
        tuple(records.written(found, described)),
        tuple((described[n].label if n in described else n, v) for n, v in held.items()),
        is_shadow=wish.connection.shadow,
    )


def send(wish: Wish, *, key: str) -> tuple[Invocation, bool]:
    """Send it for real, once for each key; gives the invocation, and whether it was sent before.

    It is carried out before this returns where it can be, as by `xkit_crm.invoke`; what can be
    tried again is tried by the worker. Raises what `invoke` raises at the door.
    """
    if settings.REMOTE:
        raise ConfigurationError(
            "Events are fired in another deployment from here.",
            hint='Try it in the admin of that deployment: XKIT_CRM["REMOTE"] names it.',
        )
    earlier = Invocation.objects.filter(idempotency_key=key)
    if not earlier.exists():
        _require_new(wish)
    request = invoking.read(
        wish.connection, wish.event.crm_object, wish.event.slug, wish.payload, wish.record
    )
    try:
        return invoking.put(
            request, source=Source.ADMIN, idempotency_key=key, instance=_linked_to(wish)
        )
    except InProgress:
        return earlier.get(), True


def _linked_to(wish: Wish) -> models.Model | None:
    """A record that is made of a row is the row's, or its next change would make another."""
    return wish.row if wish.event.type == EventType.CREATE else None


def _require_new(wish: Wish) -> None:
    row = _linked_to(wish)
    if row is None:
        return
    known = links(row).filter(
        connection_id=wish.connection.pk, crm_object__slug=wish.event.crm_object
    )
    if (link := known.first()) is not None:
        raise WrongEventType(
            f"{row} is in this CRM already, as {link.record_id}.",
            hint="Try an event that updates it, or fill in other values by hand.",
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an invocation so far."""

    invocation: Invocation
    attempts: Sequence[Attempt]
    #: Where it stands, and what happens next.
    explained: Explanation
    record_id: str
    #: The record's page in the CRM; empty where there is none.
    record_url: str

    @property
    def is_coming(self) -> bool:
        """Whether there will soon be more to say."""
        return not self.invocation.is_final and not self.invocation.connection.shadow


def answer(invocation: Invocation) -> Answer:
    """What came of it so far. It needs its connection and event."""
    attempts = list(invocation.attempts.order_by("-number")[:ATTEMPTS])
    url = records.url_of(invocation.connection, invocation.record_id)
    return Answer(invocation, attempts[::-1], explain(invocation), invocation.record_id, url)
