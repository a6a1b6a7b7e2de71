"""scikit-learn's 8×8 digits as the files of a run that takes a second, and the command that trains on them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from training import config, run_file
from training.data import sources
from training.data.dataset import Dataset

Array = npt.NDArray[Any]
ROWS, TEST_ROWS = 600, 200
PATIENCE_SECONDS = 240
CLIPMAX = (sys.executable, "-m", "clipmax.cli")

RUN = """
name = "tiny"
seed = 3
threads = 1

[data]
source = "idx"
train_images = "train-images"
train_labels = "train-labels"
test_images = "test-images"
test_labels = "test-labels"
validation = 0.2

[images.augmentation]
rotation_degrees = 5
shift = 0.05

[model]
hidden = [24, 12]
dropout = 0.1

[fit]
epochs = 6
batch_size = 32
"""


def arrays() -> tuple[Array, Array, Array, Array]:
    """Images uint8 [N, 8, 8] 0..240 and labels uint8 [N]: training, then test."""
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    end = ROWS + TEST_ROWS
    return images[:ROWS], labels[:ROWS], images[ROWS:end], labels[ROWS:end]


def idx_bytes(array: Array) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path) -> Path:
    """The four IDX files and the run's TOML; returns the TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("train-images", "train-labels", "test-images", "test-labels")
    for name, array in zip(names, arrays(), strict=True):
        (folder / name).write_bytes(idx_bytes(array))
    path = folder / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    return path


def read(folder: Path, *overrides: str) -> config.Run:
    """The configuration of a fresh run in `folder`, with models and checkpoints in it."""
    return run_file.read(write(folder), [*places(folder), *overrides])


def dataset(folder: Path, *overrides: str) -> tuple[config.Run, Dataset]:
    """The configuration and its data."""
    run = read(folder, *overrides)
    return run, sources.read(run.data)


def places(folder: Path) -> list[str]:
    """Overrides that keep everything a run writes in `folder`."""
    return [f"models={folder}/models", f"runs={folder}/runs"]


def arguments(folder: Path, *flags: str, overrides: Sequence[str] = ()) -> list[str]:
    """The command line of a run in `folder`."""
    settings = [part for one in [*places(folder), *overrides] for part in ("--set", one)]
    return [*CLIPMAX, "train", str(folder / "run.toml"), *settings, *flags]


def start(folder: Path, *flags: str, overrides: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`clipmax train` as a process, its output in pipes."""
    return subprocess.Popen(
        arguments(folder, *flags, overrides=overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def train(folder: Path, *flags: str, overrides: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`clipmax train` to its end."""
    with start(folder, *flags, overrides=overrides) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def read_until(process: subprocess.Popen[str], beginning: str) -> list[str]:
    """Lines of a process's output up to the first with this beginning; fails if it ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return lines
    raise AssertionError(f"no line {beginning!r} in {lines}")
