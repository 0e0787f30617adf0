"""OpenTelemetry: a save and the call to the CRM are one trace, where the product traces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import xkit_crm
from tests.delivery.conftest import Misbehave, misbehave
from tests.factories import DealFactory
from tests.products.models import Customer
from xkit_crm import tracing
from xkit_crm.models import Connection, Invocation
from xkit_crm.testing import deliver

__all__ = ["misbehave"]
pytestmark = pytest.mark.django_db

SECRET = "What nobody but the CRM may read"


class Spans:
    """What was exported, by name, in the order in which it began."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        found = [one for one in self._exporter.get_finished_spans() if one.name == name]
        return sorted(found, key=lambda one: one.start_time or 0)

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def __str__(self) -> str:
        return "".join(one.to_json() for one in self._exporter.get_finished_spans())


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """The product's tracer provider, set for this test."""
    made = TracerProvider()
    with monkeypatch.context() as patched:
        patched.setattr(trace, "get_tracer_provider", lambda: made)
        tracing.forget()
        yield made
    tracing.forget()


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[Spans]:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Spans(exporter)
    provider.shutdown()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def test_a_save_and_its_call_to_the_crm_are_one_trace(
    sandbox: Connection, customer: Customer, provider: TracerProvider, spans: Spans
) -> None:
    with provider.get_tracer("product").start_as_current_span("request"):
        DealFactory.create(customer=customer, title=SECRET)
    deliver()
    invocation = Invocation.objects.get()
    assert invocation.status == "succeeded"
    request, capture = spans.only("request"), spans.only("xkit_crm.capture")
    deliver_, call, try_ = map(spans.only, ("xkit_crm.deliver", "xkit_crm.call", "xkit_crm.try"))
    assert {trace_of(one) for one in (request, capture, deliver_, call, try_)} == {
        trace_of(request)
    }
    for child, parent in ((capture, request), (deliver_, capture), (call, deliver_)):
        assert child.parent is not None
        assert parent.context is not None
        assert child.parent.span_id == parent.context.span_id
    assert dict(try_.attributes or {}) == {
        "xkit_crm.connection": "acme",
        "xkit_crm.provider": "sandbox",
        "xkit_crm.invocation": str(invocation.uuid),
        "xkit_crm.event": "deal_created",
        "xkit_crm.operation": "create",
        "xkit_crm.try": 1,
        "xkit_crm.status": "succeeded",
    }
    assert (deliver_.attributes or {})["xkit_crm.invocation"] == str(invocation.uuid)
    assert SECRET not in str(spans)


def test_a_batch_has_a_link_to_each_save(
    sandbox: Connection, customer: Customer, spans: Spans
) -> None:
    for title in ("One", "Two", "Three"):
        DealFactory.create(customer=customer, title=title)
    deliver()
    captured = spans.named("xkit_crm.capture")
    together = spans.only("xkit_crm.deliver")
    assert {link.context.span_id for link in together.links} == {
        one.context.span_id for one in captured if one.context
    }
    assert trace_of(together) not in {trace_of(one) for one in captured}
    # In the trace of each save is what came of it, with a link to the call that it went in.
    tries = spans.named("xkit_crm.try")
    assert {trace_of(one) for one in tries} == {trace_of(one) for one in captured}
    assert {link.context.span_id for one in tries for link in one.links} == {
        together.context.span_id if together.context else 0
    }


def test_rows_that_are_captured_together_share_one_span(
    sandbox: Connection, customer: Customer, spans: Spans
) -> None:
    with xkit_crm.bulk():
        for _ in range(3):
            DealFactory.create(customer=customer)
    capture = spans.only("xkit_crm.capture")
    assert (capture.attributes or {})["xkit_crm.invocations"] == 3
    (stored,) = set(Invocation.objects.values_list("traceparent", flat=True))
    assert stored.split("-")[1] == f"{trace_of(capture):032x}"


def test_a_caller_who_waits_is_in_the_same_trace(sandbox: Connection, spans: Spans) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": SECRET})
    made = spans.only("xkit_crm.invoke")
    calls = spans.named("xkit_crm.call")
    assert {trace_of(one) for one in calls} == {trace_of(made)}
    assert len(calls) == 2  # the second reads back what the caller is told
    assert SECRET not in str(spans)


def test_each_try_is_there_and_says_what_was_wrong_by_its_code_alone(
    sandbox: Connection, misbehave: Misbehave, spans: Spans
) -> None:
    misbehave("unavailable", operation="create", times=1)
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": SECRET}, wait=False)
    deliver()
    first, second = spans.named("xkit_crm.try")
    assert ((first.attributes or {})["error.type"], first.status.is_ok) == (
        "crm_unavailable",
        False,
    )
    assert ((second.attributes or {})["xkit_crm.try"], second.status.is_ok) == (2, True)
    failed, *_ = spans.named("xkit_crm.call")
    assert (failed.attributes or {})["error.type"] == "crm_unavailable"
    assert failed.events == ()
    assert SECRET not in str(spans)


def test_what_is_not_sampled_is_not_sampled_at_delivery_either(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch, spans: Spans, provider: TracerProvider
) -> None:
    with monkeypatch.context() as patched:
        quiet = TracerProvider(sampler=ALWAYS_OFF)
        patched.setattr(trace, "get_tracer_provider", lambda: quiet)
        tracing.forget()
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    tracing.forget()
    deliver()
    flags = Invocation.objects.get().traceparent.rpartition("-")[2]
    assert not int(flags, 16) & 1
    assert spans.named("xkit_crm.deliver") == []


def test_where_nobody_traces_nothing_is_stored(sandbox: Connection) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert Invocation.objects.get().traceparent == ""


def test_a_context_that_cannot_be_read_is_no_reason_not_to_deliver(
    sandbox: Connection, spans: Spans
) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    Invocation.objects.update(traceparent="nonsense")
    deliver()
    assert Invocation.objects.get().status == "succeeded"
    assert spans.only("xkit_crm.deliver").parent is None


def test_without_the_package_everything_works() -> None:
    """In a process of its own, which has never imported it."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import django; django.setup()\n"
        "from xkit_crm import tracing\n"
        "with tracing.making('capture', 1) as stored: assert stored == ''\n"
        "with tracing.delivering('deliver', []): pass\n"
        "tracing.tried([])\n"
        "print('works')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "works\n"
