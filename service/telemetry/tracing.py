"""Requests → OpenTelemetry spans, where an endpoint for them is set.

Spans are made when a request is over, from times that were taken down on the way, so a request that is not traced pays
nothing. Only our own setting switches this on; variables of OpenTelemetry alone never do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol, Self

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.answer import Share
from service.engine.session import Session
from service.telemetry import route

_EXPORT_SECONDS = 5
_PROPAGATOR = TraceContextTextMapPropagator()


class Asked(Protocol):
    """A request, as its exchange knows it."""

    began: float
    request_id: str
    session: Session | None
    status: int

    @property
    def headers(self) -> Mapping[bytes, bytes]: ...

    @property
    def method(self) -> str: ...

    @property
    def route(self) -> int: ...


class Trace:
    """One request's span, and when its parts were; times by `time.perf_counter`.

    Attributes:
        header: the `traceparent` of its answer.
        submitted: when its body was read and its rows were handed to the engine.
        run: when its run, or the first of them, began, and when the last one ended.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.context: Context = set_span_in_context(span)
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self.context)
        self.header = (b"traceparent", carrier["traceparent"].encode())
        self.submitted: float | None = None
        self.run: tuple[float, float] | None = None

    def follow(self, found: Share | asyncio.Future[Share]) -> None:
        """The engine has it: note when it ran."""
        if isinstance(found, Share):
            self.run = found.results.span
        else:
            found.add_done_callback(self._note)

    def _note(self, future: asyncio.Future[Share]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.run = future.result().results.span


class Tracer:
    """Begins and ends the spans of a process's requests.

    Args:
        processor: takes the spans.
        ratio: share of the requests that are traced, where the caller's `traceparent` does not say so itself.
    """

    def __init__(self, processor: SpanProcessor, ratio: float = 1.0) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource({"service.name": "clipmax"})
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("clipmax")

    @classmethod
    def to(cls, endpoint: str, ratio: float) -> Self:
        """Spans go to a collector, by OTLP over HTTP, from a thread of their own."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)), ratio)

    def begin(self, asked: Asked) -> Trace:
        """A request has come; its caller may have a trace for it."""
        given = {name: asked.headers.get(name.encode(), b"").decode("latin-1") for name in _PROPAGATOR.fields}
        parent = _PROPAGATOR.extract({name: value for name, value in given.items() if value})
        span = self._tracer.start_span(asked.method, parent, kind=SpanKind.SERVER, start_time=_nanoseconds(asked.began))
        return Trace(span)

    def end(self, trace: Trace, asked: Asked) -> None:
        """It is answered, or its client has left."""
        if trace.span.is_recording():
            _describe(trace.span, asked)
            self._add_parts(trace, asked.began)
        trace.span.end()

    def close(self) -> None:
        """Send what waits to be sent."""
        self._provider.shutdown()

    def _add_parts(self, trace: Trace, began: float) -> None:
        if trace.submitted is None:
            return
        parts = [("read", began, trace.submitted)]
        if trace.run is not None:
            parts += [("queue", trace.submitted, trace.run[0]), ("inference", *trace.run)]
        for name, start, stop in parts:
            span = self._tracer.start_span(name, trace.context, start_time=_nanoseconds(start))
            span.end(_nanoseconds(stop))


def _describe(span: Span, asked: Asked) -> None:
    template = route.TEMPLATES[asked.route]
    span.update_name(f"{asked.method} {template}")
    span.set_attribute("http.request.method", asked.method)
    span.set_attribute("http.route", template)
    span.set_attribute("clipmax.request_id", asked.request_id)
    if asked.status:
        span.set_attribute("http.response.status_code", asked.status)
    if asked.status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    if asked.session is not None:
        span.set_attribute("clipmax.model", asked.session.manifest.name)
        span.set_attribute("clipmax.version", asked.session.manifest.version)


def _nanoseconds(moment: float) -> int:
    """Of `time.perf_counter`, since 1970."""
    return time.time_ns() - int((time.perf_counter() - moment) * 1e9)
