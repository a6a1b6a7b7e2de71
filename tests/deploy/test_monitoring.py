"""Prometheus and Grafana understand what lies in deploy/monitoring, and every name in it is one of ours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from clipmax import idx
from docs import grafana
from docs.beside import prometheus
from service.telemetry.metric import METRICS
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
PROVIDED: dict[str, Any] = yaml.safe_load((FOLDER / "grafana" / "datasource.yml").read_text())["datasources"][0]
SCRAPING: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
LABELS = {label for one in METRICS for label in one.labels} | {"le", "instance", "job", "alertname", "alertstate"}
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
    assert names or "up{" in query or "ALERTS{" in query
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


def test_the_board_measures_in_units_that_grafana_knows() -> None:
    """Whatever else it were told it would write behind the number."""
    properties = [prop for panel in BOARD["panels"] for over in _overrides(panel) for prop in over["properties"]]
    defaults = [panel["fieldConfig"]["defaults"] for panel in BOARD["panels"] if "fieldConfig" in panel]
    asked = {one["unit"] for one in defaults if "unit" in one} | {
        prop["value"] for prop in properties if prop["id"] == "unit"
    }
    assert asked <= {value for name, value in vars(units).items() if name[0].isupper()}


def _overrides(panel: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = panel.get("fieldConfig", {}).get("overrides", [])
    return found


def test_the_board_asks_the_source_that_is_provided_for_it() -> None:
    """By its name, and with rates over as many scrapes as there are."""
    variable = BOARD["templating"]["list"][0]
    assert (variable["query"], variable["current"]["value"]) == (PROVIDED["type"], PROVIDED["uid"])
    sources = [panel["datasource"] for panel in BOARD["panels"] if "datasource" in panel]
    sources += [target["datasource"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    assert all(one == {"type": "prometheus", "uid": "${source}"} for one in sources)
    assert PROVIDED["jsonData"]["timeInterval"] == SCRAPING["global"]["scrape_interval"]


def test_the_containers_call_each_other_by_their_names() -> None:
    """Prometheus the service, Grafana Prometheus; and Grafana finds the board where it is mounted."""
    services = COMPOSE["services"]
    assert SCRAPING["scrape_configs"][0]["static_configs"] == [{"targets": ["service:8000"]}]
    assert services["service"]["ports"][0].endswith(":8000")
    assert PROVIDED["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    boards = yaml.safe_load((FOLDER / "grafana" / "boards.yml").read_text())["providers"][0]["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{boards}/board.json"
    assert f"./deploy/monitoring/grafana/board.json:{home}:ro" in services["grafana"]["volumes"]


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


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, grafana.Prometheus]]:
    """Two workers with the shipped model, and a Prometheus that looks at them every second."""
    folder = tmp_path_factory.mktemp("seen")
    shutil.copytree(FOLDER.parents[1] / "models" / "mnist" / "1", folder / "models" / "mnist" / "1")
    with (
        serving(folder / "models", folder, "--workers", "2", "--threads", "1") as running,
        prometheus(f"127.0.0.1:{running.port}", folder, scrape=1.0) as found,
    ):
        yield running, found


@NEEDS_PROMETHEUS
def test_a_real_prometheus_scrapes_two_workers(seen: tuple[Running, grafana.Prometheus]) -> None:
    """It takes every line of the page, and says what a client saw; so does `promtool check metrics`."""
    running, found = seen
    with httpx.Client(base_url=running.url) as client:
        for digit in _digits(20):
            client.post("/predict", json={"instances": [digit]}).raise_for_status()
    page = httpx.get(f"{running.url}/metrics").text
    lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    asked = 'sum(clipmax_requests_total{route="/predict",code="200"}) == 20'
    assert _await(lambda: found.instant(asked))
    assert found.instant("clipmax_workers == 2")
    assert found.instant("up == 1")


@NEEDS_PROMETHEUS
def test_every_panel_of_the_board_shows_something(seen: tuple[Running, grafana.Prometheus]) -> None:
    """Its own queries, after some answers and an error; what its legends name are labels that there are."""
    running, found = seen

    def look() -> list[grafana.Shown]:
        """After one more answer and one more error."""
        with httpx.Client(base_url=running.url) as client:
            client.post("/v1/models/mnist:predict", json={"instances": _digits(10)}).raise_for_status()
            assert client.post("/v1/models/mnist:predict", json={"instances": []}).is_client_error
        now = time.time()
        return list(grafana.look(BOARD, found, grafana.Span(now - 60, now, found.scrape)))

    def empty() -> set[str]:
        return {one.panel["title"] for one in look() if one.is_empty and one.panel["type"] != "row"}

    # Whether an alert is there depends on how long this takes.
    assert _await(lambda: empty() <= {"Alerts"}), empty()
    shown = look()
    assert {one.panel["title"] for one in shown} >= {"Predictions of mnist", "Every version", "Drift"}
    for one in shown:
        patterns = {target["refId"]: target["legendFormat"] for target in one.panel.get("targets", ())}
        for series in one.series:
            assert set(re.findall(r"\{\{(\w+)\}\}", patterns[series.target])) <= set(series.labels), one.panel["title"]
    (versions,) = (one.table for one in shown if one.panel["title"] == "Every version")
    assert [(row["model"], row["version"], row["state"], row["provider"]) for row in versions] == [
        ("mnist", "1", "serving", "cpu")
    ]
    assert versions[0]["accuracy"] == pytest.approx(0.9888, abs=1e-4)


def _digits(count: int) -> list[Any]:
    images = idx.read(FOLDER.parents[1] / "examples" / "mnist" / "t10k-images-idx3-ubyte.gz")
    found: list[Any] = images[:count].tolist()
    return found


def _await(found: Callable[[], object]) -> bool:
    """Until it is; bounded."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.3)
    return bool(found())
