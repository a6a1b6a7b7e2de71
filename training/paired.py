"""Two models' answers to the same rows → which differences between them are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.abstention import binomial_tail
from training.metrics import BINS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

FIGURES = ("accuracy", "log_loss", "ece", "macro_f1")
RESAMPLES = 2000
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One model's answers to N rows, as far as its figures need them.

    Args:
        true: class of each row, int64 [N].
        answered: the most probable class, in the same numbering, int64 [N].
        confidence: its probability, float64 [N].
        surprise: minus the logarithm of the true class's probability, float64 [N].
        classes: how many numbers there are.
    """

    true: Integers
    answered: Integers
    confidence: Floats
    surprise: Floats
    classes: int

    @property
    def correct(self) -> Booleans:
        return np.asarray(self.true == self.answered)

    def figures(self, times: Floats | None = None) -> Floats:
        """`FIGURES` where row i is there `times[i]` times (once by default): float64 [4].

        ECE has 15 bins of equal width; macro F1 is the mean over classes that occur as a label or as an answer.
        """
        times = np.ones(len(self.true)) if times is None else times
        rows, correct = times.sum(), self.correct
        bins = np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)
        gaps = np.bincount(bins, weights=times * (correct - self.confidence), minlength=BINS)
        hits, answers, support = (
            np.bincount(of, weights=weights, minlength=self.classes)
            for of, weights in ((self.true, times * correct), (self.answered, times), (self.true, times))
        )
        occurring = answers + support > 0
        f1 = 2 * hits[occurring] / (answers + support)[occurring]
        return np.array([times @ correct / rows, times @ self.surprise / rows, np.abs(gaps).sum() / rows, f1.mean()])


def intervals(before: Scored, after: Scored, *, seed: int, resamples: int = RESAMPLES) -> Floats:
    """95 % intervals of after - before for each of `FIGURES`: float64 [4, 2].

    The paired bootstrap (Efron & Tibshirani 1993, percentile method): rows are drawn with replacement, the same rows
    for both models, so that what is hard for both cancels out.
    """
    generator = np.random.default_rng(seed)
    rows = len(before.true)
    differences = np.empty((resamples, len(FIGURES)))
    for difference in differences:
        times = np.bincount(generator.integers(rows, size=rows), minlength=rows).astype(np.float64)
        difference[:] = after.figures(times) - before.figures(times)
    return np.quantile(differences, _INTERVAL, axis=0).T


def mean_interval(gaps: npt.NDArray[np.floating], *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of a figure, or of how much higher it is of one model than of another.

    Args:
        gaps: one of each row or customer, float [N]: drawn with replacement as in `intervals`.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    values = np.asarray(gaps, dtype=np.float64)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, _INTERVAL)
    return float(low), float(high)


def mcnemar(lost: int, won: int) -> float:
    """How often chance alone would part as many rows as unevenly: the exact two-sided test (McNemar 1947).

    Only rows that one model has right and the other wrong count; if the models are equally good, each of them falls to
    either side like a coin.

    Args:
        lost: rows that were right and are wrong.
        won: rows that were wrong and are right.
    """
    tail = binomial_tail(np.array([min(lost, won)]), np.array([lost + won]), 0.5)
    return min(1.0, 2.0 * float(tail[0]))


def is_clear(interval: Sequence[float]) -> bool:
    """Whether an interval leaves zero out."""
    low, high = interval
    return low > 0.0 or high < 0.0
