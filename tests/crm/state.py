"""The loopback CRM itself: organisations, their records, and the journal of every write.

Plain Python in memory, so that it outlives the database that is restarted under the product.
`server.py` speaks HTTP in front of it, `faults.py` says when it misbehaves. Like most CRMs it
knows nothing of idempotency: a create that is sent twice makes two records, with the same marker.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.crm.faults import Faults

#: The most items of one batch call.
MAX_BATCH = 200
#: What no record may be called, so that one item of a batch can be refused.
POISON = "poison"


class Refused(Exception):
    """An item that can't be carried out: the HTTP status, and what is wrong with which field."""

    def __init__(self, status: int, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.problems = status, message, problems

    def as_dict(self) -> dict[str, Any]:
        problems = [{"field": name, "text": text} for name, text in self.problems]
        return {"status": self.status, "message": self.message, "problems": problems}


@dataclass(frozen=True, slots=True)
class Write:
    """One line of the journal. `number` is the order in which the CRM wrote, over all tenants."""

    number: int
    at: float
    org: str
    object: str
    record: str
    key: str
    operation: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when it came, what it was for, how many items it had, what came of it."""

    at: float
    org: str
    operation: str
    items: int
    outcome: str


@dataclass(slots=True)
class Record:
    id: str
    object: str
    key: str
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Org:
    """One tenant. Whoever reads or changes it holds `lock`."""

    def __init__(self, name: str, seed: str, faults: Faults, journal: Journal) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.random = random.Random(f"{seed}/{name}")
        self.faults = faults
        self.journal = journal
        self.token: str | None = None
        self.expired = False
        self.window_ends = 0.0
        self.window_left = 0
        self.quota_ends = 0.0
        self.quota_left = 0
        self.records: dict[tuple[str, str], Record] = {}
        self.marked: dict[tuple[str, str], list[Record]] = {}

    # -- one item -------------------------------------------------------------------------------

    def create(self, object_name: str, values: Mapping[str, Any], key: str) -> Record:
        """Make a record; `key` marks it for `find`."""
        check_values(values)
        record = Record(self.journal.next_id(), object_name, key, dict(values))
        self.records[object_name, record.id] = record
        self.marked.setdefault((object_name, key), []).append(record)
        self._write("create", record, values)
        return record

    def update(self, object_name: str, record_id: str, values: Mapping[str, Any]) -> Record:
        """Write fields of a record; the others stay."""
        record = self.get(object_name, record_id)
        check_values(values)
        record.values.update(values)
        self._write("update", record, values)
        return record

    def delete(self, object_name: str, record_id: str) -> Record:
        """Delete a record, for good."""
        record = self.get(object_name, record_id)
        del self.records[object_name, record_id]
        self.marked[object_name, record.key].remove(record)
        self._write("delete", record, {})
        return record

    def get(self, object_name: str, record_id: str) -> Record:
        """The record; `Refused` with 404 where there is none."""
        found = self.records.get((object_name, record_id))
        if found is None:
            raise Refused(404, f"There is no {object_name} {record_id}.")
        return found

    def find(self, object_name: str, key: str) -> list[Record]:
        """The records that were created with this key, oldest first."""
        return list(self.marked.get((object_name, key), ()))

    def search(
        self, object_name: str, criteria: Sequence[Mapping[str, Any]], limit: int
    ) -> list[Record]:
        """Records that meet every criterion, newest first."""
        found = (
            record
            for (name, _), record in reversed(self.records.items())
            if name == object_name and all(_meets(record, criterion) for criterion in criteria)
        )
        return list(itertools.islice(found, limit))

    def _write(self, operation: str, record: Record, values: Mapping[str, Any]) -> None:
        self.journal.write(self.name, record.object, record.id, record.key, operation, dict(values))

    # -- whether it may be called ---------------------------------------------------------------

    def accepts(self, token: str) -> bool:
        """Whether the token is the tenant's own; the first one that comes is."""
        if self.token is None:
            self.token = token
        return not self.expired and token == self.token

    def authorise(self, token: str) -> None:
        """From now on this token is good, and no other."""
        self.token, self.expired = token, False

    def take_turn(self, now: float) -> float | None:
        """Count one call against the window and the day's quota; None where it may be made,
        otherwise how many seconds to wait."""
        faults = self.faults
        if faults.calls is not None:
            if now >= self.window_ends:
                self.window_ends, self.window_left = now + faults.per, faults.calls
            if self.window_left <= 0:
                return self.window_ends - now
            self.window_left -= 1
        if faults.quota is not None:
            if now >= self.quota_ends:
                self.quota_ends, self.quota_left = now + faults.quota_per, faults.quota
            if self.quota_left <= 0:
                return self.quota_ends - now
            self.quota_left -= 1
        return None

    def headers(self) -> dict[str, str]:
        """What the CRM says of its limits beside each answer."""
        said: dict[str, str] = {}
        if self.faults.calls is not None:
            said["X-RateLimit-Limit"] = str(self.faults.calls)
            said["X-RateLimit-Remaining"] = str(self.window_left)
            said["X-RateLimit-Reset"] = f"{self.window_ends:.3f}"
        if self.faults.quota is not None:
            said["X-Quota-Limit"] = str(self.faults.quota)
            said["X-Quota-Remaining"] = str(self.quota_left)
            said["X-Quota-Reset"] = f"{self.quota_ends:.3f}"
        return said


class Journal:
    """Every write of every tenant in one order, and every call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.writes: list[Write] = []
        self.calls: list[Call] = []

    def next_id(self) -> str:
        return f"{next(self._ids):08d}"

    def write(self, *what: Any) -> None:
        with self._lock:
            self.writes.append(Write(len(self.writes) + 1, time.time(), *what))

    def called(self, call: Call) -> None:
        self.calls.append(call)


class CRM:
    """All tenants, which come into being when they are first named."""

    def __init__(self, seed: str = "0") -> None:
        self.seed = seed
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew, with nothing wrong and nobody there."""
        self.journal = Journal()
        self.faults = Faults()
        self._orgs: dict[str, Org] = {}

    def org(self, name: str) -> Org:
        found = self._orgs.get(name)
        if found is None:
            with self._lock:
                found = self._orgs.setdefault(name, Org(name, self.seed, self.faults, self.journal))
        return found

    def misbehave(self, faults: Faults, org: str | None) -> None:
        """From now on this is what goes wrong for a tenant, or for all of them."""
        if org is not None:
            self.org(org).faults = faults
            return
        with self._lock:
            self.faults = faults
            for each in self._orgs.values():
                each.faults = faults

    def orgs(self) -> list[Org]:
        with self._lock:
            return list(self._orgs.values())

    def counts(self) -> dict[str, Any]:
        """How many calls there were: of each kind, with how many items, and what came of them."""
        calls = list(self.journal.calls)
        items: Counter[str] = Counter()
        for call in calls:
            items[call.operation] += call.items
        return {
            "calls": len(calls),
            "operations": Counter(call.operation for call in calls),
            "items": items,
            "outcomes": Counter(call.outcome for call in calls),
            "orgs": Counter(call.org for call in calls),
            "writes": Counter(write.operation for write in list(self.journal.writes)),
        }


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse what the CRM holds for invalid: a name with poison in it."""
    if POISON in str(values.get("Name", "")):
        raise Refused(422, "The record is not valid.", [("Name", "This name is not allowed.")])


def _meets(record: Record, criterion: Mapping[str, Any]) -> bool:
    held, wanted = record.values.get(criterion["field"]), criterion["value"]
    if criterion.get("operator") == "contains":
        return str(wanted).lower() in str(held or "").lower()
    return bool(held == wanted)
