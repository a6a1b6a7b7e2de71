"""Milliseconds of the session for one row, on one thread, of the model of every example.

    python bench/latency/run.py --data FOLDER [--models FOLDER] [--dry]      # writes the table into docs/performance.md

The data is that of bench/quality. Each example is trained for one epoch on all of it, which gives the graph that a
whole run gives, with other weights; with `--models` the versions stay in that folder, and one that is there is not
trained again. The session is the one that the service makes, its input the first rows of the test split one after the
other, texts repeated and cut to exactly 60 characters.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import examples, page
from bench.examples import Example
from clipmax import manifest
from clipmax.inputs import Tensor, TextInput, tensors
from clipmax.manifest import MODEL_FILE
from clipmax.repository import Repository
from service.engine.session import Execution, Session
from training import run
from training.data import sources
from training.data.dataset import Split
from training.features import columns as features

DOCUMENT = page.ROOT / "docs" / "performance.md"
CHARACTERS = 60
ROWS, ROUNDS = 100, 20
"""So many rows, each so many times; one more round warms up."""


@dataclass(frozen=True)
class Result:
    """Milliseconds of a run of the session."""

    example: str
    row: str
    model_bytes: int
    median: float
    slow: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a data set")
    parser.add_argument("--models", type=Path, help="where the versions are, or stay; default: a temporary folder")
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/performance.md as it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models or Path(folder) / "models"
        results = [measure(example, arguments.data, models, Path(folder)) for example in examples.ALL]
    table = _table(results)
    print(table)
    if not arguments.dry:
        page.write(DOCUMENT, "bench/latency/run.py", table)


def measure(example: Example, data: Path, models: Path, folder: Path) -> Result:
    places = [f"models={models}", f"runs={folder}/runs", "fit.epochs=1", "threads=1", f"name={example.name}"]
    settings = example.read([*example.places(data, folder), *places])
    repository = Repository(models)
    if not repository.versions(example.name):
        run.train(settings, say=lambda _: None)
    version = repository.folder(example.name, repository.versions(example.name)[-1])
    session = Session.load(version, manifest.load(version), Execution(threads=1))
    dataset = sources.read(settings.data, text_length=settings.texts.max_length)
    runs = _milliseconds(session, list(_rows(session, dataset.test)))
    return Result(
        example=example.name,
        row=_described(session),
        model_bytes=(version / MODEL_FILE).stat().st_size,
        median=statistics.median(runs),
        slow=float(np.quantile(runs, 0.99)),
    )


def _rows(session: Session, split: Split) -> Iterator[dict[str, Tensor]]:
    """The first rows of the split, one at a time, as the graph takes them."""
    schema = session.manifest.inputs
    for row in range(ROWS):
        if isinstance(schema[0], TextInput) and len(schema) == 1:
            yield tensors(schema, [_of_length(split.columns[schema[0].name][row])])
        else:
            columns = features.tensors(schema, split, slice(row, row + 1))
            yield {one.name: column.numpy() for one, column in zip(schema, columns, strict=True)}


def _of_length(text: str) -> str:
    return (f"{text} " * CHARACTERS)[:CHARACTERS]


def _milliseconds(session: Session, rows: Sequence[dict[str, Tensor]]) -> list[float]:
    found: list[float] = []
    for turn in range(ROUNDS + 1):
        for each in rows:
            started = time.perf_counter_ns()
            session.run(each)
            if turn:
                found.append((time.perf_counter_ns() - started) / 1e6)
    return found


def _described(session: Session) -> str:
    schema = session.manifest.inputs
    if len(schema) > 1:
        return f"{len(schema)} columns"
    return f"{CHARACTERS} characters" if isinstance(schema[0], TextInput) else " × ".join(map(str, schema[0].shape))


def _table(results: Sequence[Result]) -> str:
    lines = [
        "| example | row | model.onnx | session, ms: median | 99 of 100 below |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.example} | {one.row} | {one.model_bytes / 1e6:.1f} MB | {one.median:.3f} | {one.slow:.3f} |"
        for one in results
    ]
    return "\n".join([*lines, "", f"One row at a time, one thread, {ROWS * ROUNDS:,} runs each."])


if __name__ == "__main__":
    main()
