"""The first run that `clipmax train --init` writes: what it guesses, that it trains, what it refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from clipmax.refusal import Refusal
from tests.training import rows, tables, tiny
from training import defaults, initial, run, run_file
from training.config import FolderSource, TableSource
from training.data import sources


def _table(path: Path) -> TableSource:
    source = run_file.read(path).data
    assert isinstance(source, TableSource)
    return source


def _odd(folder: Path) -> Path:
    """A table with a row number, a date, a constant, a postal code and a marker of missing values."""
    count = 60
    frame = pl.DataFrame(
        {
            "id": np.arange(count),
            "when": pl.Series([f"2024-01-{1 + place % 28:02}" for place in range(count)]).str.to_date(),
            "same": ["x"] * count,
            "post code": ["01069", "20095", "80331"] * 20,
            "size": ["?" if place % 6 == 0 else str(place / 7) for place in range(count)],
            'the "label"\\': ["yes", "no"] * (count // 2),
        }
    )
    frame.write_parquet(folder / "Odd Data.parquet")
    return folder / "Odd Data.parquet"


def test_columns_get_their_kinds_and_odd_ones_are_left_out_with_the_reason(tmp_path: Path) -> None:
    """A row number, a constant, a type that is no input; and a marker of missing values is found."""
    path = initial.write(_odd(tmp_path), label='the "label"\\', output=tmp_path / "run.toml")
    source = _table(path)
    assert (source.numbers, source.categories) == (("size",), ("post code",))
    assert source.ignore == ("id", "when", "same")
    assert source.missing == ("", "?")
    assert source.label == 'the "label"\\'
    text = path.read_text(encoding="utf-8")
    assert "# 'id': not used, it counts the rows" in text
    assert "# 'when': not used, expected numbers, words or texts" in text
    assert "# 'size': a number, 0.142857 to 8.42857, 16.7% missing" in text
    assert run_file.read(path).name == "odd-data"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_table_format_gives_the_defaults_of_its_kinds(suffix: str, tmp_path: Path) -> None:
    """A value in the file is the value that a run without it would take."""
    data = tmp_path / f"mine.{suffix}"
    frame = rows.frame(200, 1)
    writers: dict[str, Callable[[Path], object]] = {
        "csv": frame.write_csv,
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
    }
    writers[suffix](data)
    written = run_file.read(initial.write(data, label="class", output=tmp_path / "deep.toml"))
    bare = tmp_path / "bare.toml"
    bare.write_text(f'name = "mine"\n[data]\nsource = "table"\ntrain = "{data.name}"\nlabel = "class"\n')
    plain = run_file.read(bare)
    plain = defaults.fill(plain, sources.read(plain.data))
    for section in ("model", "loss", "optimizer", "schedule", "clipping", "fit", "rows", "images", "texts"):
        assert getattr(written, section) == getattr(plain, section)
    assert _table(tmp_path / "deep.toml").validation == 0.2


def test_a_mix_with_texts_trains_as_it_is_from_another_folder(tmp_path: Path) -> None:
    """By the two commands; the path of the data is relative to the TOML."""
    data = tables.write(tmp_path / "mix.csv", rows=150, seed=0)
    (tmp_path / "there").mkdir()
    toml = tmp_path / "there" / "run.toml"
    command = [*tiny.CLIPMAX, "train", "--init", str(data), "--label", "label", "--name", "mix", "--output", str(toml)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"wrote {toml}; train with: clipmax train {toml}\n"
    assert 'train = "../mix.csv"' in toml.read_text(encoding="utf-8")
    assert _table(toml).texts == ("text",)
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.endswith("file: expected a new one, found one that exists\n")
    outcome = run.train(run_file.read(toml, [*tiny.places(tmp_path), "fit.epochs=1"]), say=lambda _: None)
    assert outcome.folder == tmp_path / "models" / "mix" / "1"


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_folder_of_images_trains_as_it_is(color: str, tmp_path: Path) -> None:
    """Its colours and a folder for testing are found."""
    random = np.random.default_rng(0)
    for split, word, number in ((s, w, n) for s in ("train", "test") for w in ("a", "b") for n in range(40)):
        place = tmp_path / "shapes" / split / word
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (6, 8) if color == "gray" else (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    path = initial.write(tmp_path / "shapes", label=None, output=tmp_path / "run.toml")
    settings = run_file.read(path, [*tiny.places(tmp_path), "fit.epochs=1"])
    assert isinstance(settings.data, FolderSource)
    assert settings.data.color == color
    assert settings.data.test == tmp_path / "shapes" / "test"
    assert run.train(settings, say=lambda _: None).folder.name == "1"


def test_what_cannot_be_a_run_is_refused(tmp_path: Path) -> None:
    """No label, no such column, a label for a folder, one class; and nothing is written."""
    data = rows.write(tmp_path).with_name("train.csv")
    output = tmp_path / "new.toml"
    with pytest.raises(Refusal, match="--label: expected the column to predict"):
        initial.write(data, label=None, output=output)
    with pytest.raises(Refusal, match="columns: expected one named 'none'"):
        initial.write(data, label="none", output=output)
    with pytest.raises(Refusal, match="--label: expected nothing"):
        initial.write(tmp_path, label="class", output=output)
    with pytest.raises(Refusal, match="folders: expected at least two"):
        initial.write(tmp_path, label=None, output=output)
    with pytest.raises(Refusal, match="name: expected"):
        initial.write(data, label="class", name="a/b", output=output)
    assert not output.exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["run.toml", "--init", "data.csv"], ["run.toml", "--label", "x"], ["--init", "data.csv", "--find-rate"]],
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    """As argparse's own findings do."""
    result = subprocess.run([*tiny.CLIPMAX, "train", *arguments], check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert "usage:" in result.stderr
