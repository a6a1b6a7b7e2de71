"""What a counting client saw is what `GET /metrics` says, over workers and their deaths."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.service.running import Running, serving
from tests.service.telemetry.scrape import scrape

MODEL = {"model": "tiny", "version": "2"}
_SETTLED_SECONDS = 0.5
"""Runs of lone requests are counted a few tenths of a second later."""

NAMED = "/v1/models/{name}:predict"


@pytest.fixture(scope="module")
def counted(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers."""
    with serving(models, tmp_path_factory.mktemp("counted"), "--workers", "2", "--threads", "1") as running:
        _await_workers(running, 1)
        yield running


@pytest.fixture(scope="module")
def untouched(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of one model of each kind that only the tests here ask."""
    with serving(kinds, tmp_path_factory.mktemp("untouched"), "--default-model", "tiny") as running:
        yield running


def _await_workers(running: Running, times: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready = [event["workers"] for event in running.events() if event["event"] == "workers ready"]
        if len(ready) >= times:
            found: list[int] = ready[-1]
            return found
        time.sleep(0.05)
    raise AssertionError("the workers did not become ready")


def _ask(running: Running, count: int) -> tuple[Counter[tuple[str, str]], Counter[str], int]:
    """Answers by route and status, labels, and requests without an answer; a new connection for each request."""
    answers: Counter[tuple[str, str]] = Counter()
    labels: Counter[str] = Counter()
    died = 0
    questions = [
        ("/predict", "/predict", json.dumps({"instances": artifacts.rows(3)})),
        (NAMED, "/v1/models/tiny:predict", json.dumps({"instances": artifacts.rows(1, seed=1)})),
        ("/predict", "/predict", '{"instances": []}'),
        ("other", "/nowhere", "{}"),
    ]
    headers = {"Content-Type": "application/json", "Connection": "close"}  # each goes to whichever worker is free
    with httpx.Client(base_url=running.url, headers=headers) as client:
        for turn in range(count):
            route, path, body = questions[turn % len(questions)]
            try:
                answer = client.post(path, content=body)
            except httpx.TransportError:
                died += 1
                continue
            answers[route, str(answer.status_code)] += 1
            if answer.status_code == 200:
                labels.update(one["label"] for one in answer.json()["predictions"])
    return answers, labels, died


def test_any_worker_gives_the_counts_of_all_also_of_one_that_was_killed(counted: Running) -> None:
    """Answers by route and status and rows by label, exactly; nothing was in progress when the worker was killed."""
    answers, labels, died = _ask(counted, 60)
    time.sleep(_SETTLED_SECONDS)
    os.kill(_await_workers(counted, 1)[0], signal.SIGKILL)
    _await_workers(counted, 2)
    more = _ask(counted, 60)
    answers, labels = answers + more[0], labels + more[1]
    time.sleep(_SETTLED_SECONDS)
    assert died + more[2] == 0
    for _ in range(4):  # whichever worker it is
        found = scrape(counted.url)
        for (route, status), count in answers.items():
            assert found.sum("clipmax_requests_total", route=route, code=status) == count
        for label in ("label 0", "label 1", "label 2"):
            assert found.value("clipmax_predictions_total", label=label, **MODEL) == labels[label]
        assert found.sum("clipmax_batch_rows_sum") == labels.total()
        assert found.value("clipmax_confidence_count", **MODEL) == labels.total()
        assert found.value("clipmax_entropy_count", **MODEL) == labels.total()
        latency = {"route": NAMED, "code": "2xx", **MODEL}
        assert found.value("clipmax_request_seconds_count", **latency) == answers[NAMED, "200"]
        assert found.value("clipmax_problems_total", code="EMPTY_BATCH") == answers["/predict", "422"]
        assert found.value("clipmax_worker_starts_total") == 3
        assert found.value("clipmax_workers") == 2
    assert found.value("clipmax_queue_rows") == 0


def test_series_are_there_at_0_before_the_first_request(untouched: Running) -> None:
    """For every model that serves: a rate of something that never was is 0, not nothing."""
    found = scrape(untouched.url)
    table = {"model": "table", "version": "1"}
    assert found.value("clipmax_requests_total", route=NAMED, code="500", **table) == 0
    assert found.value("clipmax_rows_non_finite_total", **table) == 0
    assert found.value("clipmax_predictions_total", label="label 2", **table) == 0
    assert found.value("clipmax_problems_total", code="QUEUE_FULL") == 0
    assert found.value("clipmax_version_state", state="refused", **table) == 0


def test_what_serves_and_on_what_is_said(untouched: Running) -> None:
    """State, provider and the quality that the manifest states."""
    found = scrape(untouched.url)
    tiny = {"model": "tiny", "version": "1"}
    assert found.value("clipmax_version_state", state="serving", **tiny) == 1
    assert found.value("clipmax_version_provider", provider="cpu", **tiny) == 1
    assert found.value("clipmax_version_degraded", **tiny) == 0
    assert found.value("clipmax_version_accuracy", **tiny) == 0.9
    assert found.value("clipmax_version_ece", **tiny) == 0.01
    assert found.value("clipmax_version_log_loss", **tiny) == 0.3


def test_names_that_nobody_knows_make_no_series(counted: Running) -> None:
    """However many there are."""
    before = len(scrape(counted.url).samples)
    with httpx.Client(base_url=counted.url) as client:
        for turn in range(20):
            client.post(f"/v1/models/stranger-{turn}:predict", json={})
            client.get(f"/path/{turn}")
    found = scrape(counted.url)
    assert found.value("clipmax_requests_total", route=NAMED, code="404", model="", version="") >= 20
    assert len(found.samples) <= before + 2 * 16  # at most the latencies of two routes, which began to exist


def test_rows_that_deserve_a_remark_are_counted(untouched: Running) -> None:
    """Unknown words, cut texts and values out of range, once a row."""
    rows = [{"age": 500, "seen": None, "city": "Bern"}, {"age": 3, "seen": None, "city": "Rome"}]
    httpx.post(f"{untouched.url}/v1/models/table:predict", json={"instances": rows}).raise_for_status()
    httpx.post(f"{untouched.url}/v1/models/text:predict", json={"instances": ["far too long"]}).raise_for_status()
    found = scrape(untouched.url)
    assert found.value("clipmax_rows_unknown_total", model="table", version="1") == 1
    assert found.value("clipmax_rows_out_of_range_total", model="table", version="1") == 1
    assert found.value("clipmax_rows_truncated_total", model="text", version="1") == 1


def test_openmetrics_is_given_to_who_asks_for_it(untouched: Running) -> None:
    """As Prometheus does by its Accept header."""
    answer = httpx.get(f"{untouched.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_without_telemetry_there_are_no_metrics_and_requests_are_answered(models: Path, tmp_path: Path) -> None:
    """`CLIPMAX_TELEMETRY=false`."""
    with serving(models, tmp_path, CLIPMAX_TELEMETRY="false") as running:
        assert httpx.get(f"{running.url}/metrics").status_code == 404
        answer = httpx.post(f"{running.url}/predict", json={"instances": artifacts.rows(1)})
        assert answer.status_code == 200


def test_a_key_is_asked_for_where_keys_are_on(models: Path, tmp_path: Path) -> None:
    """The mix of predictions is not for everybody."""
    keys = tmp_path / "keys"
    keys.write_text(f"prometheus:{'0' * 64}\n")
    with serving(models, tmp_path, "--api-keys-file", str(keys)) as running:
        assert httpx.get(f"{running.url}/metrics").status_code == 401
