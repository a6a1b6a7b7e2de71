"""What telemetry costs: the same service with it and without, as ratios of requests a second and of CPU an answer.

    python bench/telemetry/cost.py [--models models] [--starts 8] [--visits 3]

One row a request over 64 connections, and over one, by wrk. The services have one core, wrk has another, and both are
started anew several times. Visits of 1 s take turns (on, off, off, on, …), each ratio is of two neighbouring visits,
and what is reported is the median with the middle half. `GET /metrics` is asked every five seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' way to start a service

from tests.service.running import Running, serving

ROOT = Path(__file__).parents[2]
SERVER_CORE, CLIENT_CORE = 0, 1
SCRAPE_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_WRK = """
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
wrk.headers["Content-Type"] = "application/json"
"""


class Visit(NamedTuple):
    """Requests a second, and CPU seconds an answer."""

    rate: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--body", type=Path, default=ROOT / "examples" / "mnist" / "digit.json")
    parser.add_argument("--starts", type=int, default=8, help="of the two services")
    parser.add_argument("--visits", type=int, default=3, help="pairs of visits a work and start")
    arguments = parser.parse_args()
    found: dict[int, list[tuple[Visit, Visit]]] = {64: [], 1: []}
    for _ in range(arguments.starts):
        with tempfile.TemporaryDirectory() as folder, services(arguments.models, Path(folder)) as (measured, silent):
            script = Path(folder) / "post.lua"
            script.write_text(_WRK.format(body=arguments.body.resolve()))
            for connections, pairs in found.items():
                pairs.extend(visits(measured, silent, connections, script, arguments.visits))
    for connections, pairs in found.items():
        print(f"one row, {connections} connections: {report(pairs)}", flush=True)


@contextlib.contextmanager
def services(models: Path, folder: Path) -> Iterator[tuple[Running, Running]]:
    """One with telemetry and one without, new ones each time: a process may be a few percent slower all its life."""
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {SERVER_CORE})
        found = []
        for telemetry in ("true", "false"):
            place = folder / telemetry
            place.mkdir()
            found.append(stack.enter_context(serving(models, place, "--threads", "1", "--telemetry", telemetry)))
        os.sched_setaffinity(0, {CLIENT_CORE})
        stack.enter_context(scraping(found[0]))
        yield found[0], found[1]


def visits(measured: Running, silent: Running, connections: int, script: Path, count: int) -> list[tuple[Visit, Visit]]:
    """Pairs (on, off)."""
    pairs = []
    for turn in range(count + 1):  # the first pair warms up
        order = [measured, silent] if turn % 2 else [silent, measured]
        found = {one.port: visit(one, connections, script) for one in order}
        pairs.append((found[measured.port], found[silent.port]))
    return pairs[1:]


def visit(running: Running, connections: int, script: Path) -> Visit:
    """One second of load."""
    before = cpu_seconds(running)
    command = ["wrk", "-t1", f"-c{connections}", "-d1s", "-s", str(script), f"{running.url}/predict"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(running) - before
    assert "Non-2xx" not in text, text
    requests, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert requests is not None
    assert rate is not None
    return Visit(float(rate[1]), used / int(requests[1]))


def cpu_seconds(running: Running) -> float:
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def scraping(running: Running) -> Iterator[None]:
    """In the time that the other service is visited too."""
    is_over = threading.Event()

    def scrape() -> None:
        with httpx.Client(base_url=running.url, timeout=10) as http:
            while not is_over.wait(SCRAPE_SECONDS):
                http.get("/metrics").raise_for_status()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def report(pairs: Sequence[tuple[Visit, Visit]]) -> str:
    rates = [on.rate / off.rate for on, off in pairs]
    cpu = [on.cpu / off.cpu for on, off in pairs]
    with_it = statistics.median(on.rate for on, _ in pairs)
    without = statistics.median(off.rate for _, off in pairs)
    return f"{with_it:,.0f} requests/s with, {without:,.0f} without; {spread(rates)}; CPU an answer {spread(cpu)}"


def spread(values: Sequence[float]) -> str:
    first, middle, last = statistics.quantiles(values, n=4, method="inclusive")
    return f"ratio {middle:.3f} ({first:.3f} to {last:.3f})"


if __name__ == "__main__":
    main()
