"""OpenTelemetry: one trace from the save to the CRM call, where the product has set up tracing.

Who makes invocations runs in `making`, which gives the trace context that is stored with them; who
carries them out runs in `delivering` and `calling`, and says with `tried` what came of each. Needs
the extra `opentelemetry`, the API alone; without it, or where no tracer provider was set, each of
these asks one question and is done. Spans carry ids, never payloads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from xkit_crm.exceptions import XkitError
from xkit_crm.models import Connection

try:
    from opentelemetry import trace
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    _has_api = False
else:
    _has_api = True
    _w3c = TraceContextTextMapPropagator()
    #: What the API gives where nobody has set a provider.
    _none = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

    from xkit_crm.delivery.trying import Try

_NAME = "xkit_crm"
#: Seconds between two looks for a tracer that was not there.
LOOK = 1.0
_OFF = nullcontext("")


#: The product's tracer, once it was there; before, when it is looked for again, since asking for it
#: takes longer than all the rest of this does where there is none.
_found: Tracer | None = None
_next_look = 0.0


def _tracer() -> Tracer | None:
    """The product's; None where it has none (yet: it is looked for once a second)."""
    global _found, _next_look
    if _found is not None or not _has_api or (now := time.monotonic()) < _next_look:
        return _found
    _next_look = now + LOOK
    provider = trace.get_tracer_provider()
    _found = None if isinstance(provider, _none) else provider.get_tracer(_NAME)
    return _found


def forget() -> None:
    """Look for the product's tracer anew."""
    global _found, _next_look
    _found, _next_look = None, 0.0


def making(how: str, count: int) -> AbstractContextManager[str]:
    """So many invocations are made: by a `capture` of rows or by an `invoke`. Gives the trace
    context (W3C `traceparent`) to store with them; "" where nobody traces."""
    tracer = _tracer()
    return _OFF if tracer is None else _making(tracer, how, count)


@contextmanager
def _making(tracer: Tracer, how: str, count: int) -> Iterator[str]:
    attributes = {"xkit_crm.invocations": count}
    with _span(tracer, how, kind=SpanKind.PRODUCER, attributes=attributes):
        carrier: dict[str, str] = {}
        _w3c.inject(carrier)
        yield carrier.get("traceparent", "")


def delivering(step: str, tries: Sequence[Try]) -> AbstractContextManager[object]:
    """These are looked at (`prepare`) or sent (`deliver`) together. One alone belongs to the trace
    in which it was made; many have a trace of their own, with a link to each of theirs."""
    tracer = _tracer()
    return _OFF if tracer is None or not tries else _delivering(tracer, step, tries)


@contextmanager
def _delivering(tracer: Tracer, step: str, tries: Sequence[Try]) -> Iterator[None]:
    connection = tries[0].invocation.connection
    made_in = [_made_in(this) for this in tries]
    alone = made_in[0] if len(tries) == 1 else None
    attributes = {
        **_of(connection),
        "xkit_crm.operation": tries[0].operation,
        "xkit_crm.invocations": len(tries),
    }
    if len(tries) == 1:
        attributes["xkit_crm.invocation"] = str(tries[0].invocation.uuid)
    with _span(
        tracer,
        step,
        context=alone,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=[] if alone else [Link(_context_of(one)) for one in made_in if one is not None],
    ) as span:
        for this in tries:
            this.span = span
        yield


def calling(connection: Connection, count: int) -> AbstractContextManager[object]:
    """One call to the CRM, about so many records."""
    tracer = _tracer()
    if tracer is None:
        return _OFF
    attributes = {**_of(connection), "xkit_crm.records": count}
    return _span(tracer, "call", kind=SpanKind.CLIENT, attributes=attributes)


def tried(tries: Sequence[Try]) -> None:
    """What came of each try, as a span in the trace in which it was made."""
    tracer = _tracer()
    if tracer is None:
        return
    now, clock = time.time_ns(), time.monotonic()
    for this in tries:
        invocation = this.invocation
        span = tracer.start_span(
            f"{_NAME}.try",
            context=_made_in(this),
            kind=SpanKind.INTERNAL,
            start_time=now - int((clock - this.started) * 1e9),
            attributes={
                **_of(invocation.connection),
                "xkit_crm.invocation": str(invocation.uuid),
                "xkit_crm.event": invocation.event.slug,
                "xkit_crm.operation": this.operation,
                "xkit_crm.try": invocation.tries,
                "xkit_crm.status": str(invocation.status),
            },
            links=[Link(this.span.get_span_context())] if this.span is not None else [],
        )
        if invocation.error_code:
            _failed(span, invocation.error_code)
        span.end(now)


@contextmanager
def _span(tracer: Tracer, name: str, **options: Any) -> Iterator[Span]:
    """What is raised in it is named, but not told: its words may quote what was sent."""
    with tracer.start_as_current_span(
        f"{_NAME}.{name}", record_exception=False, set_status_on_exception=False, **options
    ) as span:
        try:
            yield span
        except Exception as raised:
            _failed(span, raised.code if isinstance(raised, XkitError) else type(raised).__name__)
            raise


def _failed(span: Span, reason: str) -> None:
    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR))


def _of(connection: Connection) -> dict[str, Any]:
    return {"xkit_crm.connection": connection.pk, "xkit_crm.provider": connection.provider}


def _made_in(this: Try) -> Context | None:
    """The context that was stored with it, where there is one."""
    stored = this.invocation.traceparent
    return _w3c.extract({"traceparent": stored}) if stored else None


def _context_of(context: Context) -> Any:
    found: Span = trace.get_current_span(context)
    return found.get_span_context()
