"""Three times as much as the service can take."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import httpx
import numpy as np
import uvloop
from clients import offer, saturate
from onnx import TensorProto, helper, numpy_helper
from place import Found, started

from clipmax import manifest
from clipmax.repository import Repository
from tests import artifacts
from tests.service.running import post

WIDTH, HIDDEN = 64, 8192
"""Of the network that is to be overloaded: so much work a row that one core can offer three times as much."""


def overload(folder: Path, arguments: argparse.Namespace) -> Found:
    """Goodput against the peak, how soon and how well refusals come, and how soon all is well again."""
    root = folder / "models"
    publish_heavy(root)
    requests = [post("/predict", body) for body in heavy_bodies(64)]
    with started(root, folder, "--max-queue-rows", "128") as running:
        peak = uvloop.run(saturate(running.port, requests, seconds=10, connections=64))
        seen = uvloop.run(offer(running.port, requests, rate=3 * peak, seconds=arguments.seconds, connections=1000))
        recovery = recover(running.url, heavy_bodies(1)[0])
    goodput = seen.count(200) / arguments.seconds
    refused, late = seen.count(429), seen.percentile(429, 99)
    others = {status: len(found) for status, found in seen.seconds.items() if status not in (200, 429)}
    text = (
        f"peak {peak:,.0f}/s, offered {3 * peak:,.0f}/s "
        f"for {arguments.seconds:.0f} s ({seen.unsent} found no free connection); "
        f"goodput {goodput / peak:.0%} of peak (asked: 90 %); {refused:,} refused, "
        f"after {late * 1e3:.1f} ms p99 (asked: 20 ms), {seen.advised:,} with Retry-After; "
        f"other answers {others}, lost {seen.lost}; "
        f"answers took {seen.percentile(200, 50) * 1e3:.0f} ms p50, {seen.percentile(200, 99) * 1e3:.0f} ms p99; "
        f"as before after {recovery:.2f} s (asked: 1 s)"
    )
    good = goodput >= 0.9 * peak and late <= 0.02 and seen.advised == refused and not others and not seen.lost
    return text, bool(good and recovery < 1)


def recover(url: str, body: bytes) -> float:
    """Seconds until a request is answered as quickly as on an idle service."""
    began = time.monotonic()
    with httpx.Client(base_url=url, headers={"Content-Type": "application/json"}) as http:
        while time.monotonic() - began < 30:
            asked = time.monotonic()
            status = http.post("/predict", content=body).status_code
            if status == 200 and time.monotonic() - asked < 0.05:
                break
    return time.monotonic() - began


def publish_heavy(root: Path) -> None:
    """A table-less image model with two wide layers: about two milliseconds a row, most of it in the graph."""
    generator = np.random.default_rng(0)
    side = int(WIDTH**0.5)
    constants = {
        "low": np.float32(0),
        "high": np.float32(255),
        "first": (generator.normal(size=(WIDTH, HIDDEN)) / WIDTH**0.5).astype(np.float32),
        "second": (generator.normal(size=(HIDDEN, HIDDEN)) / HIDDEN**0.5).astype(np.float32),
        "last": (generator.normal(size=(HIDDEN, 3)) / HIDDEN**0.5).astype(np.float32),
        "temperature": np.float32(artifacts.TEMPERATURE),
    }
    nodes = [
        helper.make_node("Clip", ["image", "low", "high"], ["clipped"]),
        helper.make_node("Flatten", ["clipped"], ["flat"]),
        helper.make_node("Div", ["flat", "high"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "last"], ["logits"]),
        helper.make_node("Div", ["logits", "temperature"], ["cool"]),
        helper.make_node("Softmax", ["cool"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    schema = [{"kind": "image", "name": "image", "dtype": "float32", "shape": [side, side]}]
    instances = generator.integers(0, 256, size=(2, WIDTH)).astype(float).tolist()

    def write(place: Path, version: int) -> None:
        (place / manifest.MODEL_FILE).write_bytes(content)
        document = artifacts.document_of(
            content,
            name="heavy",
            version=version,
            labels=["a", "b", "c"],
            schema=schema,
            instances=instances,
        )
        (place / manifest.MANIFEST_FILE).write_bytes(manifest.dump(manifest.seal(document)))

    Repository(root).publish("heavy", write)


def heavy_bodies(count: int) -> list[bytes]:
    rows = np.random.default_rng(1).integers(0, 256, size=(count, WIDTH))
    return [json.dumps({"instances": [row]}).encode() for row in rows.tolist()]
