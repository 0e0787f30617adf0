"""The proof: what was committed, what the CRM holds, and everything that it was ever sent.

Reads only: the writers' journals, the product's rows, the package's own tables, the CRM's records
and journal. Each violation is a sentence that names what it is about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count

from tests.chaos.journal import ROLLED_BACK, Change, Journal
from tests.crm.state import POISON
from tests.products.models import Deal
from xkit_crm.models import Attempt, Invocation, Lane, RecordLink, Tally
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.overview.figures import of_all_time

#: States that an invocation may end in; `failed` only of what the CRM refuses.
ENDED = (
    InvocationStatus.SUCCEEDED,
    InvocationStatus.SKIPPED,
    InvocationStatus.SUPERSEDED,
    InvocationStatus.FAILED,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the verdict is made from."""

    journal: Journal
    records: Sequence[Mapping[str, Any]]
    writes: Sequence[Mapping[str, Any]]


def violations(evidence: Evidence, *, capture: str = "signals") -> list[str]:
    """Everything that is not as it must be; empty where delivery kept its word."""
    return [
        *_captured(evidence, each=capture == "signals"),
        *_settled(),
        *_counted(),
        *_nothing_rolled_back(evidence),
        *_created_once(evidence),
        *_in_order(evidence),
        *_equal(evidence),
        *_lanes(),
    ]


def _row(name: object) -> str:
    """The row's own word, with which all of its names begin."""
    return str(name).split(" ", 1)[0]


def _captured(evidence: Evidence, *, each: bool) -> Iterator[str]:
    """As many invocations for each row as changes of it were committed; no more, unless `each`."""
    sure = Counter(change.row for change in evidence.journal.committed)
    perhaps = Counter(change.row for change in evidence.journal.perhaps)
    made: Counter[str] = Counter()
    for payload in Invocation.objects.values_list("payload", flat=True).iterator():
        if "name" in payload:  # not in that of a row which was gone when its triggers were heard
            made[_row(payload["name"])] += 1
    for row in {*sure, *perhaps, *made}:
        fewest = sure[row] if each else 0
        if not fewest <= made[row] <= sure[row] + perhaps[row]:
            yield (
                f"row {row}: {sure[row]} changes were committed (and perhaps {perhaps[row]} more), "
                f"but {made[row]} were captured"
            )


def _settled() -> Iterator[str]:
    """Every invocation has ended, and only those failed that the CRM refuses."""
    for invocation in Invocation.objects.exclude(status__in=ENDED)[:50]:
        yield f"invocation {invocation.pk} is {invocation.status}: {invocation.error}"
    failed = Invocation.objects.filter(status=InvocationStatus.FAILED)
    for invocation in failed.iterator():
        said = [invocation.payload, *(entry["payload"] for entry in invocation.folded or ())]
        refused = invocation.error_code == "rejected_by_crm"
        if not refused or not any(POISON in str(payload.get("name")) for payload in said):
            yield f"invocation {invocation.pk} failed: {invocation.error}"


def _counted() -> Iterator[str]:
    """What was counted is what the log has: ended by state, and tries by outcome."""
    figures = [*of_all_time(["provider"], Tally.objects.of_all()).values()]
    for name, log, counted in (
        ("ended", Invocation.objects.values_list("status"), [one.ended for one in figures]),
        ("tries", Attempt.objects.values_list("outcome"), [one.tries for one in figures]),
    ):
        there = Counter(dict(log.order_by().annotate(Count("pk"))))
        said = sum(counted, Counter())
        if name == "ended":
            said.subtract(sum((one.reopened for one in figures), Counter()))
        if +said != there:
            yield f"{name}: the log has {dict(there)}, counted were {dict(said)}"


def _nothing_rolled_back(evidence: Evidence) -> Iterator[str]:
    """Nothing was sent but what was committed."""
    meant = {change.name for change in evidence.journal.meant}
    doubted = {change.name for change in evidence.journal.perhaps}
    held = set(Deal.objects.values_list("title", flat=True))
    for payload, folded in Invocation.objects.values_list("payload", "folded").iterator():
        held |= {p.get("name") for p in (payload, *(e["payload"] for e in folded or ()))}
    for write in evidence.writes:
        name = write["values"].get("Name")
        if name is None:
            continue
        if ROLLED_BACK in name:
            yield f"{name!r} was rolled back and sent as write {write['number']}"
        elif name not in meant:
            yield f"{name!r} was sent as write {write['number']}, and nobody wrote it"
        elif name in doubted and name not in held:
            yield f"{name!r} was never committed and sent as write {write['number']}"


def _created_once(evidence: Evidence) -> Iterator[str]:
    """No row and no idempotency key ever made two records."""
    creates = [write for write in evidence.writes if write["operation"] == "create"]
    for what, count in (
        Counter((write["org"], _row(write["values"]["Name"])) for write in creates)
        + Counter((write["org"], f"key {write['key']}") for write in creates)
    ).items():
        if count > 1:
            yield f"{what[1]} of {what[0]} was created {count} times"


def _in_order(evidence: Evidence) -> Iterator[str]:
    """The versions of a record never go back, and only a repeated write says the same twice."""
    changes = {change.name: change for change in evidence.journal.meant if change.name}
    last: dict[tuple[str, str], Change] = {}
    for write in evidence.writes:
        change = changes.get(write["values"].get("Name", ""))
        if change is None:
            continue
        record = (write["org"], write["record"])
        before = last.get(record)
        back = before is not None and change.version <= before.version
        if before is not None and back and change.name != before.name:
            yield (
                f"row {change.row}: version {change.version} was written after "
                f"{before.version} (write {write['number']})"
            )
        if write["values"].get("Views") != change.version:
            yield f"{change.name!r} was written with the version {write['values'].get('Views')}"
        last[record] = change


def _equal(evidence: Evidence) -> Iterator[str]:
    """Both sides hold the same rows, each once, with the same values and linked."""
    held: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in evidence.records:
        held[_row(record["values"]["Name"])].append(record)
    links = dict(RecordLink.objects.values_list("object_pk", "record_id"))
    for deal in Deal.objects.select_related("customer").iterator():
        row = _row(deal.title)
        records = held.pop(row, [])
        if len(records) != 1:
            yield f"row {row} has {len(records)} records in the CRM"
            continue
        record = records[0]
        ours = (deal.customer.connection_id, deal.title, deal.views, deal.amount)
        values = record["values"]
        theirs = (record["org"], values["Name"], values["Views"], Decimal(str(values["Amount"])))
        if ours != theirs:
            yield f"row {row} is {ours} here and {theirs} in the CRM"
        if links.pop(str(deal.pk), None) != f"{record['object']}:{record['id']}":
            yield f"row {row} is not linked to its record {record['id']}"
    for row, records in held.items():
        yield f"row {row} is gone, and the CRM still has {len(records)} record(s) of it"
    for pk, record_id in links.items():
        yield f"the deleted row {pk} is still linked to {record_id}"


def _lanes() -> Iterator[str]:
    """Nobody holds a lane when every worker has ended."""
    for lane in Lane.objects.exclude(holder=""):
        yield f"lane {lane.pk} is still held by {lane.holder} until {lane.leased_until}"
