"""The examples and where the files of their whole data sets lie, as the READMEs of the examples say."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.page import ROOT
from training import config, run_file


@dataclass(frozen=True)
class Example:
    """A data set: its configuration, and its files by configuration key."""

    name: str
    configuration: str
    files: Mapping[str, str]

    def places(self, data: Path, folder: Path) -> list[str]:
        """Overrides that name the files in `data/NAME`; a compressed table is unpacked into `folder` first."""
        return [f"data.{key}={_plain(data / self.name / name, folder)}" for key, name in self.files.items()]

    def read(self, overrides: Sequence[str]) -> config.Run:
        return run_file.read(ROOT / "examples" / self.configuration, list(overrides))


MNIST = Example(
    "mnist",
    "mnist/recommended.toml",
    {
        "train_images": "train-images-idx3-ubyte.gz",
        "train_labels": "train-labels-idx1-ubyte.gz",
        "test_images": "t10k-images-idx3-ubyte.gz",
        "test_labels": "t10k-labels-idx1-ubyte.gz",
    },
)
BANKING77 = Example("banking77", "banking77/banking77.toml", {"train": "train.csv", "test": "test.csv"})
FINANCIAL_SENTIMENT = Example(
    "financial_sentiment",
    "financial_sentiment/financial_sentiment.toml",
    {"train": "sent_train.csv", "test": "sent_valid.csv"},
)
CSL_CATEGORY = Example(
    "csl_category",
    "csl_category/csl_category.toml",
    {"train": "train.csv", "validation_file": "dev.csv", "test": "test.csv"},
)
ADULT = Example("adult", "adult/adult.toml", {"train": "adult_train.csv.gz", "test": "adult_test.csv.gz"})
ALL = (MNIST, BANKING77, FINANCIAL_SENTIMENT, CSL_CATEGORY, ADULT)


def _plain(path: Path, folder: Path) -> Path:
    if not path.name.endswith(".csv.gz"):
        return path.resolve()
    plain = folder / path.stem
    with gzip.open(path) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain
