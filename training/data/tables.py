"""Tables with numbers, categories and texts in any mix → a split data set whose schema the training split wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from clipmax.inputs import Input
from clipmax.labels import fault as label_fault
from clipmax.refusal import Refusal, shorten
from training.config import TableSource
from training.data import frames, kinds, splits
from training.data.dataset import Column, Dataset, Indices, Split, checksums
from training.data.kinds import Kind

OUTPUTS = ("logits", "probabilities", "novelty")
"""Names that the graph has for its own."""
_ROW = "\0row"
"""A column of ours beside the file's: the number of each row, which survives splitting."""
_FEW_ROWS = 2500
_FEW_ROWS_SHARE = 0.2

Values = npt.NDArray[np.float64] | list[str | None]


def read(source: TableSource, *, text_length: int) -> Dataset:
    """Read, infer, split and encode. Raises Refusal for whatever cannot be used, rows counted from 1.

    Args:
        source: the `[data]` section.
        text_length: code points of a text that the graph will read.
    """
    paths = [path for path in (source.train, source.validation_file, source.test) if path is not None]
    files = checksums(paths, source.sha256)
    tables = {path: frames.read(path).with_row_index(_ROW, offset=1) for path in paths}
    words = _label_words(source, tables[source.train])
    parts = _parts(source, tables, words)
    chosen = _kinds(source, parts["train"][1])
    values = {name: _values(source, chosen, path, frame) for name, (path, frame) in parts.items()}
    inputs = tuple(
        _schema(source.train, kind, name, values["train"][name], text_length) for name, kind in chosen.items()
    )
    made = {
        name: Split(_columns(inputs, values[name]), _labels(source, path, frame, words), rows=_rows(frame))
        for name, (path, frame) in parts.items()
    }
    _check_classes(source, made, words)
    return Dataset(inputs=inputs, labels=words, files=files, **made)


def validation_share(source: TableSource, rows: int) -> float:
    """The share set aside for validation; a fifth of few rows where the configuration gives none."""
    is_default = "validation" not in source.model_fields_set
    return _FEW_ROWS_SHARE if is_default and rows < _FEW_ROWS else source.validation


def _parts(
    source: TableSource, tables: Mapping[Path, pl.DataFrame], words: tuple[str, ...]
) -> dict[str, tuple[Path, pl.DataFrame]]:
    """Split name → the file its rows come from, and the rows."""
    train = tables[source.train]
    parts: dict[str, tuple[Path, pl.DataFrame]] = {}
    if source.test is not None:
        parts["test"] = (source.test, tables[source.test])
    else:
        train, aside = _divide(source, train, source.test_share, words)
        parts["test"] = (source.train, aside)
    if source.validation_file is not None:
        parts["validation"] = (source.validation_file, tables[source.validation_file])
    else:
        train, aside = _divide(source, train, validation_share(source, train.height), words)
        parts["validation"] = (source.train, aside)
    return {"train": (source.train, train), **parts}


def _divide(
    source: TableSource, frame: pl.DataFrame, share: float, words: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    where = source.train
    if source.time is not None:
        kept, aside = splits.by_time(_column(source, frame, source.time, where), share, where=where)
    elif source.group is not None:
        kept, aside = splits.by_group(_column(source, frame, source.group, where), share, source.split_seed)
    else:
        kept, aside = splits.stratified(_labels(source, where, frame, words), share, source.split_seed)
    return frame[kept], frame[aside]


def _kinds(source: TableSource, train: pl.DataFrame) -> dict[str, Kind]:
    """Column → kind, in the file's order, for every column that is an input."""
    given: dict[str, Kind] = {}
    named: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("number", source.numbers),
        ("category", source.categories),
        ("text", source.texts),
    )
    for kind, names in named:
        for name in names:
            frames.column(train, name, where=source.train)
            if name in given or name == source.label:
                found = "it twice" if name in given else "the label"
                raise Refusal(source.train, f"column {name!r}", expected="one kind", found=found)
            given[name] = kind
    unused = {_ROW, source.label, source.group, source.time, *source.ignore}
    for name in source.ignore:
        frames.column(train, name, where=source.train)
    chosen = {
        name: given.get(name)
        or kinds.infer(_column(source, train, name, source.train), _rows(train), where=source.train)
        for name in train.columns
        if name not in unused
    }
    if not chosen:
        raise Refusal(source.train, "columns", expected="one besides the label", found="none")
    return chosen


def _values(source: TableSource, chosen: Mapping[str, Kind], path: Path, frame: pl.DataFrame) -> dict[str, Values]:
    values: dict[str, Values] = {}
    for name, kind in chosen.items():
        column = _column(source, frame, name, path)
        values[name] = kinds.numbers(column, _rows(frame), where=path) if kind == "number" else kinds.words(column)
    return values


def _column(source: TableSource, frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    return frames.without_missing(frames.column(frame, name, where=path), source.missing)


def _schema(path: Path, kind: Kind, name: str, values: Values, text_length: int) -> Input:
    if name in OUTPUTS:
        raise Refusal(path, f"column {name!r}", expected="a name that the graph does not use itself", found=name)
    try:
        return kinds.schema(kind, name, values, text_length=text_length)
    except ValidationError as error:
        raise Refusal.from_validation(f"{path}: column {name!r}", error) from error


def _columns(inputs: tuple[Input, ...], values: Mapping[str, Values]) -> dict[str, Column]:
    return {schema.name: kinds.tensor_column(schema, values[schema.name]) for schema in inputs}


def _rows(frame: pl.DataFrame) -> Indices:
    return frame[_ROW].to_numpy().astype(np.int64)


def _label_words(source: TableSource, train: pl.DataFrame) -> tuple[str, ...]:
    """The classes: as configured, or the training file's in order (numbers by size, else by code points).

    Raises:
        Refusal: no label column, one value only, words that a manifest cannot hold.
    """
    column = _column(source, train, source.label, source.train)
    present = {word for word in kinds.words(column) if word is not None}
    words = source.labels or tuple(sorted(present, key=_label_order))
    if len(words) < 2:
        raise Refusal(source.train, f"column {source.label!r}", expected="at least two classes", found=str(len(words)))
    fault = label_fault(words)
    if fault:
        raise Refusal(source.train, f"column {source.label!r}", expected=fault, found="these labels")
    return words


def _label_order(word: str) -> tuple[int, str]:
    is_number = word.isascii() and word.isdigit()
    return (len(word) if is_number else 1_000, word)


def _labels(source: TableSource, path: Path, frame: pl.DataFrame, words: tuple[str, ...]) -> Indices:
    numbers = {word: number for number, word in enumerate(words)}
    found = kinds.words(_column(source, frame, source.label, path))
    for row, word in zip(_rows(frame), found, strict=True):
        if word not in numbers:
            field = f"column {source.label!r}, row {row}"
            shown = "nothing" if word is None else shorten(word)
            raise Refusal(path, field, expected=f"one of the {len(words)} classes", found=shown)
    return np.array([numbers[word] for word in found if word is not None], dtype=np.int64)


def _check_classes(source: TableSource, made: Mapping[str, Split], words: tuple[str, ...]) -> None:
    """Every class in every split that was made here, and in any case in the training split; of many in that alone."""
    given = {"test": source.test, "validation": source.validation_file}
    made = made if len(words) <= splits.MANY_CLASSES else {"train": made["train"]}
    for name, split in made.items():
        absent = np.setdiff1d(np.arange(len(words)), split.labels)
        if len(absent) and given.get(name) is None:
            found = f"none of {shorten(words[int(absent[0])])}"
            raise Refusal(source.train, f"{name} split", expected="rows of every class", found=found)
