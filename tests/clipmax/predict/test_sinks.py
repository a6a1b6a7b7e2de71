"""Answers become files, whole or not at all."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clipmax.client import Prediction, TopLabel
from clipmax.client.prediction import History
from clipmax.predict.asking import Answered
from clipmax.predict.sinks import Sink, line, to_file
from clipmax.refusal import Refusal

TOP = (TopLabel('a "b", c', 0.75), TopLabel("d", 0.25))
PREDICTION = Prediction(
    'a "b", c',
    0.75,
    TOP,
    None,
    None,
    out_of_range=True,
    model="m",
    version=1,
    provider="cpu",
    request_id="r",
    unknown=("x",),
)
EMPTY = Answered([], None, [], [], 1.0)


def batch(*numbers: int) -> Answered:
    return Answered(list(numbers), [f"{number}.png" for number in numbers], [PREDICTION] * len(numbers), [], 0.5)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_batches_are_put_together_in_order(suffix: str, tmp_path: Path) -> None:
    """Every value survives, whatever its characters; an empty batch changes nothing."""
    path = tmp_path / f"answers{suffix}"
    with to_file(path) as sink:
        for each in (EMPTY, batch(0, 1), EMPTY, batch(5)):
            sink.write(each)
        assert not path.exists()
    readers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        ".csv": lambda: [*csv.DictReader(path.read_text(encoding="utf-8").splitlines())],
        ".jsonl": lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()],
        ".parquet": lambda: pl.read_parquet(path).to_dicts(),
    }
    rows = readers[suffix]()
    assert [int(row["row"]) for row in rows] == [0, 1, 5]
    assert [row["file"] for row in rows] == ["0.png", "1.png", "5.png"]
    assert {row["label"] for row in rows} == {'a "b", c'}
    assert [path] == list(tmp_path.iterdir())


def fail_after_a_batch(sink: Sink) -> None:
    sink.write(batch(0))
    raise InterruptedError


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_that_was_there_stays_until_the_new_one_is_whole(suffix: str, tmp_path: Path) -> None:
    """And nothing else is left behind."""
    path = tmp_path / f"answers{suffix}"
    path.write_text("before")
    with pytest.raises(InterruptedError), to_file(path) as sink:
        fail_after_a_batch(sink)
    assert path.read_text() == "before"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_no_answers_are_a_file_without_rows(suffix: str, tmp_path: Path) -> None:
    """Every row of the input was bad, for example."""
    with to_file(tmp_path / f"answers{suffix}") as sink:
        sink.write(EMPTY)
    if suffix == ".parquet":
        assert pl.read_parquet(tmp_path / "answers.parquet").is_empty()
    else:
        assert not (tmp_path / f"answers{suffix}").read_text()


@pytest.mark.parametrize("name", ["answers.txt", "answers", "answers.csv.gz"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    """With those there are."""
    with pytest.raises(Refusal, match=r"ends in \.csv, \.jsonl, \.parquet"):
        to_file(tmp_path / name)


def test_a_line_says_what_is_odd_about_its_row() -> None:
    """Values outside the range of training; a customer of whom nothing is known."""
    prior = dataclasses.replace(PREDICTION, out_of_range=False, history=History(known=0, unknown=3, prior=True))
    assert line(PREDICTION) == 'a "b", c  75.00%  (d 25.00%)  out of range'
    assert line(prior) == 'a "b", c  75.00%  (d 25.00%)  no item known'
    assert line(dataclasses.replace(prior, history=History(known=1, unknown=2, prior=False))).endswith("25.00%)")
