"""Slow clients beside good ones."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvloop
from clients import offer, saturate
from place import Found, started

from tests import artifacts
from tests.service.running import post


def slow(folder: Path, _arguments: argparse.Namespace) -> Found:
    """The good ones' p99 with 200 slow ones and without, turn by turn, and when the slow ones are closed."""
    root = folder / "models"
    artifacts.publish(root)
    requests = [post("/predict", json.dumps({"instances": [row]}).encode()) for row in artifacts.rows(64)]
    without, beside, closed = [], [], list[float]()
    with started(root, folder) as running:
        peak = uvloop.run(saturate(running.port, requests, seconds=3, connections=64))
        for _ in range(5):
            without.append(p99(running.port, requests, peak / 4))
            with dripping(running.port, 200, closed):
                beside.append(p99(running.port, requests, peak / 4))
    more = float(np.median([b / a for a, b in zip(without, beside, strict=True)])) - 1
    text = (
        f"p99 {np.median(without) * 1e3:.2f} ms without, {np.median(beside) * 1e3:.2f} ms beside 200 slow clients: "
        f"{more:+.0%} (asked: +20 %), median of five turns at a quarter of the peak of {peak:,.0f}/s; "
        f"{len(closed)} of 1000 slow ones closed, after {np.median(closed):.1f} s, {max(closed):.1f} s at most"
    )
    return text, more <= 0.2 and len(closed) == 1000 and max(closed) < 21


def p99(port: int, requests: list[bytes], rate: float) -> float:
    return uvloop.run(offer(port, requests, rate=rate, seconds=22, connections=32)).percentile(200, 99)


@contextmanager
def dripping(port: int, count: int, closed: list[float]) -> Iterator[None]:
    """Half of them never end their headers, half never their body: a byte every second."""
    thread = threading.Thread(target=lambda: asyncio.run(_drip_all(port, count, closed)))
    thread.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        thread.join()


async def _drip_all(port: int, count: int, closed: list[float]) -> None:
    await asyncio.gather(*(_drip(port, index % 2 == 0, closed) for index in range(count)))


async def _drip(port: int, in_headers: bool, closed: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    writer.write(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
    writer.write(b"X-A: " if in_headers else b"Content-Length: 5000\r\n\r\n")
    for _ in range(40):
        try:
            writer.write(b" ")
            if await asyncio.wait_for(reader.read(4096), 1.0) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        return
    closed.append(time.monotonic() - began)
    writer.close()
