"""Who makes things go wrong: kills, outages, expired tokens, and a CRM that changes its moods.

Each kind of trouble has its own seeded source of chance and its own clock, so that one more kill
changes nothing of the rest.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

import xkit_crm
from tests.chaos.options import Options
from tests.chaos.processes import Workers, Writers
from tests.chaos.services import Database, flush_redis
from tests.crm.control import TOKEN, CRMControl
from xkit_crm.connections import set_status
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Connection, Lane
from xkit_crm.models.connection import ConnectionStatus

logger = logging.getLogger(__name__)

#: Seconds after which the adapter gives a call up; the CRM hangs longer.
TIMEOUT = 0.4
#: Between two looks at what is going on.
TICK = 0.05

#: The moods of the CRM, each as likely as the others.
MOODS: tuple[dict[str, Any], ...] = (
    {},
    {"latency": 0.02, "jitter": 0.05},
    {
        "rates": {
            "unavailable": 0.03,
            "rate_limited": 0.02,
            "drop_before": 0.02,
            "drop_midway": 0.02,
            "drop_after": 0.03,
            "timeout_after": 0.01,
        },
        "latency": 0.005,
        "hang": 0.6,
    },
    {"rates": {"drop_after": 0.2, "drop_midway": 0.1}, "latency": 0.01},
    {"rates": {"timeout_before": 0.05, "timeout_after": 0.1}, "hang": 0.6},
    {"rates": {"rate_limited": 0.3}, "retry_after": 0.2},
    {"rates": {"unavailable": 0.7}},
    {"calls": 10, "per": 0.5, "latency": 0.005},
    {"rates": {"expired": 0.02, "drop_after": 0.05}},
)


@dataclass(slots=True)
class Orphan:
    """A lane whose holder was killed, until somebody else has it."""

    lane: str
    holder: str
    since: float
    #: Something else kept it: a pause that the CRM asked for, the database, no worker left.
    excused: bool = False


@dataclass(slots=True)
class Delays:
    """How long lanes stood still after their holder was killed, in seconds."""

    waiting: list[Orphan] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    excused: int = 0

    def killed(self, pid: int) -> None:
        """Note which lanes this process has left behind."""
        for lane, holder in Lane.objects.filter(holder__contains=f"/{pid}/").values_list(
            "pk", "holder"
        ):
            self.waiting.append(Orphan(lane, holder, time.monotonic()))

    def look(self) -> None:
        """See which of them have moved."""
        if not self.waiting:
            return
        now = time.monotonic()
        lanes = {
            lane.pk: lane
            for lane in Lane.objects.select_related("connection").filter(
                pk__in=[orphan.lane for orphan in self.waiting]
            )
        }
        still = []
        for orphan in self.waiting:
            lane = lanes[orphan.lane]
            orphan.excused |= lane.paused_until is not None or not lane.connection.is_enabled
            if lane.holder == orphan.holder:
                still.append(orphan)
            elif orphan.excused:
                self.excused += 1
            else:
                self.seconds.append(now - orphan.since)
        self.waiting = still

    def excuse(self) -> None:
        """The database was away, or no worker was there: nobody could have moved them."""
        for orphan in self.waiting:
            orphan.excused = True


class Conductor:
    """Runs until as many were killed and changed as was asked for; then `calm`."""

    def __init__(
        self,
        options: Options,
        workers: Workers,
        writers: Writers,
        crm: CRMControl,
        database: Database,
    ) -> None:
        self.options, self.workers, self.writers = options, workers, writers
        self.crm, self.database = crm, database
        self.delays = Delays()
        self.trouble: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._stored: dict[str, str] = {}
        self._refused_since: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._chance = {name: options.random(name) for name in self._clocks()}

    def _clocks(self) -> dict[str, tuple[float, Callable[[random.Random], None]]]:
        """Each kind of trouble: how many seconds apart on average, and what it does."""
        pace = self.options.pace
        return {
            "worker killed": (pace, self._kill_worker),
            "writer killed": (pace * 5, self._kill_writer),
            "mood": (1.5, self._change_mood),
            "token expired": (4.0, self._expire),
            "database away": (20.0 if self.options.database == "own" else 12.0, self._interrupt),
            "Redis flushed": (3.0, self._flush),
        }

    def run(self, tell: Callable[[str], None]) -> None:
        """Make trouble until kills and changes are done."""
        begun = told = time.monotonic()
        for name, (pause, _) in self._clocks().items():
            self._due[name] = begun + pause * self._chance[name].uniform(0.5, 1.5)
        while True:
            written = self.writers.replace()
            self.workers.replace()
            if written and self.workers.kills >= self.options.kills:
                return
            now = time.monotonic()
            for name, (pause, work) in self._clocks().items():
                if now >= self._due[name]:
                    chance = self._chance[name]
                    self._due[name] = now + pause * chance.uniform(0.1, 1.9)
                    self._try(lambda work=work, chance=chance: work(chance))  # type: ignore[misc]
            if not any(place.warm for place in self.workers.places):
                self.delays.excuse()
            self._try(self.delays.look)
            self._try(self._authorise)
            if now - told > 10:
                told = now
                tell(f"{now - begun:5.0f} s: {self.workers.kills} kills, {self.state()}")
            time.sleep(TICK)

    def calm(self) -> None:
        """Nothing goes wrong any more, and every connection is authorised."""
        self.crm.faults()
        for org in self.orgs():
            self.crm.faults(org)
            self._renew(org)

    def renew_errored(self) -> list[str]:
        """Authorise again what is errored; gives which connections were."""
        errored = Connection.objects.filter(status=ConnectionStatus.ERRORED)
        found = list(errored.values_list("pk", flat=True))
        return [org for org in found if self._renew(org)]

    def orgs(self) -> list[str]:
        return [f"org-{number}" for number in range(self.options.connections)]

    def state(self) -> str:
        """What there is to do, in a few words."""
        from xkit_crm.models import Invocation

        try:
            waiting = Invocation.objects.filter(status__in=("pending", "running")).count()
        except (DatabaseError, InterfaceError):
            connection.close()
            return "the database is away"
        return f"{waiting} waiting"

    def _try(self, work: Callable[[], None]) -> None:
        """What fails since the database is away is tried again at the next tick."""
        try:
            work()
        except (DatabaseError, InterfaceError):
            connection.close()
            self.delays.excuse()

    # -- trouble --------------------------------------------------------------------------------

    def _kill_worker(self, chance: random.Random) -> None:
        if self.workers.kills >= self.options.kills:
            return
        victim = self.workers.kill_one(chance)
        if victim is not None:
            self.trouble["worker killed"] += 1
            self.delays.killed(victim.pid)

    def _kill_writer(self, chance: random.Random) -> None:
        self.writers.kill_one(chance)
        self.trouble["writer killed"] += 1

    def _change_mood(self, chance: random.Random) -> None:
        org = chance.choice([None, *self.orgs()])
        mood = chance.choice(MOODS)
        for each in self.orgs() if org is None else [org]:
            self.crm.faults(each, **mood)

    def _expire(self, chance: random.Random) -> None:
        self.crm.expire(chance.choice(self.orgs()))
        self.trouble["token expired"] += 1

    def _interrupt(self, chance: random.Random) -> None:
        self.trouble["database away"] += 1
        self.delays.excuse()
        self.database.interrupt()
        connection.close()
        self.delays.excuse()

    def _flush(self, chance: random.Random) -> None:
        if self.options.engine != "worker":
            flush_redis()
            self.trouble["Redis flushed"] += 1

    def _authorise(self) -> None:
        """What a customer does some time after they were told that their CRM is cut off."""
        chance, now = self._chance["token expired"], time.monotonic()
        errored = Connection.objects.filter(status=ConnectionStatus.ERRORED)
        for org in errored.values_list("pk", flat=True):
            since = self._refused_since.setdefault(org, now + chance.uniform(0.0, 1.5))
            if now >= since and self._renew(org, again=chance.random() < 0.7):
                del self._refused_since[org]

    def _renew(self, org: str, *, again: bool = True) -> bool:
        """Authorise with a new token, or switch on the connection with its old one."""
        if not again:
            self.crm.authorise(org, self._stored.get(org, TOKEN))
            set_status(Connection.objects.get(pk=org), ConnectionStatus.ENABLED)
            return True
        self.tokens[org] += 1
        token = f"{TOKEN}-{self.tokens[org]}"
        self.crm.authorise(org, token)
        credentials = self.crm.credentials(org, token, timeout=TIMEOUT)
        provider = Connection.objects.get(pk=org).provider
        try:
            xkit_crm.connect(org, provider=provider, credentials=credentials)
        except XkitError as error:
            logger.debug("%s is not connected yet: %s", org, error)
            return False
        self._stored[org] = token
        return True
