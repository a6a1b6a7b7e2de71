"""Accuracy and log loss of ours and of the tools that people would use instead, on five data sets in one go.

    python bench/quality/run.py --data FOLDER [--only adult] [--seeds 0,1,2] [--dry]

FOLDER holds mnist/, banking77/, financial_sentiment/, csl_category/ and adult/, as the READMEs of the examples say.
Ours: the examples' configurations, which leave everything to the defaults of their kind of input (MNIST: the
recommended one), figures after calibration. References without randomness run once. Writes docs/quality.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import references
from references import Score

from bench import examples, page
from bench.examples import Example
from training import run
from training.data import sources
from training.data.dataset import Dataset

DOCUMENT = page.ROOT / "docs" / "quality.md"
TEXT: dict[str, Callable[..., Any]] = {
    "tf-idf + logistic regression, C tuned": references.tfidf,
    "fastText": references.fasttext,
}


@dataclass(frozen=True)
class Task:
    """An example, and what ours stands beside."""

    example: Example
    references: dict[str, Callable[..., Any]]


TASKS = (
    Task(examples.MNIST, {"MLPClassifier": references.perceptron}),
    Task(examples.BANKING77, TEXT),
    Task(examples.FINANCIAL_SENTIMENT, TEXT),
    Task(examples.CSL_CATEGORY, TEXT),
    Task(examples.ADULT, {"LightGBM, early stopping": references.boosted, "MLPClassifier": references.perceptron}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a data set")
    parser.add_argument(
        "--only", action="append", choices=[task.example.name for task in TASKS], help="may be repeated"
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/quality.md as it is")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    chosen = [task for task in TASKS if not arguments.only or task.example.name in arguments.only]
    rows = [row for task in chosen for row in _measure(task, arguments.data, seeds)]
    table = _table(rows, seeds)
    print(table)
    if not arguments.dry:
        page.write(DOCUMENT, "bench/quality/run.py", table)


def _measure(task: Task, data: Path, seeds: Sequence[int]) -> list[str]:
    """The task's rows of the table, printed as they come."""
    with tempfile.TemporaryDirectory() as folder:
        example = task.example
        overrides = [*example.places(data, Path(folder)), "threads=1"]
        settings = example.read(overrides)
        dataset = sources.read(settings.data, text_length=settings.texts.max_length)
        rows = [_row(example.name, "**clipmax**", [_ours(example, overrides, Path(folder), seed) for seed in seeds])]
        print(rows[-1], flush=True)
        for title, fit in task.references.items():
            repeated = seeds if fit in (references.perceptron, references.boosted) else seeds[:1]
            rows.append(_row(example.name, title, [_score(fit, dataset, seed) for seed in repeated]))
            print(rows[-1], flush=True)
    return rows


def _score(fit: Callable[..., Any], dataset: Dataset, seed: int) -> Score:
    return references.score(fit, dataset, seed)


def _ours(example: Example, overrides: Sequence[str], folder: Path, seed: int) -> Score:
    places = [f"seed={seed}", f"models={folder}/models-{seed}", f"runs={folder}/runs"]
    started = time.perf_counter()
    outcome = run.train(example.read([*overrides, *places]), say=lambda _: None)
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


if __name__ == "__main__":
    main()
