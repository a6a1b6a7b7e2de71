"""Prometheus and Grafana understand what lies in deploy/monitoring, and every name in it is one of ours."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from service.telemetry.metric import METRICS
from tests import artifacts
from tests.service.running import Running, serving

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
BOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "board.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
OURS = {
    name
    for one in METRICS
    for name in (
        [f"{one.name}_bucket", f"{one.name}_sum", f"{one.name}_count"] if one.kind == "histogram" else [one.shown_name]
    )
}
LABELS = {label for one in METRICS for label in one.labels} | {"le", "instance", "job", "alertname"}
NEEDS_PROMETHEUS = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus and promtool are not installed (Debian: apt-get install prometheus)",
)


def _queries() -> list[str]:
    """Of the board and of the rules."""
    shown = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return shown + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("query", _queries())
def test_every_query_asks_for_metrics_that_there_are(query: str) -> None:
    """With labels that they have."""
    names = set(re.findall(r"clipmax_\w+", query))
    assert names <= OURS
    assert names or "up{" in query
    for inside in re.findall(r"\{([^}]*)\}|by \(([^)]*)\)", query):
        found = re.findall(r"([a-z_]+)\s*(?:=|!|,|$)", "".join(inside))
        assert set(found) <= LABELS, query


def test_the_board_is_one_by_grafanas_own_types() -> None:
    """Read with the kit that Grafana generates from its schema; no two panels share a number or a place."""
    board = Dashboard.from_json(BOARD)
    assert board.title == "clipmax"
    assert board.panels is not None
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"]) == len(board.panels)
    cells = [
        (place["x"] + column, place["y"] + line)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for column in range(place["w"])
        for line in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24


def test_every_alert_is_explained() -> None:
    """What to look at and what to do."""
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    document = (FOLDER.parents[1] / "docs" / "metrics.md").read_text()
    explained = re.findall(r"^\| `(Clipmax\w+)`", document, re.MULTILINE)
    assert explained == [rule["alert"] for group in rules["groups"] for rule in group["rules"]]


def test_the_containers_mount_files_that_are_there() -> None:
    """Of the profile `monitoring`."""
    monitoring = {name: one for name, one in COMPOSE["services"].items() if "monitoring" in one.get("profiles", ())}
    assert set(monitoring) == {"prometheus", "grafana"}
    for one in monitoring.values():
        for volume in one["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (FOLDER.parents[1] / source).exists(), source


@NEEDS_PROMETHEUS
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should() -> None:
    """`promtool`, with the rules' own tests."""
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Running]:
    """A service of one model."""
    artifacts.publish(tmp_path / "models")
    with serving(tmp_path / "models", tmp_path, "--workers", "2", "--threads", "1") as running:
        yield running


@NEEDS_PROMETHEUS
def test_a_real_prometheus_scrapes_two_workers(two_workers: Running, tmp_path: Path) -> None:
    """It takes every line of the page, and says what a client saw; so does `promtool check metrics`."""
    with httpx.Client(base_url=two_workers.url) as client:
        for _ in range(20):
            client.post("/predict", json={"instances": artifacts.rows(1)}).raise_for_status()
    page = httpx.get(f"{two_workers.url}/metrics").text
    lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    port = _free_port()
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(FOLDER / "alerts.yml")]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{two_workers.port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    try:
        asked = 'sum(clipmax_requests_total{route="/predict",code="200"})'
        assert _await_value(port, asked, 20.0) == 20.0
        assert _value(port, "clipmax_workers") == 2.0
        assert _value(port, "up") == 1.0
    finally:
        process.terminate()
        process.wait(30)


def _await_value(port: int, query: str, value: float) -> float | None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = _value(port, query)
        if found == value:
            return found
        time.sleep(0.2)
    return _value(port, query)


def _value(port: int, query: str) -> float | None:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return None
    result = answer.get("data", {}).get("result", [])
    return float(result[0]["value"][1]) if result else None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
