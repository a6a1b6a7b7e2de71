"""Versions, restarts and killed workers under load: what is lost and how long it takes.

    OMP_NUM_THREADS=1 python bench/reload/run.py [--times 50]

Publishes `--times` versions, then broken ones, then restarts the service as often, then kills workers, always while
clients ask without a pause and compare each answer with the graph of the version it names. Prints one line a part;
exits 1 where a request was lost or an answer was wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from service.listener import bind
from tests import artifacts
from tests.service.engine import breaking
from tests.service.load import Load, loading
from tests.service.running import PATIENCE_SECONDS, Running, serving

WATCH = ("--watch-seconds", "0.1")
BREAKS = (breaking.truncate, breaking.flip_bit, breaking.half_copy, breaking.add_label)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=50)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        for part in (reloads, broken, restarts, kills):
            place = Path(folder) / part.__name__
            place.mkdir()
            print(f"{part.__name__}: {part(place, times)}", flush=True)


def reloads(folder: Path, times: int) -> str:
    """From the rename of a version's folder to its first answer, and the memory after the fifth and the last."""
    root = folder / "models"
    artifacts.publish(root)
    seconds = []
    with serving(root, folder, *WATCH) as running:
        with loading(running.port) as load:
            memory = 0
            for version in range(2, times + 2):
                artifacts.publish(root)
                began = time.monotonic()
                load.wait_for_version(version)
                seconds.append(time.monotonic() - began)
                memory = memory or (resident_kilobytes(running.process.pid) if version == 6 else 0)
        time.sleep(1)
        after = resident_kilobytes(running.process.pid)
        gone = count(running, "version gone")
    return (
        f"{times} versions, {seen(load)}, {gone} drained; first answer after {statistics.median(seconds):.2f} s median,"
        f" {max(seconds):.2f} s longest; resident {memory / 1024:.1f} MB after 5, {after / 1024:.1f} MB after all"
    )


def broken(folder: Path, times: int) -> str:
    """Versions that are truncated, bit-flipped, half copied, or have other labels."""
    root = folder / "models"
    artifacts.publish(root)
    with serving(root, folder, *WATCH) as running, loading(running.port) as load:
        for index in range(times):
            version, aside = index + 2, folder / "aside"
            (aside / "tiny" / str(version - 1)).mkdir(parents=True)
            bad = artifacts.publish(aside)
            BREAKS[index % len(BREAKS)](bad)
            bad.rename(root / "tiny" / str(version))
            shutil.rmtree(aside)
            wait_for(running, "version refused", index + 1)
        refused = count(running, "version refused")
    return f"{times} broken versions, {seen(load)}, {refused} refused, answers from versions {sorted(load.answered)}"


def restarts(folder: Path, times: int) -> str:
    """SIGTERM and a new process on the same port."""
    root = folder / "models"
    artifacts.publish(root)
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with loading(port) as load:
        for index in range(times):
            place = folder / str(index)
            place.mkdir()
            with serving(root, place, "--port", str(port), "--drain-delay-seconds", "0.2") as running:
                load.wait_for(20, PATIENCE_SECONDS)
                running.process.send_signal(signal.SIGTERM)
                assert running.process.wait(PATIENCE_SECONDS) == 0
    return f"{times} restarts, {seen(load)}; {load.refused} connections met a port that was left"


def kills(folder: Path, times: int) -> str:
    """One of two workers is killed, a tenth as often, each time after both have run for 10 s."""
    root = folder / "models"
    artifacts.publish(root)
    rounds, seconds = max(1, times // 10), []
    with serving(root, folder, "--workers", "2") as running:
        with loading(running.port, clients=4, may_fail=4 * rounds) as load:
            for index in range(rounds):
                wait_for(running, "workers ready", index + 1)
                time.sleep(10)
                workers = [event for event in running.events() if event["event"] == "workers ready"][-1]["workers"]
                began = time.monotonic()
                os.kill(workers[0], signal.SIGKILL)
                wait_for(running, "workers ready", index + 2)
                seconds.append(time.monotonic() - began)
        memory = [resident_kilobytes(pid) / 1024 for pid in (running.process.pid, *workers[1:])]
    return (
        f"{rounds} workers killed, {sum(load.answered.values())} right answers, {len(load.failed)} requests failed; "
        f"replaced in {statistics.median(seconds):.2f} s median; resident supervisor {memory[0]:.0f} MB, worker "
        f"{memory[1]:.0f} MB"
    )


def seen(load: Load) -> str:
    return f"{load.count} right answers, {len(load.wrong)} wrong, {len(load.failed)} lost"


def count(running: Running, name: str) -> int:
    return sum(event["event"] == name for event in running.events())


def wait_for(running: Running, name: str, times: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count(running, name) < times:
        assert time.monotonic() < deadline, name
        time.sleep(0.05)


def resident_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
