"""CSV, JSON Lines and Parquet files → batches of rows, read as they are needed."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Self, cast

import orjson

from clipmax.predict.batch import ROWS, BadRow, Batch
from clipmax.predict.columns import Columns
from clipmax.refusal import Refusal, shorten

_LONGEST_LINE = 16 * 1024 * 1024
"""Of JSON Lines, in bytes: twice what a service takes in one request by default."""


def suffix(path: Path) -> str:
    """That of the format: `.csv` of `rows.csv.gz` too."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


@contextmanager
def polars(where: Path) -> Iterator[Any]:
    """The library that reads and writes Parquet, which comes with training. Raises Refusal where it is missing."""
    try:
        module = import_module("polars")
    except ImportError as error:
        expected = "polars, for Parquet: pip install 'clipmax[training]', or polars alone"
        raise Refusal(where, "file", expected=expected, found="no polars") from error
    try:
        yield module
    except module.exceptions.PolarsError as error:
        found = shorten(str(error).strip().partition("\n")[0])
        raise Refusal(where, "file", expected="a Parquet file that polars can use", found=found) from error


class _Text:
    """A file of lines, plain or gzipped, and how much of it has been read.

    Raises:
        Refusal: unreadable, or broken on the way.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = max(1, path.stat().st_size)
        self._file = path.open("rb")
        self.content: BinaryIO = (
            cast("BinaryIO", gzip.GzipFile(fileobj=self._file)) if path.suffix == ".gz" else self._file
        )

    @property
    def done(self) -> float:
        return min(1.0, self._file.tell() / self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self.content.close()
        self._file.close()
        if isinstance(error, UnicodeDecodeError):
            found = f"byte 0x{error.object[error.start]:02x}"
            raise Refusal(self._path, "file", expected="UTF-8", found=found) from error
        if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile | csv.Error):
            raise Refusal(self._path, "file", expected="an intact file", found=str(error)) from error


def _csv(path: Path, columns: Columns, delimiter: str = ",") -> Iterator[Batch]:
    with _Text(path) as text:
        lines = io.TextIOWrapper(text.content, encoding="utf-8-sig", newline="")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, [])
        _check_names(header, path)
        columns.names(header, path)
        for number, rows in _portions(reader):
            made = [_record(header, cells, number + place) for place, cells in enumerate(rows)]
            yield _batch(number, made, columns.of_strings, text.done)


def _tsv(path: Path, columns: Columns) -> Iterator[Batch]:
    return _csv(path, columns, delimiter="\t")


def _jsonl(path: Path, columns: Columns) -> Iterator[Batch]:
    with _Text(path) as text:
        lines = (line for line in iter(lambda: text.content.readline(_LONGEST_LINE), b"") if line.strip())
        for number, rows in _portions(lines):
            made = [_json(line, number + place) for place, line in enumerate(rows)]
            yield _batch(number, made, columns.of_values, text.done)


def _parquet(path: Path, columns: Columns) -> Iterator[Batch]:
    with polars(path) as pl:
        whole = pl.scan_parquet(path)
        frame = whole.select(columns.names(whole.collect_schema().names(), path)).with_columns(
            pl.selectors.decimal().cast(pl.Float64)
        )
        count = frame.select(pl.len()).collect().item()
        for start in range(0, count, _PARQUET_ROWS):
            rows = list(frame.slice(start, _PARQUET_ROWS).collect().iter_rows(named=True))
            for first in range(0, len(rows), ROWS):
                done = (start + first) / count
                yield _batch(start + first, rows[first : first + ROWS], columns.of_values, done)


_PARQUET_ROWS = 16 * ROWS
"""Read at once: a slice reads its whole row groups."""

READERS: Mapping[str, Callable[[Path, Columns], Iterator[Batch]]] = MappingProxyType(
    {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
)
"""Suffix → reader of (path, columns of the model)."""


def _portions(rows: Iterator[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Up to `ROWS` rows with the number of the first."""
    number = 0
    while portion := list(islice(rows, ROWS)):
        yield number, portion
        number += len(portion)


def _batch(number: int, made: list[Any], convert: Callable[[Any], object], done: float) -> Batch:
    """What was made of rows that follow each other, the bad ones aside."""
    good = {number + place: row for place, row in enumerate(made) if not isinstance(row, BadRow)}
    bad = [row for row in made if isinstance(row, BadRow)]
    return Batch(list(good), [convert(row) for row in good.values()], bad=bad, done=done)


def _record(header: list[str], cells: list[str], number: int) -> dict[str, str] | BadRow:
    cells = cells or [""] * (len(header) == 1)  # the csv module gives no cell for an empty line
    if len(cells) != len(header):
        return BadRow(number, f"it has {len(cells)} cells, the header {len(header)}")
    return dict(zip(header, cells, strict=True))


def _json(line: bytes, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(number, f"it is not JSON: {error.msg}")


def _check_names(header: list[str], path: Path) -> None:
    if len(set(header)) != len(header):
        twice = next(name for place, name in enumerate(header) if name in header[:place])
        raise Refusal(path, "header", expected="every name once", found=f"{shorten(twice)} twice")
