"""A data set in three splits that never mix, with the checks that every source must pass and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from clipmax.inputs import Input
from clipmax.labels import fault as label_fault
from clipmax.refusal import Refusal

Column = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Prepared(Protocol):
    """A column in the form that training wants, made once: rows of it are what an encoder takes."""

    def __getitem__(self, rows: Indices | slice) -> Self: ...


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split.

    Args:
        columns: input name → array [rows, …]: images uint8 or float32, numbers float32 [rows, 1] with NaN for
            missing, categories int32 codes [rows, 1], texts str in an object array [rows].
        labels: int64 [rows], each 0 ≤ label < K.
        prepared: input name → the same rows as bags of n-grams, once a text encoder is fitted.
        rows: where each row stands in its file, from 1, for messages; by default in the order of the split.
    """

    columns: Mapping[str, Column]
    labels: Indices
    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    rows: Indices | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Indices) -> Split:
        columns = {name: column[rows] for name, column in self.columns.items()}
        prepared = {name: column[rows] for name, column in self.prepared.items()}
        return Split(columns, self.labels[rows], prepared, self.row_numbers[rows])

    @property
    def row_numbers(self) -> Indices:
        """int64 [rows]: where each row stands in its file, from 1."""
        return np.arange(1, len(self) + 1) if self.rows is None else self.rows


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

    @property
    def selection(self) -> Split:
        """The half of the validation split that chooses: the epoch, and of a search the winner."""
        return self.validation.take(halves(self.validation.labels)[0])

    @property
    def calibration(self) -> Split:
        """The other half, which gives conformal scores, abstention threshold and novelty values, and chooses nothing.

        Their promises are for rows that chose nothing before. It helps to fit the temperature, so its own scores are
        taken at temperatures fitted without their row.
        """
        return self.validation.take(halves(self.validation.labels)[1])

    def fingerprint(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of all inputs and labels of the three splits."""
        digest = hashlib.sha256("\n".join(self.labels).encode())
        for name, split in self.splits.items():
            for column_name, column in [*sorted(split.columns.items()), ("labels", split.labels)]:
                digest.update(f"{name}/{column_name}/{column.dtype}/{column.shape}".encode())
                digest.update(_content(column))
        return digest.hexdigest()


def _content(column: Column) -> memoryview | bytes:
    """The bytes of an array; of texts, each with its length before it, so that no two lists of texts look alike."""
    if column.dtype != object:
        return np.ascontiguousarray(column).data
    encoded = (text.encode("utf-8", "surrogatepass") for text in column)
    return b"".join(len(text).to_bytes(8, "little") + text for text in encoded)


def check_labels(labels: npt.NDArray[Any], words: tuple[str, ...], *, where: Path) -> Indices:
    """Class numbers of one file as int64, each within the list of words, at least two of them.

    Raises:
        Refusal: no class numbers, a label out of range (with its row), fewer than two classes, bad words.
    """
    check_are_numbers(labels, where=where)
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


def check_are_numbers(labels: npt.NDArray[Any], *, where: Path) -> None:
    """Class numbers are a list of integers.

    Raises:
        Refusal: another dtype or rank; of floats with a NaN or infinity among them, its row.
    """
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        row = int(np.argwhere(~np.isfinite(labels))[0, 0])
        raise Refusal(where, f"label of row {row}", expected="a class number", found="NaN or infinity")
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        found = f"{labels.dtype} {list(labels.shape)}"
        raise Refusal(where, "labels", expected="a list of class numbers", found=found)


def check_pixels(images: Column, *, where: Path) -> None:
    """Images of numbers that are all finite.

    Raises:
        Refusal: an empty file, a wrong rank or dtype, a pixel that float32 cannot hold (with the row).
    """
    if images.ndim not in (3, 4) or not images.size or images.shape[3:] not in ((), (3,)):
        expected = "[rows, height, width] or [rows, height, width, 3]"
        raise Refusal(where, "shape", expected=expected, found=str(list(images.shape)))
    if images.dtype.kind not in "uif":
        raise Refusal(where, "dtype", expected="numbers", found=str(images.dtype))
    if images.dtype.kind == "f":
        usable = (np.abs(images.reshape(len(images), -1)) <= _FLOAT32_MAX).all(axis=1)  # NaN is not
        if not usable.all():
            row = int(np.flatnonzero(~usable)[0])
            raise Refusal(where, f"row {row}", expected="finite pixels", found="NaN, infinity or more than float32")


def hold_out(labels: Indices, share: float, seed: int, *, classes: int, where: Path) -> tuple[Indices, Indices]:
    """Row numbers of the rows that stay and of those set aside, `share` of every class, both ascending.

    Raises:
        Refusal: a class would have no row on one of the two sides.
    """
    generator = np.random.default_rng(seed)
    aside: list[Indices] = []
    for label in range(classes):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = round(share * len(rows))
        if not 0 < count < len(rows):
            expected = f"rows of class {label} on both sides of validation = {share}"
            raise Refusal(where, "validation", expected=expected, found=f"{count} of {len(rows)} set aside")
        aside.append(rows[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.concatenate(aside)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def halves(labels: Indices) -> tuple[Indices, Indices]:
    """Row numbers of two halves, both ascending, always the same for the same labels.

    Rows in random order within their class are dealt out in turn, class after class, so that the halves' counts of a
    class, and of all rows, differ by at most one; the first half has the odd row.
    """
    shuffled = np.random.default_rng(0).permutation(len(labels))
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(dealt[::2]), np.sort(dealt[1::2])


def checksums(paths: Sequence[Path], sha256: Mapping[str, str]) -> dict[str, str]:
    """File name → SHA-256 of each file, compared with those that the configuration expects.

    Raises:
        Refusal: missing or not readable; another checksum than expected; one expected of a file that is not read.
    """
    names = [path.name for path in paths]
    for name in sha256:
        if name not in names:
            raise Refusal(paths[0].parent, f"sha256 of {name}", expected=f"one of {', '.join(names)}", found=name)
    return {path.name: _checksum(path, sha256) for path in paths}


def _checksum(path: Path, sha256: Mapping[str, str]) -> str:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error
    expected = sha256.get(path.name, found)
    if found != expected:
        raise Refusal(path, "sha256", expected=expected, found=found)
    return found
