"""Published versions for the tests of the ground floor: a real manifest beside a file that stands in for the graph."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from clipmax import manifest
from clipmax.repository import Repository

GRAPH = b"not a graph; nothing here runs it"


def document(*, name: str = "digits", version: int = 1, **changes: Any) -> dict[str, Any]:
    """A sealed manifest document of a 2×2 image model with two labels."""
    body: dict[str, Any] = {
        "format_version": 1,
        "name": name,
        "version": version,
        "created": "2026-01-02T03:04:05+00:00",
        "task": "classification",
        "inputs": [{"kind": "image", "name": "image", "shape": [2, 2]}],
        "outputs": ["logits", "probabilities"],
        "labels": ["zero", "one"],
        "label_metadata": {"one": {"color": "red"}},
        "temperature": 1.25,
        "metrics": {
            "rows": 100,
            "accuracy": 0.98,
            "macro_f1": 0.97,
            "log_loss": 0.06,
            "brier": 0.03,
            "ece": 0.004,
            "ece_uncalibrated": 0.009,
            "log_loss_uncalibrated": 0.07,
        },
        "data": {
            "fingerprint": "a" * 64,
            "files": {"train.gz": "b" * 64},
            "rows": {"train": 800, "validation": 100, "test": 100},
        },
        "training": {"seed": 0, "epochs": 3, "best_epoch": 2, "configuration": {"model": {"hidden": [4]}}},
        "libraries": {"torch": "2.13.0"},
        "files": {"model.onnx": {"sha256": hashlib.sha256(GRAPH).hexdigest(), "bytes": len(GRAPH)}},
        "golden": [
            {"instance": [[0, 0], [0, 0]], "probabilities": [0.75, 0.25]},
            {"instance": [[255, 255], [255, 255]], "probabilities": [0.5, 0.5]},
        ],
    }
    return manifest.seal({**body, **changes})


def publish(root: Path, name: str = "digits") -> Path:
    """Publish the next version of `name` and give its folder."""

    def write(folder: Path, version: int) -> None:
        (folder / manifest.MODEL_FILE).write_bytes(GRAPH)
        (folder / manifest.MANIFEST_FILE).write_bytes(manifest.dump(document(name=name, version=version)))

    return Repository(root).publish(name, write)
