"""CSV, JSON Lines and Parquet files become batches of the model's inputs, read as they are needed."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clipmax.client import ModelMetadata
from clipmax.client.cutting import Limits
from clipmax.client.metadata import InputMetadata
from clipmax.predict.columns import Columns
from clipmax.predict.tables import READERS, suffix
from clipmax.refusal import Refusal

INPUTS = [("age", "number"), ("city", "category"), ("note", "text")]
PEOPLE = ModelMetadata("people", 1, ("a", "b"), tuple(InputMetadata(*one, "", ()) for one in INPUTS), Limits())
COLUMNS = Columns(PEOPLE, [""])
HEADER = "note,id,age,city\n"


def read(path: Path, columns: Columns = COLUMNS) -> tuple[list[Any], list[tuple[int, str]]]:
    """All rows of a file, and the bad ones."""
    found = list(READERS[suffix(path)](path, columns))
    rows = dict(itertools.chain.from_iterable(zip(one.numbers, one.rows, strict=True) for one in found))
    return list(rows.values()), [(row.number, row.why) for one in found for row in one.bad]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        ("hello,1,30,Rome", {"age": 30.0, "city": "Rome", "note": "hello"}),
        (",1,,", {"age": None, "city": None, "note": ""}),
        (
            '"two\nlines, one ""cell""",1, -1.5e3 ,007',
            {"age": -1500.0, "city": "007", "note": 'two\nlines, one "cell"'},
        ),
        ("ä,1,nan,true", {"age": "nan", "city": "true", "note": "ä"}),
        ("x,1,1_000,1.0", {"age": "1_000", "city": "1.0", "note": "x"}),
        ("x,1,٣,x", {"age": "٣", "city": "x", "note": "x"}),
    ],
)
def test_cells_become_what_the_input_takes(cells: str, row: dict[str, Any], tmp_path: Path) -> None:
    """What is no number stays a string, which the service refuses; other columns are left out."""
    assert read(write(tmp_path / "a.csv", f"{HEADER}{cells}\n")) == ([row], [])


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.tsv", "a.csv.gz", "bom.csv"])
def test_every_kind_of_text_table_is_read(name: str, tmp_path: Path) -> None:
    """Also packed, and with a byte order mark."""
    text = f"{HEADER}x,1,30,Rome\n".replace(",", "\t" if name == "a.tsv" else ",")
    path = write(tmp_path / name, text, "utf-8-sig" if name == "bom.csv" else "utf-8")
    assert read(path)[0] == [{"age": 30.0, "city": "Rome", "note": "x"}]


def test_other_marks_of_missing_values_are_known(tmp_path: Path) -> None:
    """As many as are named; then an empty cell is a word."""
    path = write(tmp_path / "a.csv", f"{HEADER}?,1,NA,\n")
    assert read(path, Columns(PEOPLE, ["?", "NA"]))[0] == [{"age": None, "city": "", "note": ""}]


HISTORY = {"items": ["tea", "cup"], "days_ago": [3.0, 40.5]}
SHOP = ModelMetadata("shop", 1, ("cup", "tea"), (InputMetadata("bought", "history", "", ()),), Limits())


@pytest.mark.parametrize(
    ("name", "text", "row"),
    [
        ("a.jsonl", json.dumps({"who": "ann", **HISTORY}), HISTORY),
        ("b.jsonl", json.dumps({"who": "ann", "bought": HISTORY}), {"bought": HISTORY}),
        ("c.csv", 'who,days_ago,items\nann,"[3, 40.5]","[""tea"", ""cup""]"\n', HISTORY),
        ("d.csv", "bought\n" + json.dumps(json.dumps(HISTORY)).replace('\\"', '""') + "\n", {"bought": HISTORY}),
        ("e.csv", "items,days_ago\ntea,3\n", {"items": "tea", "days_ago": 3}),
    ],
)
def test_histories_are_one_column_or_two(name: str, text: str, row: dict[str, Any], tmp_path: Path) -> None:
    """As the model's input or as what it is made of; in a CSV as JSON, and what is none stays, to be refused."""
    assert read(write(tmp_path / name, text), Columns(SHOP, [""])) == ([row], [])


def test_histories_are_lists_in_parquet(tmp_path: Path) -> None:
    """As a data frame has them; without them the message names what is wanted."""
    path = tmp_path / "a.parquet"
    pl.DataFrame({"who": ["ann"], **{name: [value] for name, value in HISTORY.items()}}).write_parquet(path)
    assert read(path, Columns(SHOP, [""])) == ([HISTORY], [])
    with pytest.raises(Refusal, match="expected one named 'bought', or items and days_ago"):
        read(write(tmp_path / "a.csv", "who\nann\n"), Columns(SHOP, [""]))


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    """Objects of inputs lose other members; a row of another form is left to the service."""
    lines = '{"age": 1, "city": true, "note": null, "id": 7}\n\n{"city": "", "note": ""}\n["x", 1]\n"text"\n'
    rows, bad = read(write(tmp_path / "a.jsonl", lines))
    assert rows == [{"age": 1, "city": True, "note": ""}, {"city": None, "note": ""}, ["x", 1], "text"]
    assert not bad


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """And is read in slices."""
    count = 5000
    frame = {"age": list(range(count)), "city": [True, None] * (count // 2), "note": ["x"] * count, "id": [0] * count}
    pl.DataFrame(frame).write_parquet(tmp_path / "a.parquet")
    rows, _ = read(tmp_path / "a.parquet")
    assert [row["age"] for row in rows] == list(range(count))
    assert rows[1] == {"age": 1, "city": None, "note": "x"}


def test_decimals_are_numbers_and_infinity_is_a_word(tmp_path: Path) -> None:
    """JSON has neither; the service refuses the word."""
    frame = pl.DataFrame({"age": [math.inf, -1.0], "city": [Decimal("1.50")] * 2, "note": ["x"] * 2})
    frame.write_parquet(tmp_path / "a.parquet")
    assert [(row["age"], row["city"]) for row in read(tmp_path / "a.parquet")[0]] == [("inf", 1.5), (-1.0, 1.5)]


def test_bad_rows_are_numbered_among_the_good_ones(tmp_path: Path) -> None:
    """Counted from 0, without the header."""
    rows, bad = read(write(tmp_path / "a.csv", f"{HEADER}x,1,1,a\nx,1\nx,1,3,a\n"))
    assert [row["age"] for row in rows] == [1, 3]
    assert bad == [(1, "it has 2 cells, the header 4")]
    rows, bad = read(write(tmp_path / "a.jsonl", '{"age": 1}\n{\n{"age": 3}\n'))
    assert [row["age"] for row in rows] == [1, 3]
    assert [number for number, _ in bad] == [1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "columns: expected one named 'age'"),
        ("a.csv", b"age,city\n1,Rome\n", "columns: expected one named 'note'"),
        ("a.csv", b"age,city,note,age\n", "header: expected every name once"),
        ("a.csv", b"age,city,note\n1,\xff,x\n", "file: expected UTF-8, found byte 0xff"),
        ("a.csv", b'age,city,note\n1,"a"b,x\n', "file: expected an intact file"),
        ("a.csv.gz", b"\x1f\x8bjunk", "file: expected an intact file"),
        ("a.parquet", b"junk", "file: expected a Parquet file that polars can use"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    """With what is wrong."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Refusal, match=message):
        read(path)


def test_parquet_without_polars_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not among what the service needs."""
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(Refusal, match=r"clipmax\[training\]"):
        read(tmp_path / "a.parquet")
