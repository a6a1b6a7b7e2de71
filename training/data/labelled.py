"""A file of rows with their labels, in one piece: what is measured on, not trained on.

A table has its labels in a column of words; a NumPy archive holds `x` (or `x_test`), and class numbers or words in `y`
(or `y_test`); a RUN.toml stands for the test split of its `[data]`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from clipmax.inputs import ImageInput, Input, NumberInput
from clipmax.refusal import Refusal, shorten
from training.config import Run, TableSource
from training.data import frames, kinds, sources
from training.data.dataset import Column, Indices, Split, check_pixels, checksums

_MISSING = ("",)
_ARRAYS = (("x", "y"), ("x_test", "y_test"))
_UNREADABLE = (ValueError, OSError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows as their file has them, and what each is.

    Args:
        where: the file, for messages.
        files: file name → SHA-256.
        table: the columns without the label, or None for arrays.
        array: [rows, …] of an archive or of images, or None for a table.
        words: the label of each row; a number is the class's own.
        rows: where each stands in its file, from 1.
    """

    where: Path
    files: Mapping[str, str]
    table: pl.DataFrame | None
    array: Column | None
    words: Sequence[str | int]
    rows: Indices

    def __len__(self) -> int:
        return len(self.words)

    def classes(self, labels: Sequence[str]) -> Indices:
        """Each row's place in `labels`, -1 where its word is not among them: int64 [rows].

        Raises:
            Refusal: a class number that no label has.
        """
        places = {word: place for place, word in enumerate(labels)}
        found = [word if isinstance(word, int) else places.get(word, -1) for word in self.words]
        outside = next((index for index, place in enumerate(found) if place >= len(labels)), None)
        if outside is not None:
            expected = f"0 to {len(labels) - 1}"
            raise Refusal(
                self.where, f"label of row {self.rows[outside]}", expected=expected, found=str(found[outside])
            )
        return np.array(found, dtype=np.int64)

    def known_classes(self, labels: Sequence[str]) -> Indices:
        """The same where every row's word must be among them. Raises Refusal, with the row."""
        found = self.classes(labels)
        if (found < 0).any():
            place = int(np.argmax(found < 0))
            shown = shorten(self.words[place])
            field = f"label of row {self.rows[place]}"
            raise Refusal(self.where, field, expected=f"one of the {len(labels)} labels", found=shown)
        return found

    def split(self, inputs: Sequence[Input], labels: Indices) -> Split:
        """The rows as the split of a model with these inputs: words by its codes, numbers less its origins.

        Raises:
            Refusal: a column that is not there, words where numbers belong, images of another size.
        """
        columns = {schema.name: self._column(schema, len(inputs)) for schema in inputs}
        return Split(columns, labels, rows=self.rows)

    def matrix(self, columns: Sequence[str]) -> Column:
        """Plain numbers for a graph that takes them so: float64 [rows, columns] of a table, or the array as it is.

        Raises:
            Refusal: a missing value or a word, with its row.
        """
        if self.table is None:
            assert self.array is not None  # noqa: S101  # one of the two is there
            return self.array
        found = np.stack([self._numbers(name) for name in columns], axis=1)
        missing = np.argwhere(np.isnan(found))
        if len(missing):
            row, column = missing[0]
            field = f"column {columns[column]!r}, row {self.rows[row]}"
            raise Refusal(self.where, field, expected="a number", found="nothing")
        return found

    def _numbers(self, name: str) -> Column:
        assert self.table is not None  # noqa: S101  # callers have dealt with arrays
        values = frames.without_missing(frames.column(self.table, name, where=self.where), _MISSING)
        return kinds.numbers(values, self.rows, where=self.where)

    def _column(self, schema: Input, inputs: int) -> Column:
        if self.table is None:
            return self._pixels(schema, inputs)
        if isinstance(schema, ImageInput):
            raise Refusal(self.where, "columns", expected="images, in a NumPy archive or a RUN.toml", found="a table")
        if isinstance(schema, NumberInput):
            return kinds.tensor_column(schema, self._numbers(schema.name))
        values = frames.without_missing(frames.column(self.table, schema.name, where=self.where), _MISSING)
        return kinds.tensor_column(schema, kinds.words(values))

    def _pixels(self, schema: Input, inputs: int) -> Column:
        assert self.array is not None  # noqa: S101  # one of the two is there
        if not isinstance(schema, ImageInput) or inputs != 1:
            raise Refusal(self.where, "file", expected=f"a table with the column {schema.name!r}", found="arrays")
        if int(np.prod(self.array.shape[1:])) != schema.size:
            found = str(list(self.array.shape[1:]))
            raise Refusal(self.where, "pixels", expected=str(list(schema.shape)), found=found)
        pixels = self.array.reshape(len(self.array), *schema.shape)
        check_pixels(pixels, where=self.where)
        return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)


def read(path: Path, *, label: str | None, ignore: Sequence[str] = ()) -> Labelled:
    """A table by its `label` column, or a NumPy archive.

    Raises:
        Refusal: unreadable; a table without the column; an archive without rows and labels.
    """
    if path.suffix == ".npz":
        return _archive(path)
    files = checksums([path], {})
    return _table(path, frames.read(path), label, ignore, files)


def test_split(run: Run, path: Path) -> Labelled:
    """The test split of a run's data, as its files have it."""
    dataset = sources.read(run.data, text_length=run.texts.max_length)
    if isinstance(run.data, TableSource):
        source = run.data.test or run.data.train
        rows = dataset.test.row_numbers
        frame = frames.read(source)[rows - 1]
        found = _table(source, frame, run.data.label, run.data.ignore, dataset.files)
        return Labelled(source, found.files, found.table, None, found.words, rows)
    (pixels,) = dataset.test.columns.values()
    words = [dataset.labels[place] for place in dataset.test.labels]
    return Labelled(path, dataset.files, None, pixels, words, dataset.test.row_numbers)


def _table(
    path: Path, frame: pl.DataFrame, label: str | None, ignore: Sequence[str], files: Mapping[str, str]
) -> Labelled:
    if label is None:
        raise Refusal(path, "label", expected="the column that holds it, as --label COLUMN", found="nothing")
    words = kinds.words(frames.without_missing(frames.column(frame, label, where=path), _MISSING))
    present = [word for word in words if word is not None]
    rows = np.arange(1, frame.height + 1)
    if len(present) < len(words):
        field = f"column {label!r}, row {words.index(None) + 1}"
        raise Refusal(path, field, expected="a label", found="nothing")
    for name in ignore:
        frames.column(frame, name, where=path)
    return Labelled(path, files, frame.drop(label, *ignore), None, present, rows)


def _archive(path: Path) -> Labelled:
    files = checksums([path], {})
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = next((pair for pair in _ARRAYS if set(pair) <= set(arrays.files)), None)
            if names is None:
                expected = " or ".join(", ".join(pair) for pair in _ARRAYS)
                raise Refusal(path, "arrays", expected=expected, found=shorten(", ".join(arrays.files)))
            rows, labels = (arrays[name] for name in names)
    except _UNREADABLE as error:
        raise Refusal(path, "file", expected="a NumPy archive without objects", found=shorten(str(error))) from error
    if labels.ndim != 1 or labels.dtype.kind not in "uiU" or len(labels) != len(rows) or not len(rows):
        found = f"{labels.dtype} {list(labels.shape)} for {list(rows.shape)}"
        raise Refusal(path, names[1], expected="one class number or label a row", found=found)
    if labels.dtype.kind != "U" and (labels < 0).any():
        raise Refusal(path, names[1], expected="class numbers from 0", found=str(labels.min()))
    if rows.dtype.kind not in "uif" or (rows.dtype.kind == "f" and not np.isfinite(rows).all()):
        raise Refusal(path, names[0], expected="finite numbers", found=str(rows.dtype))
    return Labelled(path, files, None, rows, labels.tolist(), np.arange(1, len(rows) + 1))
