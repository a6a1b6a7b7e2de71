"""A long time at 70 % of the peak."""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import uvloop
from clients import offer, saturate
from place import Found, started

from tests import artifacts
from tests.service.running import post


def soak(folder: Path, arguments: argparse.Namespace) -> Found:
    """Memory, descriptors and threads at 70 % of the peak: their slopes after the first fifth of the time."""
    root = folder / "models"
    artifacts.publish(root)
    bodies = [json.dumps({"instances": artifacts.rows(4, seed=seed)}).encode() for seed in range(60)]
    requests = [post("/predict", body) for body in bodies] + [post("/predict", b'{"instances": [[1, 2]]}')] * 4
    with started(root, folder) as running:
        peak = uvloop.run(saturate(running.port, requests, seconds=5, connections=64))
        samples, stop = list[tuple[float, ...]](), threading.Event()
        watch = threading.Thread(target=_watch, args=(running.process.pid, samples, stop))
        watch.start()
        seen = uvloop.run(
            offer(running.port, requests, rate=0.7 * peak, seconds=60 * arguments.minutes, connections=64)
        )
        stop.set()
        watch.join()
    table = np.array(samples[len(samples) // 5 :])
    slopes = [float(np.polyfit(table[:, 0] / 3600, table[:, column], 1)[0]) for column in (1, 2, 3)]
    failed = {status: len(found) for status, found in seen.seconds.items() if status not in (200, 422)}
    text = (
        f"{arguments.minutes:.0f} minutes at {0.7 * peak:,.0f}/s: {seen.count(200):,} answered, "
        f"{seen.count(422):,} refused as bad, {seen.lost} lost, {seen.unsent} found no free connection, "
        f"others {failed}; "
        f"resident {table[0, 1]:.1f} to {table[-1, 1]:.1f} MB, slope {slopes[0]:+.2f} MB/h; "
        f"descriptors {slopes[1]:+.2f}/h, threads {slopes[2]:+.2f}/h; "
        f"p99 {seen.percentile(200, 99) * 1e3:.1f} ms"
    )
    flat = table[-1, 1] - table[0, 1] < 2 and slopes[1] < 1 and slopes[2] < 1
    return text, bool(flat and not failed and not seen.lost)


def _watch(pid: int, samples: list[tuple[float, ...]], stop: threading.Event) -> None:
    began = time.monotonic()
    while not stop.wait(2.0):
        status = Path(f"/proc/{pid}/status").read_text()
        resident, threads = (int(found) for found in re.findall(r"(?:VmRSS|Threads):\s+(\d+)", status))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        samples.append((time.monotonic() - began, resident / 1024, float(descriptors), float(threads)))
