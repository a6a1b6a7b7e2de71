"""Metrics beside what counting clients saw: mixed requests to two workers, one of which is killed on the way.

    python bench/telemetry/counts.py [--requests 100000] [--clients 8] [--no-kill]

Each client sends one request after another on its own connection, right and wrong ones in turn, and counts its
answers by route and status. A request whose connection ends without an answer is counted apart: it died with its
worker, which has counted it only if it was killed in the microseconds between the count and the write. So for every
series: answers seen ≤ metric ≤ answers seen + requests that died; without a kill, equal.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' artifacts and their way to start a service

from tests import artifacts
from tests.service.running import Running, serving

JSON = {"Content-Type": "application/json"}
NAMED, VERSIONED = "/v1/models/{name}:predict", "/v1/models/{name}/versions/{version}:predict"
INFER = "/v2/models/{name}/infer"

Seen = collections.Counter[tuple[str, str]]


def questions() -> list[tuple[str, str, bytes]]:
    """Route, path, body; some of them wrong."""
    rows = artifacts.rows(3)
    right = json.dumps({"instances": rows}).encode()
    short = json.dumps({"instances": [[1.0]]}).encode()
    tensor = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": rows[0]}
    return [
        ("/predict", "/predict", right),
        (NAMED, "/v1/models/tiny:predict", json.dumps({"instances": rows[:1]}).encode()),
        (VERSIONED, "/v1/models/tiny/versions/1:predict", right),
        (INFER, "/v2/models/tiny/infer", json.dumps({"inputs": [tensor]}).encode()),
        ("/predict", "/predict", short),
        ("/predict", "/predict", b'{"instances": [NaN]}'),
        (INFER, "/v2/models/tiny/infer", b"{}"),
        (NAMED, "/v1/models/nobody:predict", right),
        ("other", "/nowhere", right),
    ]


class Client(threading.Thread):
    """Asks until it is told to stop or has asked so often."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__()
        self.port, self.count = port, count
        self.answers: Seen = collections.Counter()
        self.died: Seen = collections.Counter()

    def run(self) -> None:
        asked = questions()
        connection = self._connect()
        for turn in range(self.count):
            route, path, body = asked[turn % len(asked)]
            try:
                connection.request("POST", path, body, JSON)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.died[route, ""] += 1
                connection = self._connect()
                continue
            self.answers[route, str(answer.status)] += 1

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--no-kill", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifacts.publish(folder / "models")
        with serving(folder / "models", folder, "--workers", "2", "--threads", "1") as running:
            await_workers(running)
            answers, died = load(running, arguments.requests, arguments.clients, is_killed=not arguments.no_kill)
            compare(answers, died, requests_total(running))


def load(running: Running, requests: int, count: int, *, is_killed: bool) -> tuple[Seen, Seen]:
    """What all clients saw, and what died."""
    clients = [Client(running.port, requests // count) for _ in range(count)]
    for client in clients:
        client.start()
    if is_killed:
        while sum(client.answers.total() for client in clients) < requests // 3:
            time.sleep(0.01)
        os.kill(workers(running)[0], signal.SIGKILL)
    for client in clients:
        client.join()
    answers, died = (
        sum((getattr(one, name) for one in clients), collections.Counter()) for name in ("answers", "died")
    )
    return answers, died


def workers(running: Running) -> list[int]:
    """The processes of the last complete set."""
    return next(event["workers"] for event in reversed(running.events()) if event["event"] == "workers ready")


def await_workers(running: Running) -> None:
    deadline = time.monotonic() + 60
    while not any(event["event"] == "workers ready" for event in running.events()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def requests_total(running: Running) -> Seen:
    """The metric, by route and status."""
    text = httpx.get(f"{running.url}/metrics", timeout=30).raise_for_status().text
    found: Seen = collections.Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "clipmax_requests_total" and sample.labels["route"] in {one for one, _, _ in questions()}:
                found[sample.labels["route"], sample.labels["code"]] += int(sample.value)
    return +found


def compare(answers: Seen, died: Seen, counted: Seen) -> None:
    for series in sorted(answers | counted):
        print(f"{series[0]} {series[1]}: clients {answers[series]}, metric {counted[series]}")
    above = counted.copy()
    above.subtract(answers)
    print(f"{answers.total()} answers, {died.total()} requests died with their worker, difference {above.total()}")
    assert min(above.values()) >= 0
    assert above.total() <= died.total()


if __name__ == "__main__":
    main()
