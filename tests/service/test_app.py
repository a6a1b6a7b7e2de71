"""The application by itself: its factory, its last line of defence, and what importing it loads."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from clipmax.refusal import Refusal
from service.app import Service, create_app
from service.settings import Settings
from tests import artifacts
from tests.service.running import environment
from tests.service.test_contract_errors import MARKER


def settings(models: Path) -> Settings:
    return Settings.read({"CLIPMAX_MODELS": str(models)})


@asynccontextmanager
async def client(app: Service, *, loaded: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that runs here, its lifespan begun or not."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with AsyncExitStack() as stack:
        if loaded:
            await stack.enter_async_context(app.router.lifespan_context(app))
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://here"))


def test_the_factory_makes_an_application_that_loads_by_its_lifespan(models: Path) -> None:
    """Any ASGI server can run it."""

    async def scenario() -> None:
        async with client(create_app(settings(models))) as http:
            assert (await http.get("/v2/health/ready")).status_code == 200
            answer = await http.post("/predict", json={"instances": artifacts.rows(1)})
            assert answer.json()["version"] == 2

    asyncio.run(scenario())


def test_before_its_models_are_loaded_it_is_not_ready(models: Path) -> None:
    """Live all the same."""

    async def scenario() -> None:
        async with client(create_app(settings(models)), loaded=False) as http:
            refused = await http.get("/v2/health/ready")
            assert refused.status_code == 503
            assert refused.json()["code"] == "NOT_READY"
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["content-type"] == "application/json"
            assert (await http.get("/v2/health/live")).status_code == 200

    asyncio.run(scenario())


def test_a_lifespan_with_nothing_to_serve_fails(tmp_path: Path) -> None:
    """With the reason."""

    async def scenario() -> None:
        async with client(create_app(settings(tmp_path))):
            pass

    with pytest.raises(Refusal, match="at least one version"):
        asyncio.run(scenario())


def test_a_failure_of_ours_is_a_problem_without_a_trace(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    """500 in the one shape; the log has type and place of it under the request id, not its message."""
    app = create_app(settings(models))

    def fail() -> None:
        raise ValueError(MARKER)

    async def scenario() -> list[httpx.Response]:
        async with client(app) as http:
            app.targets["/predict"] = fail  # type: ignore[assignment]  # the failure that nobody thought of
            app.add_api_route("/fails", fail)
            return [await http.post("/predict", json={}), await http.get("/fails")]

    with caplog.at_level(logging.ERROR):
        answers = asyncio.run(scenario())
    for answer in answers:
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "INTERNAL"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert MARKER not in answer.text
        assert "Traceback" not in answer.text
    assert [record.getMessage() for record in caplog.records] == ["request failed"] * 2
    assert MARKER not in str([vars(record) for record in caplog.records])


def test_importing_the_service_loads_neither_torch_nor_training() -> None:
    """In a fresh interpreter; nor anything that runs code from a file, nor telemetry."""
    script = """
import json, os, sys
import service.app, service.server, service.cli
print(json.dumps({"modules": sorted(sys.modules), "telemetry": os.environ["ORT_DISABLE_TELEMETRY"]}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=environment()
    )
    found = json.loads(done.stdout)
    assert found["telemetry"] == "1"
    tops = {name.partition(".")[0] for name in found["modules"]}
    assert not tops & {"torch", "training", "onnx", "joblib", "yaml"}


def test_telemetry_of_the_framework_stays_off(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its variables are set."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    app = create_app(settings(models))

    async def scenario() -> int:
        async with client(app) as http:
            return (await http.get("/v2/health/live")).status_code

    assert asyncio.run(scenario()) == 200
    assert not app._native_telemetry.enabled()
