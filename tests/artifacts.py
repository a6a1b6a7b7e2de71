"""A tiny real artifact, published as training publishes one, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from clipmax import manifest
from clipmax.repository import Repository

SHAPE = (4, 4)
TEMPERATURE = 1.5

Model = onnx.ModelProto
Floats = npt.NDArray[np.float32]


def publish(root: Path, name: str = "tiny", *, labels: int = 3) -> Path:
    """Publish the next version of a model; its weights, and so its answers, depend on the version.

    Returns:
        The folder of the version.
    """
    words = [f"label {index}" for index in range(labels)]

    def write(folder: Path, version: int) -> None:
        content = model(version, labels=labels).SerializeToString()
        (folder / manifest.MODEL_FILE).write_bytes(content)
        document = manifest.seal(document_of(content, name=name, version=version, labels=words))
        (folder / manifest.MANIFEST_FILE).write_bytes(manifest.dump(document))

    return Repository(root).publish(name, write)


def rows(count: int, *, seed: int = 0) -> list[list[float]]:
    """Pixels of `count` images, flat, as a client sends them."""
    generator = np.random.default_rng(seed)
    pixels: list[list[float]] = (
        generator.integers(0, 256, size=(count, *SHAPE)).astype(float).reshape(count, -1).tolist()
    )
    return pixels


def run(content: bytes, instances: list[list[float]]) -> tuple[Floats, Floats]:
    """Logits and probabilities of instances by onnxruntime itself."""
    tensor = np.array(instances, dtype=np.float32).reshape(-1, *SHAPE)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(["logits", "probabilities"], {"image": tensor})
    return logits, probabilities


def model(version: int, *, labels: int = 3) -> Model:
    """float32 image [N, 4, 4] → clip to 0..255 → /255 → linear → logits [N, labels] → /temperature → softmax."""
    generator = np.random.default_rng(version)
    constants = {
        "low": np.float32(0),
        "high": np.float32(255),
        "weight": generator.normal(size=(SHAPE[0] * SHAPE[1], labels)).astype(np.float32),
        "temperature": np.float32(TEMPERATURE),
    }
    nodes = [
        helper.make_node("Clip", ["image", "low", "high"], ["clipped"]),
        helper.make_node("Flatten", ["clipped"], ["flat"]),
        helper.make_node("Div", ["flat", "high"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weight"], ["logits"]),
        helper.make_node("Div", ["logits", "temperature"], ["divided"]),
        helper.make_node("Softmax", ["divided"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", labels])
            for output in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def document_of(content: bytes, *, name: str, version: int, labels: list[str]) -> dict[str, Any]:
    """A manifest without its seal, for a model that has been through `run`."""
    instances = rows(3)
    _, probabilities = run(content, instances)
    digest = hashlib.sha256(content).hexdigest()
    return {
        "format_version": manifest.FORMAT_VERSION,
        "name": name,
        "version": version,
        "created": "2026-01-02T03:04:05+00:00",
        "task": "classification",
        "inputs": [{"kind": "image", "name": "image", "dtype": "float32", "shape": list(SHAPE)}],
        "outputs": ["logits", "probabilities"],
        "labels": labels,
        "temperature": TEMPERATURE,
        "metrics": {
            "rows": 3,
            "accuracy": 0.9,
            "macro_f1": 0.9,
            "log_loss": 0.3,
            "brier": 0.2,
            "ece": 0.01,
            "ece_uncalibrated": 0.02,
            "log_loss_uncalibrated": 0.4,
        },
        "data": {"fingerprint": "0" * 64, "files": {}, "rows": {"train": 8, "validation": 3, "test": 3}},
        "training": {"seed": 0, "epochs": 1, "best_epoch": 1, "configuration": {}},
        "libraries": {"onnx": onnx.__version__},
        "files": {manifest.MODEL_FILE: {"sha256": digest, "bytes": len(content)}},
        "golden": [
            {"instance": instance, "probabilities": row}
            for instance, row in zip(instances, probabilities.astype(float).tolist(), strict=True)
        ],
    }
