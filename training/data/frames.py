"""CSV, JSON Lines and Parquet files → frames of named columns, with everything refused that is not what it seems."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import polars as pl
from polars.exceptions import PolarsError

from clipmax.refusal import Refusal, shorten

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(path: Path) -> pl.DataFrame:
    """All columns of a file: of a CSV as strings, of the others as they are typed there.

    Raises:
        Refusal: unreadable, of an unknown suffix, not UTF-8 (with the line), broken, empty, a column named twice.
    """
    reader = READERS.get(_suffix(path))
    if reader is None:
        expected = f"a name that ends in {', '.join(READERS)}, or one of these and .gz"
        raise Refusal(path, "file", expected=expected, found=path.name)
    content = _content(path)
    try:
        frame = reader(path, content)
    except PolarsError as error:
        found = shorten(str(error).strip().splitlines()[0])
        raise Refusal(path, "file", expected=f"a readable {_suffix(path)[1:]} table", found=found) from error
    if not frame.height:
        raise Refusal(path, "rows", expected="at least one", found="none")
    return frame


def column(frame: pl.DataFrame, name: str, *, where: Path) -> pl.Series:
    """One column by its name. Raises Refusal, with the columns there are, if there is none of this name.

    Columns of our own begin with NUL and are not in the file.
    """
    if name not in frame.columns:
        given = ", ".join(one for one in frame.columns if not one.startswith("\0"))
        raise Refusal(where, "columns", expected=f"one named {name!r}", found=shorten(given))
    return frame[name]


def without_missing(values: pl.Series, markers: Sequence[str]) -> pl.Series:
    """Strings with null for every marker of a missing value; other types as they are."""
    if values.dtype != pl.String:
        return values.fill_nan(None) if values.dtype.is_float() else values
    return values.set(values.is_in(list(markers)).fill_null(value=False), None)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise Refusal(path, "file", expected="a readable file", found=found) from error


def _csv(path: Path, content: bytes, separator: str = ",") -> pl.DataFrame:
    content = _utf8(path, content)
    head = content[: content.find(b"\n") + 1 or None].decode()
    header = next(csv.reader(io.StringIO(head), delimiter=separator), [])
    _check_header(path, header)
    return pl.read_csv(io.BytesIO(content), separator=separator, infer_schema=False)


def _tsv(path: Path, content: bytes) -> pl.DataFrame:
    return _csv(path, content, separator="\t")


def _jsonl(path: Path, content: bytes) -> pl.DataFrame:
    return pl.read_ndjson(io.BytesIO(_utf8(path, content)), infer_schema_length=None)


def _parquet(path: Path, content: bytes) -> pl.DataFrame:
    del path
    return pl.read_parquet(io.BytesIO(content))


READERS: Mapping[str, Callable[[Path, bytes], pl.DataFrame]] = MappingProxyType(
    {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
)
"""Suffix → reader of (path for messages, content)."""


def _utf8(path: Path, content: bytes) -> bytes:
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x}"
        raise Refusal(path, f"line {line}", expected="UTF-8", found=found) from error
    return content


def _check_header(path: Path, header: Sequence[str]) -> None:
    for place, name in enumerate(header):
        if not name:
            raise Refusal(path, "header", expected="a name for every column", found=f"none for column {place + 1}")
        if name in header[:place]:
            raise Refusal(path, "header", expected="every name once", found=f"{name!r} twice")
