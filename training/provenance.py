"""A run → what its artifact says about how it was made."""

from __future__ import annotations

import subprocess
import unicodedata
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from training.config import Run

_LIBRARIES = ("numpy", "onnx", "onnxscript", "onnxruntime", "torch")


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
