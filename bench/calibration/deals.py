"""Whether slope and promises hold when the held-out rows are dealt out anew: the figures beside the tables.

    OMP_NUM_THREADS=1 python bench/calibration/deals.py --data FOLDER --only csl_category --seed 1

Trains the example once, puts its validation and test rows together and deals them out again and again, as many for
validation as before. Prints what the slope does, and how often sets and abstention keep their promise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import examples
from bench.examples import Example
from clipmax import abstention as serving
from clipmax import conformal as sets
from training import abstention, calibration, conformal, loop, metrics, run, slope
from training.data.dataset import halves

Array = npt.NDArray[Any]
COVERAGES, RISKS = (0.9, 0.95), (0.02, 0.05)


@dataclass(frozen=True)
class Rows:
    """Logits float32 [N, K] before any calibration, and labels int64 [N]."""

    logits: Array
    labels: Array

    def take(self, rows: Array) -> Rows:
        return Rows(self.logits[rows], self.labels[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a data set")
    parser.add_argument("--only", action="append", choices=[example.name for example in examples.ALL])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slopes", type=int, default=30, help="deals that compare the slope with a temperature alone")
    parser.add_argument("--promises", type=int, default=200, help="deals that count covered rows and wrong answers")
    arguments = parser.parse_args()
    for example in examples.ALL:
        if not arguments.only or example.name in arguments.only:
            rows, held_out = _train(example, arguments.data, arguments.seed)
            print(f"{example.name}, seed {arguments.seed}")
            if arguments.slopes:
                _slopes(rows, held_out, arguments.slopes)
            if arguments.promises:
                _promises(rows, held_out, arguments.promises)


def _train(example: Example, data: Path, seed: int) -> tuple[Rows, int]:
    """All rows that were not trained on, and how many of them are validation's."""
    with tempfile.TemporaryDirectory() as folder:
        settings = example.read([*example.places(data, Path(folder)), f"seed={seed}", f"runs={folder}"])
        ready = run.read(settings)
        progress, dataset = run.begin(ready)
        loop.fit(progress, ready.run, dataset)
        model = run.chosen(progress, dataset)
        logits = [loop.logits_of(model, dataset, split) for split in (dataset.validation, dataset.test)]
    labels = np.concatenate([dataset.validation.labels, dataset.test.labels])
    return Rows(np.concatenate(logits), labels), len(dataset.validation)


def _deals(rows: Rows, held_out: int, count: int, *, seed: int) -> Iterator[tuple[Rows, Rows]]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        order = random.permutation(len(rows.labels))
        yield rows.take(order[:held_out]), rows.take(order[held_out:])


def _inclined(validation: Rows, test: Rows) -> tuple[Rows, Rows, bool]:
    """Both with the slope that the first half of validation asks for, if it asks for one."""
    first, _ = halves(validation.labels)
    line = slope.fit(validation.logits[first], validation.labels[first])
    if line is None:
        return validation, test, False
    module = slope.Slope(line)
    mended = [Rows(module(torch.from_numpy(rows.logits)).numpy(), rows.labels) for rows in (validation, test)]
    return mended[0], mended[1], True


def _slopes(rows: Rows, held_out: int, count: int) -> None:
    found = []
    for validation, test in _deals(rows, held_out, count, seed=0):
        *mended, used = _inclined(validation, test)
        found.append((used, *_judge(validation, test), *_judge(*mended)))
    used, *figures = np.mean(found, axis=0)
    worst = max(one[4] - one[1] for one in found)
    for name, (log_loss, ece, inside) in (("temperature alone", figures[:3]), ("with the rule", figures[3:])):
        print(f"  {name}: log loss {log_loss:.4f}, ECE {ece:.2%}, within chance in {inside:.0%} of {count} deals")
    print(f"  slope used in {used:.0%}; in the worst deal log loss {worst:+.4f}", flush=True)


def _judge(validation: Rows, test: Rows) -> tuple[float, float, bool]:
    """Log loss and ECE of the test rows, and whether chance alone explains the ECE."""
    temperature = calibration.fit_temperature(validation.logits, validation.labels)
    probabilities = np.exp(metrics.log_probabilities(test.logits, temperature))
    ece = metrics.ece(probabilities, test.labels)
    log_loss = metrics.log_loss(test.logits, test.labels, temperature)
    return log_loss, ece, ece <= metrics.ece_noise(probabilities).upper


def _promises(rows: Rows, held_out: int, count: int) -> None:
    covered, answered = [], []
    for dealt in _deals(rows, held_out, count, seed=1):
        validation, test, _ = _inclined(*dealt)
        temperature = calibration.fit_temperature(validation.logits, validation.labels)
        served = [
            np.exp(metrics.log_probabilities(part.logits, temperature)).astype(np.float32)
            for part in (validation, test)
        ]
        first, second = halves(validation.labels)
        apart = calibration.apart(validation.logits, validation.labels, temperature)[second]
        labels, hint = validation.labels[second], (served[0][first], validation.labels[first])
        tables = [conformal.fit(apart, labels, method=method) for method in ("plain", "adaptive")]
        covered.append([_covered(table, served[1], test.labels) for table in tables])
        chosen = [abstention.fit(apart, labels, risk=risk, hint=hint) for risk in RISKS]
        answered.append([_answered(one, served[1], test.labels) for one in chosen])
    means, errors = np.mean(covered, axis=0), np.std(covered, axis=0, ddof=1) / np.sqrt(count)
    for method, mean, error in zip(("plain", "adaptive"), means, errors, strict=True):
        shown = ", ".join(f"{one:.2%} ± {off:.2%}" for one, off in zip(mean, error, strict=True))
        print(f"  {method} sets for 90 and 95 %: {shown}")
    for place, risk in enumerate(RISKS):
        accepted, wrong = np.array(answered)[:, place].T
        above = int((wrong > risk * accepted).sum())
        print(f"  risk {risk:.0%}: a threshold in {(accepted > 0).mean():.0%} of deals, above it on test in {above}")


def _covered(table: sets.Conformal, probabilities: Array, labels: Array) -> list[float]:
    scores = sets.label_scores(table.method, probabilities)[np.arange(len(labels)), labels]
    return [float((scores <= sets.threshold(table, coverage)).mean()) for coverage in COVERAGES]


def _answered(chosen: serving.Abstention, probabilities: Array, labels: Array) -> tuple[int, int]:
    """Rows that get an answer, and wrong ones among them."""
    kept = ~serving.abstains(chosen, probabilities)
    return int(kept.sum()), int((probabilities.argmax(axis=1) != labels)[kept].sum())


if __name__ == "__main__":
    main()
