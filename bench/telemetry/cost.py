"""What telemetry costs: the same service with it and without, as ratios of requests a second and of CPU an answer.

    python bench/telemetry/cost.py [--models models] [--visits 16]

One row a request over 64 connections, and over one, by wrk. The services have one core, wrk has another. Visits of 1 s
take turns (on, off, off, on, …), each ratio is of two neighbouring visits, and what is reported is the median with the
middle half. `GET /metrics` is asked every five seconds.
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
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the tests' way to start a service

from tests.service.running import Running, serving  # noqa: E402  # found by the line above

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
    parser.add_argument("--visits", type=int, default=16, help="pairs of visits a work")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {SERVER_CORE})
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        measured, silent = (
            stack.enter_context(serving(arguments.models, folder, "--threads", "1", "--telemetry", telemetry))
            for folder, telemetry in zip(folders, ("true", "false"), strict=True)
        )
        os.sched_setaffinity(0, {CLIENT_CORE})
        stack.enter_context(scraping(measured))
        script = folders[0] / "post.lua"
        script.write_text(_WRK.format(body=arguments.body.resolve()))
        for connections in (64, 1):
            pairs = visits(measured, silent, connections, script, arguments.visits)
            print(f"one row, {connections} connections: {report(pairs)}", flush=True)


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
        while not is_over.wait(SCRAPE_SECONDS):
            with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:  # noqa: S310  # our own loopback address
                answer.read()

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
