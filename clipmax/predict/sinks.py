"""Answers → lines on standard output, or a CSV, JSON Lines or Parquet file by its suffix."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import orjson

from clipmax.client import Prediction
from clipmax.client.predictions import Columns, columns
from clipmax.predict.asking import Answered
from clipmax.predict.tables import polars, suffix
from clipmax.refusal import Refusal


class Sink(ABC):
    """Takes the answers of one batch after the other."""

    @abstractmethod
    def write(self, answered: Answered) -> None: ...


Open = Callable[[Path], AbstractContextManager[Sink]]


def to_file(path: Path) -> AbstractContextManager[Sink]:
    """A sink for this file, which appears when all answers are in it and not before.

    Raises:
        Refusal: another suffix than those of `WRITERS`.
    """
    writer = WRITERS.get(suffix(path)) if path.suffix != ".gz" else None
    if writer is None:
        raise Refusal(path, "file", expected=f"a name that ends in {', '.join(WRITERS)}", found=path.name)
    return writer(path)


class Lines(Sink):
    """A line a row for a person: number, or file, label, probability and the next labels."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, answered: Answered) -> None:
        names = answered.files or [f"{number:>6}" for number in answered.numbers]
        for name, prediction in zip(names, answered.predictions, strict=True):
            print(f"{name}  {line(prediction)}", file=self._stream)


class JsonLines(Sink):
    """An object a row with everything that is known of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, answered: Answered) -> None:
        for place, prediction in enumerate(answered.predictions):
            document = {name: values[place] for name, values in _keys(answered).items()}
            print(orjson.dumps(document | dataclasses.asdict(prediction)).decode(), file=self._stream)


class _Csv(Sink):
    """The columns of `columns` behind the row's number and file; a list is JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._header: list[str] = []

    def write(self, answered: Answered) -> None:
        if not answered.numbers:
            return
        found = _columns(answered)
        if not self._header:
            self._header = list(found)
            self._writer.writerow(found)
        if list(found) != self._header:  # other labels are left of other histories
            raise Refusal("--output", "columns", expected="the same in all rows, or a .jsonl file", found="others")
        self._writer.writerows(zip(*(map(_cell, values) for values in found.values()), strict=True))


class _Parquet(Sink):
    """A part a batch of rows, put together at the end, so that only one is in memory."""

    def __init__(self, folder: Path, frames: Any) -> None:
        self._folder = folder
        self._frames = frames
        self._parts = 0

    def write(self, answered: Answered) -> None:
        if answered.numbers:
            self._frames.DataFrame(_columns(answered)).write_parquet(self._folder / f"{self._parts:09}.parquet")
            self._parts += 1

    def join(self, path: Path) -> None:
        if self._parts:
            self._frames.scan_parquet(self._folder / "*.parquet").sink_parquet(path)
        else:
            self._frames.DataFrame({"row": []}).write_parquet(path)


def line(prediction: Prediction) -> str:
    """`label probability (the next labels)`, and what is odd about the row."""
    others = ", ".join(f"{top.label} {top.probability:.2%}" for top in prediction.top[1:])
    out_of_range = "  out of range" if prediction.out_of_range else ""
    prior = "  no item known" if prediction.history and prediction.history.prior else ""
    return f"{prediction.label}  {prediction.probability:.2%}{f'  ({others})' if others else ''}{out_of_range}{prior}"


@contextmanager
def _text_file(path: Path, make: Callable[[TextIO], Sink]) -> Iterator[Sink]:
    with _beside(path) as folder:
        with (folder / path.name).open("w", encoding="utf-8", newline="") as stream:
            yield make(stream)
        (folder / path.name).replace(path)


@contextmanager
def _parquet(path: Path) -> Iterator[Sink]:
    with polars(path) as frames, _beside(path) as folder:
        parts = folder / "parts"
        parts.mkdir()
        sink = _Parquet(parts, frames)
        yield sink
        sink.join(folder / path.name)
        (folder / path.name).replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


WRITERS: Mapping[str, Open] = MappingProxyType(
    {
        ".csv": lambda path: _text_file(path, _Csv),
        ".jsonl": lambda path: _text_file(path, JsonLines),
        ".parquet": _parquet,
    }
)
"""Suffix → sink."""


def _columns(answered: Answered) -> Columns:
    return _keys(answered) | columns(answered.predictions)


def _keys(answered: Answered) -> Columns:
    files: Columns = {} if answered.files is None else {"file": list(answered.files)}
    return {"row": list(answered.numbers), **files}


def _cell(value: object) -> object:
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    return str(value).lower() if isinstance(value, bool) else value
