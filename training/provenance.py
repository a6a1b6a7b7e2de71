"""A run → what its manifest says about how it was made, whatever it is a model of."""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from clipmax import manifest
from clipmax.files import FileRecord
from training.config import Run

_LIBRARIES = ("numpy", "onnx", "onnxscript", "onnxruntime", "torch")


def members(run: Run, version: int, files: Mapping[str, FileRecord], *, epochs: int, best_epoch: int) -> dict[str, Any]:
    """Members of a manifest; `files` by name."""
    return {
        "format_version": manifest.FORMAT_VERSION,
        "name": run.name,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": "classification",
        "label_metadata": {},
        "training": {
            "seed": run.seed,
            "epochs": epochs,
            "best_epoch": best_epoch,
            "configuration": portable(run),
            "git_commit": git_commit(),
        },
        "libraries": libraries(),
        "files": {name: record.model_dump() for name, record in files.items()},
    }


def libraries() -> dict[str, str]:
    """Name → version, of those that make an artifact."""
    return {name: library_version(name) for name in _LIBRARIES} | {"unicode": unicodedata.unidata_version}


def portable(run: Run) -> dict[str, Any]:
    """The configuration without folders of this machine: data files by name, outputs left out."""
    configuration = run.model_dump(mode="json", exclude={"models", "runs"})
    for key, value in run.data:
        if isinstance(value, Path):
            configuration["data"][key] = value.name
    if run.start.version is not None:
        configuration["start"]["version"] = "/".join(run.start.version.resolve().parts[-2:])
    return configuration


def git_commit() -> str | None:
    """The commit of the working directory, None outside a repository or without git."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
