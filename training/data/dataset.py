"""A data set in three splits that never mix, with the checks that every source must pass and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.inputs import Input
from clipmax.manifest import label_fault
from clipmax.refusal import Refusal

Column = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split.

    Args:
        columns: input name → array [rows, …] as the source has it (images: uint8 or float32).
        labels: int64 [rows], each 0 ≤ label < K.
    """

    columns: Mapping[str, Column]
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Indices) -> Split:
        return Split({name: column[rows] for name, column in self.columns.items()}, self.labels[rows])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything a run learns from.

    Args:
        inputs: the schema that goes into the manifest.
        labels: the words for class 0, 1, ….
        files: file name → SHA-256 of the file as read.
    """

    inputs: tuple[Input, ...]
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    files: Mapping[str, str]

    @property
    def splits(self) -> Mapping[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def fingerprint(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of all inputs and labels of the three splits."""
        digest = hashlib.sha256("\n".join(self.labels).encode())
        for name, split in self.splits.items():
            for column_name, column in [*sorted(split.columns.items()), ("labels", split.labels)]:
                digest.update(f"{name}/{column_name}/{column.dtype}/{column.shape}".encode())
                digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()


def check_labels(labels: npt.NDArray[Any], words: tuple[str, ...], *, where: Path) -> Indices:
    """Class numbers of one file as int64, each within the list of words, at least two of them.

    Raises:
        Refusal: a label out of range (with its row), fewer than two classes, bad words.
    """
    fault = label_fault(words)
    if fault:
        raise Refusal(where, "labels", expected=fault, found="the list given")
    outside = np.flatnonzero((labels < 0) | (labels >= len(words)))
    if len(outside):
        row = int(outside[0])
        expected = f"0 to {len(words) - 1}"
        raise Refusal(where, f"label of row {row}", expected=expected, found=str(int(labels[row])))
    present = len(np.unique(labels))
    if present < 2:
        raise Refusal(where, "labels", expected="at least two classes", found=str(present))
    return labels.astype(np.int64)


def check_pixels(images: Column, *, where: Path) -> None:
    """Images of numbers that are all finite.

    Raises:
        Refusal: an empty file, a wrong rank or dtype, NaN or infinity (with the row).
    """
    if images.ndim not in (3, 4) or not len(images):
        expected = "[rows, height, width] or [rows, height, width, 3]"
        raise Refusal(where, "shape", expected=expected, found=str(list(images.shape)))
    if images.dtype.kind not in "uif":
        raise Refusal(where, "dtype", expected="numbers", found=str(images.dtype))
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        row = int(np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))[0])
        raise Refusal(where, f"row {row}", expected="finite pixels", found="NaN or infinity")


def hold_out(labels: Indices, share: float, seed: int, *, where: Path) -> tuple[Indices, Indices]:
    """Row numbers of the rows that stay and of those set aside, `share` of every class, both ascending.

    Raises:
        Refusal: a class would have no row on one of the two sides.
    """
    generator = np.random.default_rng(seed)
    aside: list[Indices] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = round(share * len(rows))
        if not 0 < count < len(rows):
            expected = f"rows of class {label} on both sides of validation = {share}"
            raise Refusal(where, "validation", expected=expected, found=f"{count} of {len(rows)} set aside")
        aside.append(rows[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.concatenate(aside)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def read_checked(path: Path, sha256: Mapping[str, str]) -> str:
    """The SHA-256 of a file, compared with the one that the configuration expects.

    Raises:
        Refusal: missing or not readable; another checksum than expected.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error
    expected = sha256.get(path.name, found)
    if found != expected:
        raise Refusal(path, "sha256", expected=expected, found=found)
    return found
