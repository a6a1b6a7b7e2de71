"""`clipmax predict --models`: in this process, with the bits of a service."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from clipmax import cli
from tests import artifacts
from tests.service.running import Running

PEOPLE = """\
age,seen,city,label
30,1650000100,Rome,a
,1650000000,Oslo,b
7,,Bern,a
1e2,1650000007,,b
"""


def predict(*arguments: str | Path) -> int:
    return cli.main(["predict", *map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[str | Path]]:
    """Input files of each kind with the model that takes them."""
    images = np.random.default_rng(0).integers(0, 256, (300, *artifacts.SHAPE)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images[:3]):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number}.png")
    (tmp_path / "people.csv").write_text(PEOPLE)
    records = [dict(row) for row in csv.DictReader(PEOPLE.splitlines())]
    frame = pl.DataFrame(records).with_columns(pl.col("age", "seen").cast(pl.Float64, strict=False))
    frame.with_columns(pl.col("city").replace("", None)).write_parquet(tmp_path / "people.parquet")
    texts = "".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in ("banana", "", "nab"))
    (tmp_path / "texts.jsonl").write_text(texts)
    return {
        "images.npy": [tmp_path / "images.npy", "--model", "tiny"],
        "pictures": [tmp_path / "pictures", "--model", "tiny"],
        "people.csv": [tmp_path / "people.csv", "--model", "table"],
        "people.parquet": [tmp_path / "people.parquet", "--model", "table"],
        "texts.jsonl": [tmp_path / "texts.jsonl", "--model", "text", "--version", "1"],
    }


@pytest.mark.parametrize("name", ["images.npy", "pictures", "people.csv", "people.parquet", "texts.jsonl"])
def test_a_file_gets_the_same_bits_in_process_and_over_http(
    name: str, files: dict[str, list[Any]], kinds: Path, kinds_service: Running, tmp_path: Path
) -> None:
    """In every format that the answers are written in."""
    for suffix in (".csv", ".jsonl", ".parquet"):
        here, there = tmp_path / f"here{suffix}", tmp_path / f"there{suffix}"
        assert predict(*files[name], "--probabilities", "--models", kinds, "--output", here) == cli.DONE
        assert predict(*files[name], "--probabilities", "--url", kinds_service.url, "--output", there) == cli.DONE
        if suffix == ".jsonl":  # which has the id of each request
            ours, theirs = ([json.loads(line) for line in path.read_text().splitlines()] for path in (here, there))
            assert [row | {"request_id": ""} for row in ours] == [row | {"request_id": ""} for row in theirs]
        else:
            assert here.read_bytes() == there.read_bytes()


def test_csv_and_parquet_of_the_same_rows_get_the_same_answers(
    files: dict[str, list[Any]], kinds: Path, tmp_path: Path
) -> None:
    """Missing values and numbers mean the same in both; the label column is passed over."""
    for name in ("people.csv", "people.parquet"):
        predict(*files[name], "--probabilities", "--models", kinds, "--output", tmp_path / f"{name}.jsonl")
    ours, theirs = (
        [json.loads(line)["probabilities"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("people.csv", "people.parquet")
    )
    assert len(ours) == 4
    assert ours == theirs


def test_a_bad_row_is_named_and_the_others_are_answered(
    kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where rows are to be skipped; the numbers stay those of the file."""
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE + "old,1650000000,Rome,a\n9,1650000000\n8,1650000000,Rome,a\n")
    output = tmp_path / "answers.csv"
    question: list[str | Path] = [path, "--models", kinds, "--model", "table", "--output", output]
    assert predict(*question) == cli.FAILED
    error = capsys.readouterr().err
    assert f"{path}: row 4: expected one that the model takes, found TYPE at age: expected a number" in error
    assert not output.exists()

    assert predict(*question, "--on-error", "skip") == cli.DONE
    error = capsys.readouterr().err
    assert "row 4: " in error
    assert "row 5: expected one that the model takes, found it has 2 cells, the header 4" in error
    assert "5 rows answered, 2 skipped" in error
    with output.open() as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "6"]


def test_prediction_sets_and_abstention_are_written(kinds: Path, files: dict[str, list[Any]], tmp_path: Path) -> None:
    """Beside the labels."""
    output = tmp_path / "answers.csv"
    options: list[str | Path] = ["--coverage", "0.8", "--abstain", "--top-k", "1", "--limit", "5", "--output", output]
    assert predict(*files["images.npy"], "--models", kinds, *options) == cli.DONE
    with output.open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 5
    assert all("label_2" not in row for row in found)
    assert all(row["label"] in json.loads(row["prediction_set"]) for row in found)
    assert {row["abstained"] for row in found} <= {"true", "false"}


def test_a_folder_without_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, as everything else."""
    (tmp_path / "a.json").write_text("[1]")
    assert predict(tmp_path / "a.json", "--models", tmp_path) == cli.FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_needs_to_know_its_model(
    files: dict[str, list[Any]], kinds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several none is the default."""
    assert predict(files["people.csv"][0], "--models", kinds) == cli.FAILED
    assert capsys.readouterr().err == "clipmax: the service has no default model; name one\n"
