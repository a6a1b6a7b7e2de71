"""A task of very many classes the whole way: trained, exported, served and asked over HTTP, with the memory of it all.

    python bench/many_classes/whole_path.py --data SHARED_DATA FOLDER    # a million classes, about 10 minutes
    python bench/many_classes/whole_path.py --data SHARED_DATA --classes 100000 FOLDER --no-page

Makes the task of bench/many_classes/pieces.py in FOLDER unless it is there, and runs `clipmax train` and
`clipmax serve` as processes of their own. The memory of a stage is the most that the system saw its process hold
(VmHWM, set back between two stages), the libraries and the data included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from bench import page
from bench.many_classes import pieces, served
from clipmax import manifest
from clipmax.manifest import MODEL_FILE, Manifest
from clipmax.repository import Repository
from tests.service.running import environment, serving

DOCUMENT = page.ROOT / "docs" / "many_classes.md"
SCRIPT = "bench/many_classes/whole_path.py"
REQUESTS, TOP_K = 100, 5
PATIENCE = 120.0
GIGABYTE = 1e9
_MARKS = {"last layer:": "reading and checking the data", "epoch ": "encoders, first weights, training"}
"""How a line of the command begins → the stage that has ended with it."""
_LAST = "temperature, graph, parity, figures over all classes, reachability, report"


@dataclass(frozen=True)
class Stage:
    """What a part of the way took."""

    name: str
    seconds: float
    peak_bytes: int


class Memory:
    """The most memory that a process has held since the last time it was asked, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self._status, self._clear = Path(f"/proc/{pid}/status"), Path(f"/proc/{pid}/clear_refs")
        self._lock, self._ended, self._peak = threading.Lock(), threading.Event(), 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def take(self) -> int:
        """Bytes; the next answer begins anew."""
        with self._lock:
            self._look()
            peak, self._peak = self._peak, 0
            if self._clear.exists():
                self._clear.write_text("5", encoding="ascii")
        return peak

    def end(self) -> int:
        """Bytes since the last answer; the process may be gone."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            with self._lock:
                self._look()

    def _look(self) -> None:
        try:
            lines = self._status.read_text(encoding="ascii").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        found = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        self._peak = max(self._peak, next(found, 0))


def main() -> None:
    """All of it, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the task's files, runs/ and models/")
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77/, csl_category/ and others")
    parser.add_argument("--classes", type=int, choices=pieces.LENGTHS, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both processes; default: all")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="as of `clipmax train`")
    parser.add_argument("--note", default="", help="a sentence on the machine, for the page")
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    task = arguments.folder / "run.toml"
    if not task.exists():
        pieces.write(arguments.folder, arguments.data, arguments.classes)
    stages = train(task, [f"threads={arguments.threads}", *arguments.overrides])
    folder = newest(arguments.folder / "models", f"pieces-{arguments.classes}")
    row = pl.read_parquet(arguments.folder / "test.parquet").drop("next").row(0, named=True)
    more, top = serve(folder, row, arguments.threads)
    lines = [*about(folder, arguments.threads, arguments.note), *table([*stages, *more]), "", ending(folder, row, top)]
    print("\n".join(lines))
    if not arguments.no_page:
        page.write(DOCUMENT, SCRIPT, "\n".join(lines))


def train(task: Path, overrides: Sequence[str]) -> list[Stage]:
    """`clipmax train`, its stages told apart by what it prints."""
    command = [sys.executable, "-m", "clipmax.cli", "train", task.name, *(f"--set={one}" for one in overrides)]
    started, stages = time.perf_counter(), []
    with subprocess.Popen(
        command, cwd=task.parent, env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        memory = Memory(process.pid)
        for line in process.stdout:
            print(line, end="", flush=True)
            name = next((name for mark, name in _MARKS.items() if line.startswith(mark)), None)
            if name is not None:
                now = time.perf_counter()
                stages.append(Stage(name, now - started, memory.take()))
                started = now
        process.wait()
        stages.append(Stage(_LAST, time.perf_counter() - started, memory.end()))
    if process.returncode:
        raise SystemExit(f"clipmax train ended with {process.returncode}")
    return stages


def newest(models: Path, name: str) -> Path:
    """The folder of a model's last version."""
    repository = Repository(models)
    return repository.folder(name, repository.versions(name)[-1])


def serve(folder: Path, row: dict[str, Any], threads: int) -> tuple[list[Stage], list[dict[str, Any]]]:
    """`clipmax serve` until it is ready, then one row again and again; its most probable labels."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as place,
        serving(folder.parents[1], Path(place), "--threads", str(threads)) as running,
        httpx.Client(base_url=running.url, timeout=30) as http,
    ):
        memory = Memory(running.process.pid)
        while http.get("/v2/health/ready").status_code != httpx.codes.OK and time.perf_counter() - started < PATIENCE:
            time.sleep(0.05)
        ready = Stage("start of the service until it is ready", time.perf_counter() - started, memory.take())
        times = []
        for _ in range(REQUESTS):
            before = time.perf_counter()
            top = _ask(http, folder.parent.name, row)
            times.append(time.perf_counter() - before)
        asked = Stage(f"one row over HTTP, median of {REQUESTS}", statistics.median(times), memory.take())
        memory.end()
    return [ready, asked], top


def _ask(http: httpx.Client, name: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"instances": [row], "parameters": {"top_k": TOP_K}}
    top: list[dict[str, Any]] = (
        http.post(f"/v1/models/{name}:predict", json=body).raise_for_status().json()["predictions"][0]["top"]
    )
    return top


def about(folder: Path, threads: int, note: str) -> list[str]:
    """What was trained, and on what."""
    found, report = manifest.load(folder), _report(folder)
    assert found.data is not None
    steps = sum(epoch["seconds"] for epoch in report["epochs"])
    rate = report["epochs"][-1]["samples_per_second"]
    sentence = (
        f"{found.classes:,} classes, {found.data.rows['train']:,} training rows, {len(report['epochs'])} epoch of "
        f"{steps:.0f} s in its steps ({rate:,.0f} rows/s), {threads} threads. {note}"
    )
    return [sentence.strip(), "", "| step | time | memory at most |", "|---|--:|--:|"]


def table(stages: Sequence[Stage]) -> list[str]:
    """A line a stage, and the most memory of all."""
    lines = [f"| {one.name} | {_time(one.seconds)} | {one.peak_bytes / GIGABYTE:.2f} GB |" for one in stages]
    whole = sum(one.seconds for one in stages)
    most = max(one.peak_bytes for one in stages)
    return [*lines, f"| the whole way | {_time(whole)} | {most / GIGABYTE:.2f} GB |"]


def ending(folder: Path, row: dict[str, Any], top: Sequence[dict[str, Any]]) -> str:
    """How good the model is, and how far the served labels and the rest of the reference are from 1 together."""
    found = manifest.load(folder)
    distance = _distance(folder, found, row, top)
    assert found.metrics is not None
    assert found.head is not None
    unreachable = found.head.unreachable
    assert unreachable is not None
    size = found.files[MODEL_FILE].bytes / 1e6
    return (
        f"Exact over all classes: log loss {found.metrics.log_loss:.3f}, top-1 {found.metrics.accuracy:.1%}. The graph "
        f"has {size:.0f} MB. Of {unreachable.tested} classes that were tested {unreachable.found} "
        f"can never be predicted. The {TOP_K} probabilities that were served and those of all other classes in double "
        f"precision together are {distance:.1e} from 1."
    )


def _distance(folder: Path, found: Manifest, row: dict[str, Any], top: Sequence[dict[str, Any]]) -> float:
    reference = served.refer(folder, [row])
    numbers = {label: number for number, label in enumerate(found.labels)}
    named = [numbers[one["label"]] for one in top]
    rest = 1.0 - float(reference.probabilities[0, named].sum())
    return abs(sum(float(one["probability"]) for one in top) + rest - 1.0)


def _report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return document


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


if __name__ == "__main__":
    main()
