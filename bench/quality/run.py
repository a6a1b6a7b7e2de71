"""Accuracy and log loss of ours and of the tools that people would use instead, on five data sets in one go.

    python bench/quality/run.py --data FOLDER [--only adult] [--seeds 0,1,2] [--dry]

FOLDER holds mnist/, banking77/, financial_sentiment/, csl_category/ and adult/, as the READMEs of the examples say.
Ours: the examples' configurations, which leave everything to the defaults of their kind of input (MNIST: the
recommended one), figures after calibration. References without randomness run once. Writes docs/quality.md.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import references
from references import Score

from training import config, run, run_file
from training.data import sources
from training.data.dataset import Dataset

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "quality.md"
BEGIN, END = "<!-- written by bench/quality/run.py -->", "<!-- end of bench/quality/run.py -->"
TEXT: dict[str, Callable[..., Any]] = {
    "tf-idf + logistic regression, C tuned": references.tfidf,
    "fastText": references.fasttext,
}


@dataclass(frozen=True)
class Task:
    """A data set: its configuration, its files by configuration key, and what ours stands beside."""

    name: str
    configuration: str
    files: dict[str, str]
    references: dict[str, Callable[..., Any]]


_IMAGES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
TASKS = (
    Task("mnist", "mnist/recommended.toml", _IMAGES, {"MLPClassifier": references.perceptron}),
    Task("banking77", "banking77/banking77.toml", {"train": "train.csv", "test": "test.csv"}, TEXT),
    Task(
        "financial_sentiment",
        "financial_sentiment/financial_sentiment.toml",
        {"train": "sent_train.csv", "test": "sent_valid.csv"},
        TEXT,
    ),
    Task(
        "csl_category",
        "csl_category/csl_category.toml",
        {"train": "train.csv", "validation_file": "dev.csv", "test": "test.csv"},
        TEXT,
    ),
    Task(
        "adult",
        "adult/adult.toml",
        {"train": "adult_train.csv.gz", "test": "adult_test.csv.gz"},
        {"LightGBM, early stopping": references.boosted, "MLPClassifier": references.perceptron},
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a data set")
    parser.add_argument("--only", action="append", choices=[task.name for task in TASKS], help="may be repeated")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/quality.md as it is")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    chosen = [task for task in TASKS if not arguments.only or task.name in arguments.only]
    rows = [row for task in chosen for row in _measure(task, arguments.data, seeds)]
    table = _table(rows, seeds)
    print(table)
    if not arguments.dry:
        _replace(DOCUMENT, table)


def _measure(task: Task, data: Path, seeds: Sequence[int]) -> list[str]:
    """The task's rows of the table, printed as they come."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*_places(task, data / task.name, Path(folder)), "threads=1"]
        dataset = sources.read(_read(task, overrides).data, text_length=_read(task, overrides).texts.max_length)
        rows = [_row(task.name, "**clipmax**", [_ours(task, overrides, Path(folder), seed) for seed in seeds])]
        print(rows[-1], flush=True)
        for title, fit in task.references.items():
            repeated = seeds if fit in (references.perceptron, references.boosted) else seeds[:1]
            rows.append(_row(task.name, title, [_score(fit, dataset, seed) for seed in repeated]))
            print(rows[-1], flush=True)
    return rows


def _score(fit: Callable[..., Any], dataset: Dataset, seed: int) -> Score:
    return references.score(fit, dataset, seed)


def _places(task: Task, source: Path, folder: Path) -> list[str]:
    """Overrides that name the files; a compressed table is unpacked first."""
    return [f"data.{key}={_plain(source / name, folder)}" for key, name in task.files.items()]


def _plain(path: Path, folder: Path) -> Path:
    if not path.name.endswith(".csv.gz"):
        return path.resolve()
    plain = folder / path.stem
    with gzip.open(path) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain


def _read(task: Task, overrides: Sequence[str]) -> config.Run:
    return run_file.read(ROOT / "examples" / task.configuration, list(overrides))


def _ours(task: Task, overrides: Sequence[str], folder: Path, seed: int) -> Score:
    places = [f"seed={seed}", f"models={folder}/models-{seed}", f"runs={folder}/runs"]
    started = time.perf_counter()
    outcome = run.train(_read(task, [*overrides, *places]), say=lambda _: None)
    return Score(
        accuracy=outcome.metrics.accuracy,
        log_loss=outcome.metrics.log_loss,
        seconds=time.perf_counter() - started,
    )


def _row(task: str, title: str, scores: Sequence[Score]) -> str:
    if scores[0].missing:
        return f"| {task} | {title} | {scores[0].missing} | | | |"
    accuracy = statistics.mean(score.accuracy for score in scores)
    log_loss = statistics.mean(score.log_loss for score in scores)
    seconds = statistics.mean(score.seconds for score in scores)
    return f"| {task} | {title} | {accuracy:.2%} | {log_loss:.4f} | {seconds:.0f} | {len(scores)} |"


def _table(rows: Sequence[str], seeds: Sequence[int]) -> str:
    lines = [
        "| data | model | accuracy | log loss | seconds of the whole fit | runs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        f"Own test splits, means over seeds {', '.join(map(str, seeds))} where a model has randomness; one thread.",
    ]
    return "\n".join(lines)


def _replace(document: Path, table: str) -> None:
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    document.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
