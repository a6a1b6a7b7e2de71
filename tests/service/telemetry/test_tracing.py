"""A request as spans: what the in-memory exporter got."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.app import Service, create_app
from service.settings import Settings
from service.telemetry.tracing import Tracer
from tests import artifacts

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


class Client:
    """Asks an application in this process, which lives as long as the question."""

    def __init__(self, app: Service) -> None:
        self.app = app

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._ask(method, path, given))

    async def _ask(self, method: str, path: str, given: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with (
            self.app.router.lifespan_context(self.app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return await client.request(method, path, **given)


@pytest.fixture
def client(models: Path, exporter: InMemorySpanExporter) -> Client:
    """Of a service whose spans stay in memory."""
    app = create_app(Settings(models=models))
    app.tracer = Tracer(SimpleSpanProcessor(exporter))
    return Client(app)


def _spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_prediction_is_a_request_that_is_read_waits_and_runs(client: Client, exporter: InMemorySpanExporter) -> None:
    """Each after the other, inside the request; nothing that the caller sent is in them."""
    client.ask("POST", "/predict", json={"instances": artifacts.rows(2)}).raise_for_status()
    found = _spans(exporter)
    request = found.pop("POST /predict")
    assert request.kind is SpanKind.SERVER
    assert request.attributes is not None
    assert request.attributes["clipmax.model"] == "tiny"
    assert request.attributes["http.response.status_code"] == 200
    assert set(found) == {"read", "queue", "inference"}
    times = [time for name in ("read", "queue", "inference") for time in (found[name].start_time, found[name].end_time)]
    assert all(time is not None for time in times)
    # A clock for each span: they may differ by what it takes to read it.
    slack = 1_000_000
    assert all((second or 0) >= (first or 0) - slack for first, second in pairwise(times))
    for part in found.values():
        assert part.parent is not None
        assert part.parent.span_id == request.context.span_id


def test_the_callers_trace_goes_on(client: Client, exporter: InMemorySpanExporter) -> None:
    """`traceparent` in, and in the answer the one of our span."""
    answer = client.ask("GET", "/v2", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_a_caller_who_does_not_want_a_trace_gets_none(client: Client, exporter: InMemorySpanExporter) -> None:
    """The sampled flag of its `traceparent` is 0."""
    client.ask("GET", "/v2", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).raise_for_status()
    assert exporter.get_finished_spans() == ()


def test_a_refused_request_has_its_status_and_no_run(client: Client, exporter: InMemorySpanExporter) -> None:
    """Not an error of ours: only 5xx are."""
    assert client.ask("POST", "/predict", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 400
    assert span.status.status_code is StatusCode.UNSET


def test_variables_of_opentelemetry_alone_switch_nothing_on(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only our own setting does."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    app = create_app(Settings(models=models))
    assert app.tracer is None
    assert "traceparent" not in Client(app).ask("GET", "/v2").headers
