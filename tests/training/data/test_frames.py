"""Files as frames."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from training.data import frames


def test_every_value_of_a_csv_is_the_string_that_stands_there(tmp_path: Path) -> None:
    """Leading zeros, blanks, quotes, line breaks and a byte order mark; what it means is decided later."""
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeffa,b\r\n007," x, ""y""\nz"\r\n1.50,é\r\n'.encode())
    assert frames.read(path).to_dicts() == [{"a": "007", "b": ' x, "y"\nz'}, {"a": "1.50", "b": "é"}]


def test_markers_and_nan_are_missing() -> None:
    """Markers among strings, NaN among numbers; other types have their null."""
    words = frames.without_missing(pl.Series(["a", "?", "", None]), ("", "?"))
    assert words.to_list() == ["a", None, None, None]
    assert frames.without_missing(pl.Series([1.0, float("nan")]), ("",)).to_list() == [1.0, None]
