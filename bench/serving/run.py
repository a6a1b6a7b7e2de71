"""Our service beside a raw ASGI app without any check: requests a second and CPU time an answer, as ratios.

    python bench/serving/run.py [--models models] [--visits 7] [--write]

Each server has one core and one onnxruntime thread, wrk has the other core. Visits take turns (reference, ours, ours,
reference, …), each ratio is of two neighbouring visits, and what is reported is the median with the middle half. A
visit counts only if the server's core was busy: a load generator that starves would flatter the slower server. Where
permitted, everything runs in the real-time class, so that other programs on the machine matter less.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "serving.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
BUSY = 0.95
"""Share of its core that a server must have used; of what Linux leaves to the real-time class, where that is used."""

_RUNTIME, _PERIOD = (Path(f"/proc/sys/kernel/sched_rt_{name}_us") for name in ("runtime", "period"))
SERVER_CORE, CLIENT_CORE = 0, 1
PATIENCE_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_POST = """
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
{headers}
"""
_COLUMNS = (
    "work",
    "reference, requests/s",
    "ours, requests/s",
    "ratio (middle half)",
    "CPU an answer, reference / ours (ratio)",
    "busy",
    "must",
    "aim",
)
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of both servers.

    Attributes:
        must, aim: ratios of requests a second.
        protocol: of the reference, see `reference.PROTOCOLS`.
        is_busy: whether the server's core should be; one connection at a time leaves it idle between requests.
    """

    name: str
    connections: int
    body: bytes
    must: float
    aim: float
    protocol: str = "json"
    our_path: str = "/predict"
    headers: tuple[tuple[str, str], ...] = tuple(_JSON.items())
    is_busy: bool = True


@dataclass(frozen=True, slots=True)
class Visit:
    """One second of load: requests a second, CPU seconds an answer, and the share of the core that was used."""

    rate: float
    cpu: float
    busy: float


@dataclass(frozen=True, slots=True)
class Server:
    """A server process that answers."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024


def works() -> tuple[Work, ...]:
    """Everything that is measured. The rows are digits as sparse as MNIST's, the same for all."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 256, size=(32, 784)) * (generator.random((32, 784)) < 0.19)

    def rows(count: int) -> bytes:
        return json.dumps({"instances": pixels[:count].tolist()}, separators=(",", ":")).encode()

    return (
        Work("one row, 64 connections", 64, rows(1), must=1.6, aim=2.0),
        Work("32 rows, 16 connections", 16, rows(32), must=1.9, aim=2.2),
        Work("one row, one connection", 1, rows(1), must=0.75, aim=1.0, is_busy=False),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="models folder with an image model of 784")
    parser.add_argument("--model", default="mnist", help="name of the model; its newest version is served")
    parser.add_argument("--visits", type=int, default=7, help="pairs of visits a work")
    parser.add_argument("--seconds", type=int, default=1, help="length of a visit")
    parser.add_argument("--only", default="", help="measure only works with this in their name")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {DOCUMENT.name}")
    arguments = parser.parse_args()
    chosen = [work for work in works() if arguments.only in work.name]
    with tempfile.TemporaryDirectory() as folder:
        text = report(measure(chosen, arguments, Path(folder)), start_up(arguments))
    print(text)
    if arguments.write:
        write(text)


def measure(
    chosen: Sequence[Work], arguments: argparse.Namespace, folder: Path
) -> list[tuple[Work, list[tuple[Visit, Visit]]]]:
    """Pairs of visits (reference, ours) of each work."""
    found = []
    for work in chosen:
        with reference(work, arguments) as theirs, service(arguments) as ours:
            visitors = [
                (theirs, f"http://127.0.0.1:{theirs.port}/"),
                (ours, f"http://127.0.0.1:{ours.port}{work.our_path}"),
            ]
            scripts = _script(work, folder)
            for server, url in visitors:  # not counted: caches, branch predictors, memory
                visit(server, url, work, scripts, arguments.seconds)
            pairs = []
            while len(pairs) < arguments.visits:
                order = visitors if len(pairs) % 2 == 0 else visitors[::-1]
                visits = {url: visit(server, url, work, scripts, arguments.seconds) for server, url in order}
                pair = (visits[visitors[0][1]], visits[visitors[1][1]])
                print(f"{work.name}: {pair[1].rate / pair[0].rate:.2f} {pair}", file=sys.stderr)
                pairs.append(pair)
            found.append((work, pairs))
    return found


def visit(server: Server, url: str, work: Work, script: Path, seconds: int) -> Visit:
    """Load for one visit, and what the server used of it."""
    command = ["wrk", "-t1", f"-c{work.connections}", f"-d{seconds}s", "-s", str(script), url]
    before = server.cpu_seconds()
    done = subprocess.run([*_pinned(CLIENT_CORE), *command], capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = int(re.search(r"(\d+) requests in", done.stdout)[1])  # type: ignore[index]  # a run that ended with 0 prints both
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]  # see above
    return Visit(rate, cpu / requests, cpu * rate / requests / _available())


@contextlib.contextmanager
def reference(work: Work, arguments: argparse.Namespace) -> Iterator[Server]:
    """The hand-written app with the same graph."""
    model = max((arguments.models / arguments.model).glob("[0-9]*"), key=lambda path: int(path.name)) / "model.onnx"
    port = _free_port()
    command = [sys.executable, str(HERE / "reference.py"), "--model", str(model), "--port", str(port)]
    with _running([*command, "--protocol", work.protocol], port, "/", work.body) as server:
        yield server


@contextlib.contextmanager
def service(arguments: argparse.Namespace) -> Iterator[Server]:
    """Our command as a user starts it, with all that is on by default."""
    port = _free_port()
    flags = ["--models", str(arguments.models), "--default-model", arguments.model, "--threads", "1"]
    command = [str(Path(sys.executable).with_name("clipmax")), "serve", "--port", str(port), *flags]
    with _running([*command, "--drain-delay-seconds", "0"], port, "/v2/health/ready", None) as server:
        yield server


@contextlib.contextmanager
def _running(command: Sequence[str], port: int, path: str, body: bytes | None) -> Iterator[Server]:
    began = time.monotonic()
    process = subprocess.Popen([*_pinned(SERVER_CORE), *command], stderr=subprocess.DEVNULL)
    try:
        _await(process, f"http://127.0.0.1:{port}{path}", body)
        yield Server(process, port, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _await(process: subprocess.Popen[bytes], url: str, body: bytes | None) -> None:
    """Until it answers."""
    while process.poll() is None:
        try:
            question = urllib.request.Request(url, body, _JSON)  # noqa: S310  # our own loopback address
            with urllib.request.urlopen(question, timeout=PATIENCE_SECONDS):  # noqa: S310  # as above
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise AssertionError("the server ended before it answered")


def _available() -> float:
    """The share of a core that a process in our class may use."""
    if "chrt" not in _pinned(SERVER_CORE):
        return 1.0
    runtime, period = int(_RUNTIME.read_text()), int(_PERIOD.read_text())
    return 1.0 if runtime < 0 else runtime / period


@functools.cache
def _pinned(core: int) -> list[str]:
    """One core, and the real-time class where that is permitted."""
    real_time = ["chrt", "-f", "1"]
    is_permitted = (
        shutil.which("chrt") and subprocess.run([*real_time, "true"], capture_output=True, check=False).returncode == 0
    )
    return ["taskset", "-c", str(core), *(real_time if is_permitted else [])]


def _script(work: Work, folder: Path) -> Path:
    body, script = folder / "body", folder / "post.lua"
    body.write_bytes(work.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in work.headers)
    script.write_text(_POST.format(body=body, headers=headers))
    return script


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_up(arguments: argparse.Namespace, times: int = 5) -> tuple[list[float], int]:
    """Seconds from the command to readiness, several times, and the resident memory then."""
    seconds, resident = [], 0
    for _ in range(times):
        with service(arguments) as server:
            seconds.append(server.ready_seconds)
            resident = max(resident, server.resident_bytes())
    return seconds, resident


def report(measured: Sequence[tuple[Work, list[tuple[Visit, Visit]]]], started: tuple[list[float], int]) -> str:
    """The figures as Markdown."""
    lines = [
        f"| {' | '.join(_COLUMNS)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(work, pairs) for work, pairs in measured),
        "",
        f"Start to ready: {_spread(started[0], 2)} s. Resident memory when ready: {started[1] / 1e6:.0f} MB.",
        "",
        f"{platform.machine()}, {_processor()}, Python {platform.python_version()}; {_versions()}.",
    ]
    return "\n".join(lines)


def _row(work: Work, pairs: Sequence[tuple[Visit, Visit]]) -> str:
    fair = [pair for pair in pairs if not work.is_busy or min(pair[0].busy, pair[1].busy) >= BUSY]
    used = fair or pairs
    theirs, ours = [pair[0] for pair in used], [pair[1] for pair in used]
    busy = min(one.busy for one in [*theirs, *ours])
    median = statistics.median
    cells: list[Any] = [
        work.name,
        f"{median(one.rate for one in theirs):,.0f}",
        f"{median(one.rate for one in ours):,.0f}",
        _spread([one.rate / other.rate for other, one in used], 2),
        _cpu(theirs, ours, median(other.cpu / one.cpu for other, one in used)),
        f"{busy:.0%}, {len(fair)} of {len(pairs)} visits",
        f"{work.must:.2f}",
        f"{work.aim:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _cpu(theirs: Sequence[Visit], ours: Sequence[Visit], ratio: float) -> str:
    first, second = (statistics.median(one.cpu for one in visits) * 1e6 for visits in (theirs, ours))
    return f"{first:,.0f} / {second:,.0f} µs ({ratio:.2f})"


def _spread(values: Sequence[float], digits: int) -> str:
    """Median and middle half."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    first, middle, last = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({first:.{digits}f} to {last:.{digits}f})"


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown processor"


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(
        f"{name} {version(name)}" for name in ("uvicorn", "fastapi", "onnxruntime", "numpy", "pysimdjson", "orjson")
    )


def write(text: str) -> None:
    """Replace what stands between the markers."""
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
