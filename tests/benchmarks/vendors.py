"""`python -m tests.benchmarks.vendors`: what each vendor's adapter costs, against its fake.

Calls for 1,000 records many at once and one by one, the time that our own code takes for a call
(all but the requests themselves), and what describing an object takes, cold and remembered.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import uuid4

from xkit_crm.testing.conformance import Subject

RECORDS = 1_000
#: One by one takes longest: this many are made, and reckoned up.
SAMPLE = 50


@dataclass(slots=True)
class Clock:
    """Seconds that requests took."""

    away: float = 0.0


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Count the time that goes by within requests."""
    import requests

    send = requests.Session.send

    def timed(self: Any, *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return send(self, *args, **options)
        finally:
            clock.away += time.perf_counter() - began

    requests.Session.send = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


def took(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(slug: str, fake_name: str) -> list[str]:
    """One line of the table."""
    from django.test.utils import override_settings

    from xkit_crm.providers import descriptions
    from xkit_crm.providers.base import Access, Draft, Edit
    from xkit_crm.providers.registry import provider_class

    subject = _subject(slug)
    fake_class = getattr(import_module(f"xkit_crm.testing.fakes.{slug}"), fake_name)
    with fake_class() as crm:
        options = {"PRIVATE_HOSTS": ["127.0.0.1"], "PROVIDER_OPTIONS": {slug: crm.options}}
        with override_settings(XKIT_CRM=options):
            access = Access("benchmark", getattr(crm, "signed_in", crm.credentials))
            provider: Any = provider_class(slug)(access)
            name = subject.remote_object
            values = {subject.text: "Ada", **subject.least}
            tracemalloc.start()
            cold = took(lambda: descriptions.fields(provider, name))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            again: Any = provider_class(slug)(access)
            warm = took(lambda: descriptions.fields(again, name))
            size = provider.batch_size
            clock, before = Clock(), provider.usage.requests
            with watched(clock):
                refs: list[Any] = []

                def many() -> None:
                    for start in range(0, RECORDS, size):
                        count = min(size, RECORDS - start)
                        drafts = [Draft(values, str(uuid4())) for _ in range(count)]
                        refs.extend(provider.create_many(name, drafts))

                inside = took(many) - clock.away
                created = provider.usage.requests - before
                before = provider.usage.requests
                for start in range(0, RECORDS, size):
                    some = refs[start : start + size]
                    provider.update_many([Edit(ref, {subject.text: "Grace"}) for ref in some])
                updated = provider.usage.requests - before
                before = provider.usage.requests
                for _ in range(SAMPLE):
                    provider.create(name, values, key=str(uuid4()))
                alone = (provider.usage.requests - before) * RECORDS // SAMPLE
        assert not crm.violations, crm.violations[:3]
    fields = len(descriptions.fields(provider, name))
    return [
        provider.label,
        str(size),
        f"{created:,}",
        f"{updated:,}",
        f"{alone:,}",
        f"{inside / max(created, 1) * 1e3:.2f}",
        f"{inside / RECORDS * 1e6:.0f}",
        str(fields),
        f"{cold * 1e3:.1f}",
        f"{warm * 1e3:.2f}",
        f"{peak / 1024:.0f}",
    ]


def _subject(slug: str) -> Any:
    """The first one that the vendor's tests are about."""
    named = vars(import_module(f"tests.providers.test_{slug}")).values()
    told = (one if isinstance(one, Subject) else getattr(one, "subject", None) for one in named)
    return next(one for one in told if isinstance(one, Subject))


def large() -> str:
    """What describing an object of 2,000 fields takes."""
    from django.test.utils import override_settings

    from xkit_crm.providers import descriptions
    from xkit_crm.providers.base import Access
    from xkit_crm.providers.hubspot import HubSpotProvider
    from xkit_crm.testing.fakes.hubspot import HubSpotFake

    with HubSpotFake() as crm:
        one = crm.properties["contacts"][0]
        crm.properties["contacts"] = [{**one, "name": f"field_{n}"} for n in range(2_000)]
        options = {"PRIVATE_HOSTS": ["127.0.0.1"], "PROVIDER_OPTIONS": {"hubspot": crm.options}}
        with override_settings(XKIT_CRM=options):
            provider = HubSpotProvider(Access("large", crm.credentials))
            tracemalloc.start()
            described = provider.describe_fields("contacts")
            held, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            fresh = HubSpotProvider(Access("large", crm.credentials))
            cold = took(lambda: descriptions.fields(fresh, "contacts"))
            later = HubSpotProvider(Access("large", crm.credentials))
            warm = took(lambda: descriptions.fields(later, "contacts"))
    return (
        f"An object of 2,000 fields (HubSpot): {cold * 1e3:.0f} ms cold, {warm * 1e3:.0f} ms "
        f"remembered; {peak / 1024**2:.1f} MB at most while it is read, "
        f"{held / 1024**2:.1f} MB held for {len(described):,} of them."
    )


VENDORS = (
    ("salesforce", "SalesforceFake"),
    ("hubspot", "HubSpotFake"),
    ("pipedrive", "PipedriveFake"),
    ("zoho", "ZohoFake"),
    ("dynamics", "DynamicsFake"),
    ("odoo", "OdooFake"),
)
_HEAD = (
    "CRM",
    "records a call",
    "calls to create 1,000",
    "to update them",
    "one by one",
    "ours, ms a call",
    "ours, us a record",
    "fields",
    "described cold, ms",
    "remembered, ms",
    "KB",
)


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    print(f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}")
    for slug, fake in VENDORS:
        print(f"| {' | '.join(measure(slug, fake))} |", flush=True)
    print(f"\n{large()}")


if __name__ == "__main__":
    main()
