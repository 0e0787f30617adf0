"""A line to one CRM: what carrying out needs to know of a lane for a short while, and its calls.

Every request to a CRM goes through here while a lane is held, so that each is counted against the
customer's limits (`rate.py`), and a CRM that is down is left alone.
"""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from django.utils import timezone

from xkit_crm import tracing
from xkit_crm.conf import settings
from xkit_crm.delivery import rate, statements
from xkit_crm.delivery.decisions import Decision, Decisions
from xkit_crm.delivery.lanes import Hold
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RecordLocked,
)
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Connection
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RecordRef, RemoteField, Workflow
from xkit_crm.providers.registry import provider_for

_Item = TypeVar("_Item")

#: Invocations that are looked at together: the fewest and the most, and how many calls' worth at
#: least, or the seconds that these take.
WINDOW = 50
WINDOW_MAX = 1000
CALLS = 5
LOOK_AHEAD = 0.25
#: A shorter wait for the bucket is slept through; a longer one is another lane's time.
NAP = timedelta(seconds=0.05)
#: Seconds that what is known of the connection is good for, between two calls.
KNOWN = 1.0
#: How long to leave a CRM alone at least that asks for it and names no time.
PAUSE = timedelta(seconds=1)


class Line:
    """The connection, what its customer decided, its provider, and the lane in hand."""

    def __init__(
        self,
        connection: Connection,
        hold: Hold,
        *,
        decisions: Decisions | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self.connection = connection
        self.hold = hold
        self.go_on = go_on
        self._known_since = time.monotonic()
        self.decisions = decisions or Decisions(connection.pk)
        self._descriptions: dict[str, Any] = {}
        self._missing: dict[Decision, list[Problem]] = {}

    @cached_property
    def provider(self) -> Provider:
        """Raises `ConfigurationError`."""
        return provider_for(self.connection)

    @property
    def is_probing(self) -> bool:
        """Whether the CRM is taken to be down, so that one call has to find out."""
        return bool(self.hold.gauge.failures) and _breaker().is_open(self.hold.gauge)

    def may_call(self, calls: int = 1) -> bool:
        """Whether so many more calls shall be made now: the lane is still ours, nobody asked to
        stop or to leave the CRM alone, the connection is as it was, and its limits allow it. Sleeps
        through a short wait; a longer one pauses the lane."""
        if not self.go_on() or self.hold.paused_until or self._is_another():
            return False
        wait = self._wait(calls)
        if timedelta() < wait <= NAP:
            time.sleep(wait.total_seconds())
        elif wait:
            self.hold.pause(timezone.now() + wait)
        return not self.hold.paused_until and self.hold.renew() and bool(self.hold)

    def _is_another(self) -> bool:
        """Whether the connection was switched off meanwhile, put into the shadow, made again or
        mapped otherwise: where calls take long, much was looked at before. A query each second."""
        now = time.monotonic()
        if now - self._known_since < KNOWN:
            return False
        found = statements.connection(self.connection.pk)
        if found is None or _state(found[0]) != _state(self.connection):
            return True
        self._known_since = now
        return False

    def _wait(self, calls: int) -> timedelta:
        return rate.wait(
            self.hold.gauge,
            self.provider.limits,
            reserve=self.connection.quota_reserve,
            now=timezone.now(),
            calls=calls,
        )

    def room(self) -> int:
        """How many invocations to look at together: what several calls take, or as many calls as
        the limits allow now; one where it has to be found out whether the CRM is back."""
        if self.is_probing:
            return 1
        try:
            batch, limits = self.provider.batch_size, self.provider.limits
        except ConfigurationError:
            return WINDOW
        calls = max(CALLS, self.calls_in(LOOK_AHEAD))
        size = max(WINDOW, min(WINDOW_MAX, batch * calls))
        tokens = rate.available(self.hold.gauge, limits, now=timezone.now())
        return size if tokens is None else min(size, batch * max(int(tokens), 1))

    def calls_in(self, seconds: float) -> int:
        """How many calls are made in that time, if the CRM is as fast as it was last; 1 at
        least, and no more where that is not known yet."""
        last = self.hold.gauge.call_seconds
        return 1 if last is None else max(int(seconds / max(last, 0.001)), 1)

    def fields(self, decision: Decision) -> dict[str, RemoteField]:
        """The fields of the decision's remote object, asked for once."""
        found: dict[str, RemoteField] = _told(self._fields(decision))
        return found

    def inputs(self, decision: Decision) -> dict[str, RemoteField]:
        """The inputs of the decision's workflow, asked for once."""
        workflow: Workflow | None = _told(self._workflow(decision))
        return {field.name: field for field in workflow.inputs} if workflow else {}

    def can_be_asked(self, operation: str, remote_object: str) -> bool:
        """Whether the CRM can say what an earlier create or workflow has made, found out once.

        True where that can't be told now: then it has to answer before anything is made again.
        """
        if operation == ActionType.WORKFLOW:
            return self.provider.can_find_created
        found = self._described(
            f"created {remote_object}", lambda: self.provider.finds_created(remote_object)
        )
        return found is not False

    def missing(self, decision: Decision) -> list[Problem]:
        """What the customer has still to decide before this may be carried out, found out once.

        Nothing where the CRM can't be asked: then whoever needs its answer is told why.
        """
        if decision not in self._missing:
            self._missing[decision] = self._find_missing(decision)
        return self._missing[decision]

    def _find_missing(self, decision: Decision) -> list[Problem]:
        fields = workflow = None
        if decision.action.action == ActionType.WORKFLOW:
            workflow = self._workflow(decision)
        elif decision.action.action != ActionType.DELETE and decision.needs_fields:
            fields = self._fields(decision)
            if self._is_no_object(fields, decision.remote_object):
                gone = f"the CRM has no object {decision.remote_object!r} any more"
                return [Problem("remote_object", gone)]
        if isinstance(fields, Exception) or isinstance(workflow, Exception):
            return []
        return decision.missing_by(fields=fields, workflow=workflow)

    def _is_no_object(self, fields: Any, name: str) -> bool:
        """Whether its fields can't be told because there is no such object."""
        if not isinstance(fields, CRMError) or fields.retryable:
            return False
        if isinstance(fields, CRMUnauthorized):
            return False
        known = self._described("objects", lambda: descriptions.objects(self.provider))
        return not isinstance(known, Exception) and name not in {one.name for one in known}

    def _fields(self, decision: Decision) -> Any:
        return self._described(
            f"fields {decision.remote_object}", lambda: decision.fields(self.provider)
        )

    def _workflow(self, decision: Decision) -> Any:
        return self._described(
            f"workflow {decision.action.workflow}", lambda: decision.workflow(self.provider)
        )

    def _described(self, what: str, describe: Callable[[], Any]) -> Any:
        """What the CRM says of itself, or what came of asking it; asked for once."""
        if what not in self._descriptions:
            before = self.provider.usage.requests
            try:
                found = describe()
            except Exception as raised:  # noqa: BLE001 - told for each that needs it
                found = raised
            # Mostly it is remembered, and says nothing of how the CRM is now.
            if self.provider.usage.requests > before or isinstance(found, Exception):
                self._count(before)
                self._note([found])
            self._descriptions[what] = found
        return self._descriptions[what]

    # -- calls ------------------------------------------------------------------------------------

    def ask(self, count: int, call: Callable[[], Sequence[Any]]) -> list[Any]:
        """Make a call about `count` items; gives an answer for each: what the provider gave, or
        the exception. What the call itself raised is the (same) answer for all."""
        before, began = self.provider.usage.requests, time.monotonic()
        try:
            with tracing.calling(self.connection, count):
                answers = list(call())
            if len(answers) != count:
                raise TypeError(f"{count} items and {len(answers)} answers")
        # An adapter's defect is an answer too, and so is that it cancels what it awaits.
        except (Exception, CancelledError) as raised:  # noqa: BLE001
            answers = [raised] * count
        self.hold.gauge.call_seconds = time.monotonic() - began
        self._count(before)
        self._note(answers)
        return answers

    def write(self, count: int, call: Callable[[], Sequence[Any]]) -> list[Any]:
        """The same for a call that changes something. It is not made where the lane is lost, since
        who took it may be making it: a process can stand still at any moment, for any time."""
        if self.hold or self.hold.renew():
            return self.ask(count, call)
        lost = RateLimited(
            "The lane was lost to another worker before it was sent.",
            hint="That one goes on with it.",
        )
        return [lost] * count

    def _count(self, before: int) -> None:
        """Take what was called since from the bucket."""
        usage = self.provider.usage
        rate.spend(
            self.hold.gauge,
            self.provider.limits,
            usage,
            requests=max(usage.requests - before, 1),
            now=timezone.now(),
        )

    def one(self, call: Callable[[], Any]) -> Any:
        """The same for a call about one thing."""
        return self.ask(1, lambda: [call()])[0]

    def get(self, refs: Sequence[RecordRef], names: Sequence[str]) -> list[Any]:
        """Each record, or the exception; `batch_size` at most."""
        if len(refs) == 1:
            return [self.one(lambda: self.provider.get(refs[0], names))]
        return self.ask(len(refs), lambda: self.provider.get_many(refs, names))

    def _note(self, answers: Sequence[Any]) -> None:
        """Learn from the answers whether the CRM is well."""
        now, gauge = timezone.now(), self.hold.gauge
        if limited := next((a for a in answers if isinstance(a, RateLimited)), None):
            if after := limited.retry_after:
                self.hold.pause(now + timedelta(seconds=after))
            else:
                # It names no moment, or one that is over: asked at once, it would say the same.
                gauge.failures += 1
                self.hold.pause(now + max(PAUSE, _breaker().pause(gauge)))
        elif all(isinstance(answer, RecordLocked) for answer in answers):
            return  # that says nothing of the others
        elif all(isinstance(answer, CRMUnavailable) for answer in answers):
            gauge.failures += 1
            if pause := _breaker().pause(gauge):
                self.hold.pause(now + pause)
        else:
            gauge.failures = 0


def _state(connection: Connection) -> tuple[str | bool, ...]:
    """What says whether, and where, anything is sent: who connects again gets another key."""
    leads_to = (connection.provider, connection.description_key)
    return (connection.status, connection.shadow, *leads_to)


def _told(found: Any) -> Any:
    """The description itself; raises what came of asking instead."""
    if isinstance(found, Exception):
        raise found
    return found


def chunks(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    """The items in parts of `size` at most."""
    left = iter(items)
    while some := list(islice(left, max(size, 1))):
        yield some


def _breaker() -> rate.Breaker:
    return rate.Breaker(
        settings.BREAKER_THRESHOLD,
        timedelta(seconds=settings.RETRY_BASE),
        settings.BREAKER_PAUSE_MAX,
    )
