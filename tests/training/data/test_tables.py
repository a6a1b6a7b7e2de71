"""CSV, JSON Lines and Parquet files as split data sets, and the refusals of what cannot be used."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from clipmax.inputs import CategoryInput, NumberInput, TextInput
from clipmax.refusal import Refusal
from tests.training import rows
from training.config import TableSource
from training.data import tables
from training.data.dataset import Dataset


def _read(folder: Path, **settings: Any) -> Dataset:
    source = {"source": "table", "train": folder / "train.csv", "label": "class", **settings}
    return tables.read(TableSource.model_validate(source), text_length=50)


def _write(folder: Path, **columns: list[Any]) -> Path:
    path = folder / "train.csv"
    pl.DataFrame(columns).write_csv(path)
    return path


def _plain(count: int = 40, **columns: list[Any]) -> dict[str, list[Any]]:
    """Columns of a valid table, some of them replaced."""
    return {"n": list(range(count)), "w": ["a", "b"] * (count // 2), "class": ["x", "y"] * (count // 2), **columns}


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".csv": lambda frame, path: frame.write_csv(path),
    ".tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    ".csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
    ".parquet": lambda frame, path: frame.write_parquet(path),
}


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_the_same_table_is_the_same_data_in_every_format(suffix: str, tmp_path: Path) -> None:
    """Kinds, words, ranges and every value; empty cells are missing values everywhere."""
    frame = rows.frame(rows.ROWS, 1)
    frame.write_csv(tmp_path / "train.csv")
    path = tmp_path / f"other{suffix}"
    WRITERS[suffix](frame, path)
    expected, found = _read(tmp_path), _read(tmp_path, train=path)
    assert found.inputs == expected.inputs
    assert found.labels == ("low", "mid", "高")
    assert found.fingerprint() == expected.fingerprint()


def test_the_schema_is_what_the_training_split_holds(tmp_path: Path) -> None:
    """Words in the order of their code points, numbers with their range, missing as NaN and code 1."""
    words = ["é", "b", "中", "", "b"] * 20
    _write(tmp_path, n=[1.5, None, 3.0, -2.0, 8.0] * 20, w=words, class_=["x", "y"] * 50)
    dataset = _read(tmp_path, label="class_")
    number, word = dataset.inputs
    assert number == NumberInput(name="n", minimum=-2.0, maximum=8.0)
    assert word == CategoryInput(name="w", categories=("b", "é", "中"))
    column, codes = dataset.train.columns["n"], dataset.train.columns["w"]
    assert [str(each.dtype) for each in (column, codes)] == ["float32", "int32"]
    assert column.shape == codes.shape == (len(dataset.train), 1)
    assert np.isnan(column[dataset.train.row_numbers % 5 == 2]).all()
    assert (codes[dataset.train.row_numbers % 5 == 4] == 1).all()


def test_words_that_only_other_splits_hold_are_unknown(tmp_path: Path) -> None:
    """The schema has seen the training split alone."""
    _write(tmp_path, **_plain())
    pl.DataFrame({"n": [3, 999], "w": ["new", "a"], "class": ["x", "y"]}).write_csv(tmp_path / "test.csv")
    dataset = _read(tmp_path, test=tmp_path / "test.csv")
    assert dataset.test.columns["w"][:, 0].tolist() == [0, 2]
    assert dataset.inputs[0].out_of_range(dataset.test.columns["n"]).tolist() == [False, True]


def test_kinds_can_be_given(tmp_path: Path) -> None:
    """A code of digits as a category, words as a text, a column left out."""
    _write(tmp_path, **_plain(), code=[10, 20] * 20, skip=["s"] * 40)
    dataset = _read(tmp_path, categories=["code"], texts=["w"], ignore=["skip"])
    assert isinstance(dataset.inputs[0], NumberInput)
    assert dataset.inputs[1:] == (
        TextInput(name="w", max_length=50),
        CategoryInput(name="code", categories=("10", "20")),
    )
    assert set(dataset.train.columns["w"]) == {"a", "b"}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([True, False, None, True], ("false", "true")),
        ([1, 0, None, 1], ("0", "1")),
        ([1.0, 2.5, None, 1e-7], ("1", "1e-07", "2.5")),
    ],
)
def test_a_typed_category_gets_the_codes_that_a_client_gets(
    suffix: str, values: list[Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    """One spelling, whether the words come from a file or as JSON numbers and booleans."""
    frame = pl.DataFrame({**_plain(), "flag": values * 10})
    write = frame.write_parquet if suffix == ".parquet" else frame.write_ndjson
    write(tmp_path / f"typed{suffix}")
    dataset = _read(tmp_path, train=tmp_path / f"typed{suffix}", categories=["flag"])
    schema = dataset.inputs[-1]
    assert schema == CategoryInput(name="flag", categories=words)
    split = dataset.train
    sent = schema.tensor([values[(row - 1) % 4] for row in split.row_numbers], [""] * len(split))
    assert (split.columns["flag"] == sent).all()


def test_a_time_in_seconds_keeps_its_digits(tmp_path: Path) -> None:
    """float32 has steps of 128 there; an origin taken off first keeps every second apart."""
    times = [1_700_000_000 + second for second in range(40)]
    _write(tmp_path, **_plain(), t=times)
    dataset = _read(tmp_path)
    schema = dataset.inputs[2]
    assert isinstance(schema, NumberInput)
    assert schema.origin == pytest.approx(1_700_000_020, abs=20)
    found = np.concatenate([split.columns["t"][:, 0] for split in dataset.splits.values()])
    assert len(np.unique(found)) == 40
    sent = schema.tensor([times[7]], ["/instances/0"])
    assert sent[0, 0] + schema.origin == times[7]


def test_the_marker_of_a_missing_value_can_be_given(tmp_path: Path) -> None:
    """In numbers and in words."""
    _write(tmp_path, **_plain(n=["?", *map(str, range(39))], w=["?", "b"] * 20))
    dataset = _read(tmp_path, missing=["", "?"])
    assert [schema.kind for schema in dataset.inputs] == ["number", "category"]
    assert sum(np.isnan(split.columns["n"]).sum() for split in dataset.splits.values()) == 1


def test_groups_stay_together_and_time_goes_forward(tmp_path: Path) -> None:
    """No customer on two sides; nothing learned from what comes after the test."""
    day = [f"2024-01-{1 + row // 4:02d}" for row in range(80)]
    _write(tmp_path, **_plain(80), customer=[row // 4 for row in range(80)], day=day)
    grouped = _read(tmp_path, group="customer", ignore=["day"])
    sides = [set((split.row_numbers - 1) // 4) for split in grouped.splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert [schema.name for schema in grouped.inputs] == ["n", "w"]
    timed = _read(tmp_path, time="day", ignore=["customer"])
    assert timed.train.row_numbers.max() < timed.validation.row_numbers.min()
    assert timed.validation.row_numbers.max() < timed.test.row_numbers.min()


def test_every_class_is_in_every_split(tmp_path: Path) -> None:
    """Even one of three rows."""
    _write(tmp_path, n=list(range(43)), **{"class": ["x"] * 20 + ["y"] * 20 + ["rare"] * 3})
    dataset = _read(tmp_path)
    assert all(len(np.unique(split.labels)) == 3 for split in dataset.splits.values())


@pytest.mark.parametrize(
    ("content", "settings", "parts"),
    [
        (b"", {}, ("file", "a readable csv table", "empty CSV")),
        (b"n,class\n", {}, ("rows", "at least one", "none")),
        (b"n,class\n1,x\n\xff,y\n", {}, ("line 3", "UTF-8", "byte 0xff")),
        (b"n,n,class\n1,2,x\n", {}, ("header", "every name once", "'n' twice")),
        (b"n,,class\n1,2,x\n", {}, ("header", "a name for every column", "column 2")),
        (b"n,class\n1,x,3\n", {}, ("file", "a readable csv table", "more fields")),
        (b"n,kind\n1,x\n", {}, ("columns", "one named 'class'", "n, kind")),
        (b"n,class\n1,x\n2,x\n", {}, ("column 'class'", "at least two classes", "1")),
        (b"n,class\n1,x\n2,\n3,y\n", {}, ("column 'class', row 2", "one of the 2 classes", "nothing")),
        (b"n,class\n1,x\n2,y\n", {"labels": ["x", "z"]}, ("column 'class', row 2", "one of the 2 classes", "'y'")),
        (b"n,class\n1,x\ntwo,y\n", {"numbers": ["n"]}, ("column 'n', row 2", "a number", "'two'")),
        (b"n,class\n" + b"1e39,x\n2,y\n" * 20, {}, ("column 'n', row", "that float32 can hold", "1e39")),
        (b"n,class\n1,x\n2,y\n", {"ignore": ["m"]}, ("columns", "one named 'm'", "n, class")),
        (b"n,class\n1,x\n2,y\n", {"ignore": ["n"]}, ("columns", "one besides the label", "none")),
        (b"n,class\n1,x\n2,y\n", {"texts": ["class"]}, ("column 'class'", "one kind", "the label")),
        (b"logits,class\n1,x\n2,y\n" * 30, {}, ("column 'logits'", "a name that the graph", "logits")),
        (b"n,class\n1,x\n2,y\n", {}, ("split", "rows of every class", "none of 'x'")),
        (b"n,d,class\n1,1,x\n2,,y\n", {"time": "d"}, ("column 'd', row 2", "a time", "nothing")),
        (b"n,d,class\n1,1,x\n2,1,y\n", {"time": "d"}, ("column 'd'", "at least two times", "one")),
    ],
)
def test_what_cannot_be_used_is_refused(
    content: bytes, settings: dict[str, Any], parts: tuple[str, str, str], tmp_path: Path
) -> None:
    """With the file, the row or column, what belongs there and what was there."""
    field, expected, found = parts
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(Refusal) as caught:
        _read(tmp_path, **settings)
    assert str(tmp_path / "train.csv") in caught.value.where
    assert field in caught.value.field
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert "x00" not in caught.value.found, "a column of ours is named"


def test_a_class_without_examples_among_very_many_is_refused_by_name(tmp_path: Path) -> None:
    """It need not be in validation and test, but nothing can be learned of a class that no training row has."""
    words = [f"c{number:05}" for number in range(10_002)]
    present = [word for word in words if word != "c07777"]
    columns: dict[str, list[Any]] = {"n": list(range(len(present))), "class": present}
    _write(tmp_path, **columns)
    with pytest.raises(Refusal, match=r"train split: expected rows of every class, found none of 'c07777'"):
        _read(tmp_path, labels=words)


def test_a_number_column_with_a_few_words_is_refused_with_the_row(tmp_path: Path) -> None:
    """Most often they mark missing values, and as a category the column would be lost in silence."""
    _write(tmp_path, **_plain(100, n=[*map(str, range(95)), *["n/a"] * 5]))
    with pytest.raises(Refusal, match=r"column 'n', row 9[6-9]|100.*data.missing.*'n/a'"):
        _read(tmp_path)


@pytest.mark.parametrize("name", ["train.txt", "none.csv", "broken.parquet", "broken.csv.gz", "broken.jsonl"])
def test_a_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    """Missing, of an unknown suffix, or broken."""
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(Refusal) as caught:
        _read(tmp_path, train=tmp_path / name)
    assert (caught.value.where, caught.value.field) == (str(tmp_path / name), "file")


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    """No kind of input takes it; leaving it out must be said."""
    path = tmp_path / "train.jsonl"
    pl.DataFrame({**_plain(), "tags": [["a"]] * 40}).write_ndjson(path)
    with pytest.raises(Refusal, match=r"column 'tags': expected .*data.ignore.*List"):
        _read(tmp_path, train=path)
