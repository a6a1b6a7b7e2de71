"""Whatever a caller has becomes rows: counted, sliced, and written as JSON that means the same."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from clipmax.client.rows import dumps, rows

TABLE = [{"age": 30.5, "city": "Rome"}, {"age": None, "city": None}]
PNG = b"\x89PNG"


def written(given: Any, start: int = 0, stop: int | None = None) -> Any:
    return json.loads(dumps(rows(given)[slice(start, stop)]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["one text", "another"], ["one text", "another"]),
        (("a", "b"), ["a", "b"]),
        ((row for row in TABLE), TABLE),
        (np.array(["a", "b"]), ["a", "b"]),
        (pl.Series(["a", "b"]), ["a", "b"]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pl.DataFrame(TABLE), TABLE),
        (pd.DataFrame(TABLE), TABLE),
        (pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}), [{"n": 1}, {"n": None}]),
        (np.array([[1.5, np.nan]], np.float16), [[1.5, None]]),
        ([np.arange(4).reshape(2, 2)[:, ::-1]], [[[1, 0], [3, 2]]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_keep_their_values(given: Any, expected: Any) -> None:
    """A missing value is null, whatever the library calls it."""
    assert written(given) == expected


@pytest.mark.parametrize("given", [TABLE, pl.DataFrame(TABLE), pd.DataFrame(TABLE)])
def test_rows_are_counted_and_sliced(given: Any) -> None:
    """Without all of them being made."""
    assert len(rows(given)) == 2
    assert written(given, 1, 2) == TABLE[1:]


@pytest.mark.parametrize("kind", ["path", "bytes", "PIL", "named"])
def test_an_image_is_its_file_in_base64(kind: str, tmp_path: Path) -> None:
    """Also as the member of a row."""
    picture = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2))
    picture.save(tmp_path / "a.png")
    given = {"path": tmp_path / "a.png", "bytes": (tmp_path / "a.png").read_bytes(), "PIL": picture}
    given["named"] = {"image": picture}
    (row,) = written([given[kind]])
    row = row["image"] if kind == "named" else row
    with Image.open(io.BytesIO(base64.b64decode(row["b64"]))) as found:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(picture))


@pytest.mark.parametrize("given", ["a text", b"bytes", Path("a.png"), {"age": 1}])
def test_one_row_alone_is_refused(given: Any) -> None:
    """A text would else be as many rows as it has letters."""
    with pytest.raises(TypeError, match="one row is a list of one"):
        rows(given)


@pytest.mark.parametrize(
    "given",
    [[np.array([np.inf])], pl.DataFrame({"a": [np.inf]}), pd.DataFrame({"a": [-np.inf]})],
    ids=["array in a list", "polars", "pandas"],
)
def test_infinity_is_refused_wherever_it_stands(given: Any) -> None:
    """JSON would turn it into null without a word."""
    with pytest.raises(ValueError, match="infinite"):
        written(given)


def test_what_is_no_value_is_refused() -> None:
    """By its type."""
    with pytest.raises(TypeError):
        written([{"age": object()}])
