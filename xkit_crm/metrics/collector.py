"""What is scraped: the counters and the lanes as the database has them at that moment.

So every process says the same, whichever answers, and counters go on where they were after a
restart. The names are stable; `docs/monitoring.md` has the table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from xkit_crm.conf import settings
from xkit_crm.delivery import waiting
from xkit_crm.delivery.tallies import most_in
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    MappingIncomplete,
    PayloadInvalid,
    RateLimited,
    RejectedByCRM,
    UnknownRecord,
)
from xkit_crm.models import Tally
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.overview import lanes
from xkit_crm.overview.figures import Figures, of_all_time
from xkit_crm.overview.lanes import LaneState

#: Bounds of the histogram: from 1 ms to a day and a half, each twice the one before.
BUCKETS = range(28)

#: What may go wrong with a try, mostly.
CAUSES = {
    error.code
    for error in (
        CRMError,
        CRMUnauthorized,
        CRMUnavailable,
        MappingIncomplete,
        PayloadInvalid,
        RateLimited,
        RejectedByCRM,
        UnknownRecord,
    )
}

_FINAL = [status.value for status in InvocationStatus if status.is_final]


class XkitCollector(Collector):
    """For a registry of your own: `REGISTRY.register(XkitCollector())`. A scrape costs some ten
    queries, none of the log."""

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering it asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        states = lanes.states()
        by_provider = of_all_time(["provider"], Tally.objects.of_all())
        for provider in states:
            by_provider.setdefault((provider,), Figures())
        if settings.METRICS_CONNECTIONS:
            labels = ["provider", "connection"]
            own = Tally.objects.exclude(connection_id="")
            yield from _counters(labels, of_all_time(["provider", "connection_id"], own))
        else:
            labels = ["provider"]
            yield from _counters(labels, by_provider)
        yield _times(by_provider)
        yield _lanes(states)
        yield from _waiting(labels)
        yield _quota()


def _counters(
    labels: Sequence[str], found: Mapping[tuple[str, ...], Figures]
) -> Iterator[CounterMetricFamily]:
    ended = CounterMetricFamily(
        "xkit_crm_invocations_ended",
        "Invocations that came to a final state.",
        labels=[*labels, "status"],
    )
    reopened = CounterMetricFamily(
        "xkit_crm_invocations_reopened",
        "Invocations that left a final state, to be carried out again.",
        labels=[*labels, "status"],
    )
    tries = CounterMetricFamily("xkit_crm_tries", "Tries, by outcome.", labels=[*labels, "outcome"])
    errors = CounterMetricFamily(
        "xkit_crm_errors", "What went wrong, failed tries too.", labels=[*labels, "code"]
    )
    for whose, figures in sorted(found.items()):
        # Those that haven't happened yet are there as 0, or their first would not be seen.
        for status in _FINAL:
            ended.add_metric([*whose, status], figures.ended[status])
        for status, count in sorted(figures.reopened.items()):
            reopened.add_metric([*whose, status], count)
        for outcome in Outcome.values:
            tries.add_metric([*whose, outcome], figures.tries[outcome])
        for code in sorted({*CAUSES, *figures.causes}):
            errors.add_metric([*whose, code], figures.causes[code])
    yield from (ended, reopened, tries, errors)


def _times(found: Mapping[tuple[str, ...], Figures]) -> HistogramMetricFamily:
    """Never by connection: a customer each would make some thirty series."""
    family = HistogramMetricFamily(
        "xkit_crm_save_to_crm_seconds",
        "Time from the save to its end, of what the CRM has.",
        labels=["provider"],
    )
    for whose, figures in sorted(found.items()):
        below, buckets = 0, []
        for bucket in BUCKETS:
            below += figures.buckets[bucket]
            buckets.append((str(most_in(bucket)), below))
        buckets.append(("+Inf", figures.buckets.total()))
        family.add_metric(whose, buckets, figures.milliseconds.total() / 1000)
    return family


def _lanes(states: Mapping[str, Mapping[str, int]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "xkit_crm_lanes", "Lanes, by what they do.", labels=["provider", "state"]
    )
    for provider, counts in sorted(states.items()):
        for state in LaneState.values:
            family.add_metric([provider, state], counts[state])
    return family


def _waiting(labels: Sequence[str]) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "xkit_crm_waiting",
        f"Invocations that wait; {waiting.MANY_IN_ALL} stands for as many or more.",
        value=waiting.in_all().count,
    )
    family = GaugeMetricFamily(
        "xkit_crm_overdue_seconds",
        "For how long something is due and not sent, of the lane where that is the longest.",
        labels=labels,
    )
    longest: dict[tuple[str, ...], float] = {}
    for provider_and_connection, since in lanes.overdue().items():
        whose = provider_and_connection[: len(labels)]
        longest[whose] = max(longest.get(whose, 0.0), since.total_seconds())
    for whose, seconds in sorted(longest.items()):
        family.add_metric(whose, seconds)
    yield family


def _quota() -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "xkit_crm_quota_left_ratio",
        "Share of the daily quota that is left, of the connection that has least of it.",
        labels=["provider"],
    )
    for provider, share in sorted(lanes.quota_left().items()):
        family.add_metric([provider], share)
    return family
