"""The recommended MNIST run for three seeds: accuracy, log loss, calibration and processor time.

    python bench/mnist/run.py [--threads N]     # about two minutes; writes the table into docs/mnist.md

Everything comes from examples/mnist/recommended.toml; the artifacts go to a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import page
from clipmax.manifest import Metrics
from training import run, run_file

DOCUMENT = page.ROOT / "docs" / "mnist.md"
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run reached on the test split, its temperature, and its processor seconds from reading to publishing."""

    name: str
    metrics: Metrics
    temperature: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/mnist.md as it is")
    arguments = parser.parse_args()
    overrides = [f"threads={arguments.threads}", *arguments.overrides]
    table = _table([_run(seed, overrides) for seed in SEEDS], arguments.threads)
    print(table)
    if not arguments.dry:
        page.write(DOCUMENT, "bench/mnist/run.py", table)


def _run(seed: int, overrides: Sequence[str]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        settings = run_file.read(
            page.ROOT / "examples" / "mnist" / "recommended.toml",
            [*overrides, f"seed={seed}", f"models={folder}/models", f"runs={folder}/runs"],
        )
        started = time.process_time()
        outcome = run.train(settings, say=lambda line: print(line, flush=True))
        seconds = time.process_time() - started
    return Result(name=f"seed {seed}", metrics=outcome.metrics, temperature=outcome.temperature, seconds=seconds)


def _table(results: Sequence[Result], threads: int) -> str:
    lines = [
        "| run | accuracy | macro F1 | log loss | ECE before → after temperature | temperature | CPU seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(result) for result in [*results, _mean(results)]),
        "",
        (
            f"Test split, 10,000 rows; ECE over {results[0].metrics.ece_bins} bins of equal width. Processor "
            f"time on {threads} {'thread' if threads == 1 else 'threads'}, "
            "from reading the files to the published artifact."
        ),
    ]
    return "\n".join(lines)


def _row(result: Result) -> str:
    figures = result.metrics
    return (
        f"| {result.name} | {figures.accuracy:.2%} | {figures.macro_f1:.4f} | {figures.log_loss:.4f} "
        f"| {figures.ece_uncalibrated:.2%} → {figures.ece:.2%} | {result.temperature:.3f} | {result.seconds:.0f} |"
    )


def _mean(results: Sequence[Result]) -> Result:
    documents = [result.metrics.model_dump() for result in results]
    means = {field: statistics.mean(document[field] for document in documents) for field in documents[0]}
    return Result(
        name="**mean**",
        metrics=Metrics.model_validate({**means, "rows": documents[0]["rows"], "ece_bins": documents[0]["ece_bins"]}),
        temperature=statistics.mean(result.temperature for result in results),
        seconds=statistics.mean(result.seconds for result in results),
    )


if __name__ == "__main__":
    main()
