"""Large bodies that are refused, one after another, beside small good requests."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import uvloop
from clients import offer, saturate
from place import Found, started

from tests.service.running import post

MODELS = Path(__file__).parents[2] / "models"
BODY_BYTES = 5_000_000
SENDERS = 2
SECONDS = 4.0
LONGEST_SECONDS = 0.05
"""A stall that a person would not notice; nobody asked for a figure."""


def flood(folder: Path, _arguments: argparse.Namespace) -> Found:
    """The good ones' p99 alone and beside each kind of refused body."""
    pixels = np.random.default_rng(0).integers(0, 256, size=784).tolist()
    requests = [post("/predict", json.dumps({"instances": [pixels]}).encode())]
    with started(MODELS, folder, "--default-model", "mnist") as running:
        rate = uvloop.run(saturate(running.port, requests, seconds=3, connections=16)) / 4
        found = {"alone": p99(running.port, requests, rate)}
        for name, (path, body) in bodies(pixels).items():
            with refused(running.port, path, body) as counts:
                late = p99(running.port, requests, rate)
            assert counts, "nothing was refused"
            found[name] = late
    text = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in found.items())
    return f"p99 of small requests, {rate:,.0f}/s: {text}", max(found.values()) <= LONGEST_SECONDS


def bodies(pixels: list[int]) -> dict[str, tuple[str, bytes]]:
    """What is wrong → where it is sent, and about five megabytes of which only the end is wrong."""
    row = json.dumps([pixel + 0.25 for pixel in pixels])
    rows = BODY_BYTES // len(row)
    many, flat = ", ".join([row] * rows), ", ".join([row[1:-1]] * rows)
    tensor = f'"name": "image", "datatype": "FP32", "shape": [{rows}, 28, 28], "data": [{flat}'
    found = {
        "a short last row": ("/predict", f'{{"instances": [{many}, [1, 2]]}}'),
        "no end": ("/predict", f'{{"instances": [{many}]'),
        "V2 a value too many": ("/v2/models/mnist/infer", f'{{"inputs": [{{{tensor}, 1]}}]}}'),
        "V2 no end": ("/v2/models/mnist/infer", f'{{"inputs": [{{{tensor}]}}]'),
    }
    return {what: (path, body.encode()) for what, (path, body) in found.items()}


def p99(port: int, requests: list[bytes], rate: float) -> float:
    return uvloop.run(offer(port, requests, rate=rate, seconds=SECONDS, connections=32)).percentile(200, 99)


@contextmanager
def refused(port: int, path: str, body: bytes) -> Iterator[list[int]]:
    """Meanwhile, the body is sent without a pause; gives the statuses so far."""
    done, statuses = threading.Event(), list[int]()

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        while not done.is_set():
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status in {400, 422, 413}, answer.status
            statuses.append(answer.status)
        connection.close()

    senders = [threading.Thread(target=send) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        yield statuses
    finally:
        done.set()
        for sender in senders:
            sender.join()
