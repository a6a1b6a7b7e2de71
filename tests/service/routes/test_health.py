"""Live, ready, degraded."""

from __future__ import annotations

from pathlib import Path

import httpx
import onnxruntime
import pytest

from service.routes.health import Draining
from tests import artifacts
from tests.service.running import command, serving


def test_a_service_that_serves_is_live_and_ready(http: httpx.Client) -> None:
    """In the Open Inference Protocol's words."""
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True, "status": "ok"}


def test_a_preferred_provider_that_is_missing_is_said_everywhere(tmp_path: Path) -> None:
    """It serves, and readiness, answer and log say on what."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build of onnxruntime has it")
    artifacts.publish(tmp_path / "models")
    flags = ("--provider", "cuda", "--provider-policy", "prefer")
    with serving(tmp_path / "models", tmp_path, *flags) as running, httpx.Client(base_url=running.url) as http:
        assert http.get("/v2/health/ready").json() == {"ready": True, "status": "degraded"}
        assert http.post("/predict", json={"instances": artifacts.rows(1)}).json()["provider"] == "cpu"
        (started,) = [event for event in running.events() if event["event"] == "serving"]
    assert (started["provider_asked"], started["provider"], started["degraded"]) == ("cuda", ["cpu"], True)


def test_a_required_provider_that_is_missing_ends_the_start(models: Path) -> None:
    """One line says what was asked for and what there is."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build of onnxruntime has it")
    done = command("serve", "--models", str(models), "--port", "0", "--provider", "cuda")
    assert done.returncode == 1
    assert done.stderr == (
        "clipmax: settings: CLIPMAX_PROVIDER: expected cuda (CUDAExecutionProvider), found only CPUExecutionProvider\n"
    )


def test_draining_counts_down() -> None:
    """`Retry-After` is what is left of the delay and a second for the next process."""
    draining = Draining()
    assert (draining.is_on, draining.is_over) == (False, False)
    draining.start(9.5)
    assert (draining.is_on, draining.is_over) == (True, False)
    assert draining.retry_after_seconds in {10, 11}
    draining.start(0)
    assert (draining.is_on, draining.is_over) == (True, True)
    assert draining.retry_after_seconds == 1
