"""A small table with every difficulty: numbers with gaps and one frequent value, words, and a label that both tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

ROWS, TEST_ROWS = 400, 120

RUN = """
name = "rows"
seed = 3
threads = 1

[data]
source = "table"
train = "train.csv"
test = "test.csv"
label = "class"

[model]
hidden = [16]

[fit]
epochs = 4
batch_size = 32
"""


def frame(rows: int, seed: int) -> pl.DataFrame:
    """Columns "age", "gain (€)", "colour", "Stadt/城市" and the label "class" of three words."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, rows)
    age = np.where(random.random(rows) < 0.1, np.nan, 20 + 10 * label + random.normal(0, 6, rows))
    gain = np.where(random.random(rows) < 0.9, 0.0, random.integers(1, 100_000, rows))
    colours, cities = np.array(["red", "green", "blue"]), np.array(["Paris", "北京", "", "Köln"])
    colour = colours[np.where(random.random(rows) < 0.7, label, random.integers(0, 3, rows))]
    columns = {
        "age": [None if np.isnan(value) else round(float(value), 2) for value in age],
        "gain (€)": gain,
        "colour": colour,
        "Stadt/城市": cities[random.integers(0, 4, rows)],
        "class": np.array(["low", "mid", "高"])[label],
    }
    return pl.DataFrame(columns)


def write(folder: Path) -> Path:
    """The two CSV files and the run's TOML; returns the TOML."""
    frame(ROWS, 1).write_csv(folder / "train.csv")
    frame(TEST_ROWS, 2).write_csv(folder / "test.csv")
    path = folder / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    return path
