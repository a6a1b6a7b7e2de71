"""A task of very many classes made from real texts: which characters come next?

    python bench/many_classes/pieces.py --data SHARED_DATA --classes 100000 FOLDER

Writes train, validation and test files and a run file for `clipmax train`. The texts are the questions of BANKING77,
the titles of CSL and the messages of the financial news, 2.0 million characters. A row is a place in them, its class
the characters that come next there, of the most frequent such pieces: five characters for 100,000 classes, ten for
1,000,000, of which 182,250 stand in more than one place. Inputs are the 12 characters before the place, as a text, and
the last one, two and three of them as words. Rows for validation and test are places whose piece also stands elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

TEXTS = (
    ("banking77/train.csv", "text"),
    ("banking77/test.csv", "text"),
    ("csl_category/train.csv", "text"),
    ("csl_category/dev.csv", "text"),
    ("csl_category/test.csv", "text"),
    ("financial_sentiment/sent_train.csv", "text"),
    ("financial_sentiment/sent_valid.csv", "text"),
)
BEFORE, HELD_OUT = 12, 4096
LENGTHS = {100_000: 5, 1_000_000: 10}
"""Number of classes → characters of a piece."""

RUN = """# Which characters come next? Made by bench/many_classes/pieces.py.
name = "pieces-{classes}"

[data]
source = "table"
train = "train.parquet"
validation_file = "validation.parquet"
test = "test.parquet"
label = "next"
texts = ["before"]
categories = ["last", "last_two", "last_three"]

[head]
negatives = 2048

[fit]
epochs = 1
batch_size = {batch}
"""
BATCH = {100_000: 512, 1_000_000: 1024}
"""Number of classes → rows a step."""


def main() -> None:
    """The files of one task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77/, csl_category/ and others")
    parser.add_argument("--classes", type=int, choices=LENGTHS, default=100_000, help="default: %(default)s")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.data, arguments.classes)


def write(folder: Path, data: Path, classes: int) -> Path:
    """Make the folder and all files in it; returns the run file."""
    folder.mkdir(parents=True, exist_ok=True)
    table = rows(read(data), classes)
    held_out = _held_out(table["next"])
    for name, part in {"validation": held_out[:HELD_OUT], "test": held_out[HELD_OUT:]}.items():
        table[np.sort(part)].write_parquet(folder / f"{name}.parquet")
    is_kept = np.ones(table.height, dtype=np.bool_)
    is_kept[held_out] = False
    table.filter(is_kept).write_parquet(folder / "train.parquet")
    path = folder / "run.toml"
    path.write_text(RUN.format(classes=classes, batch=BATCH[classes]), encoding="utf-8")
    return path


def read(data: Path) -> str:
    """All texts, a pilcrow between two, blanks for control characters, which labels cannot have; NFC, as labels are."""
    text = "¶".join(row[column] for name, column in TEXTS for row in _read(data / name))
    return unicodedata.normalize("NFC", re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(text: str, classes: int) -> pl.DataFrame:
    """One row a place whose next characters are among the most frequent."""
    length = LENGTHS[classes]
    places = range(BEFORE, len(text) - length)
    kept = dict(Counter(text[place : place + length] for place in places).most_common(classes))
    chosen = [place for place in places if text[place : place + length] in kept]
    return pl.DataFrame(
        {
            "before": [text[place - BEFORE : place] for place in chosen],
            "last": [text[place - 1] for place in chosen],
            "last_two": [text[place - 2 : place] for place in chosen],
            "last_three": [text[place - 3 : place] for place in chosen],
            "next": [text[place : place + length] for place in chosen],
        }
    )


def _held_out(pieces: pl.Series) -> npt.NDArray[np.int64]:
    """Row numbers of places aside, in random order; the first of each piece in that order stays for training."""
    shuffled = np.random.default_rng(0).permutation(len(pieces))
    numbers = pieces.rank("dense").to_numpy().astype(np.int64)
    _, first = np.unique(numbers[shuffled], return_index=True)
    return np.asarray(np.delete(shuffled, first)[: 2 * HELD_OUT])


if __name__ == "__main__":
    main()
