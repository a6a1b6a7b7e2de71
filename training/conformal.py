"""Probabilities and labels of rows that were not trained on → the table behind prediction sets, and how it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipmax.conformal import Conformal, Method, kept_ranks, label_scores, threshold
from training.metrics import check_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class SetFigures:
    """How prediction sets of one asked coverage did on rows that neither weights nor scores were fitted on."""

    asked: float
    threshold: float
    """Infinity: too few calibration rows, every set holds every label."""
    rows: int
    coverage: float
    """Share of rows whose set holds the true label."""
    noise: float
    """95 of 100 times, sets that keep their promise exactly cover `asked` ± this much: the calibration rows and these
    rows are both samples. More coverage is no fault where many scores are equal (adaptive sets are never empty)."""
    mean_size: float
    """Labels in a set."""
    empty: float
    """Share of rows whose set is empty."""
    per_class: Floats
    """Coverage of each true class, NaN where it has no rows: float64 [K]. Only the mean is promised."""
    support: Integers
    """Rows of each true class: int64 [K]."""


def fit(probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, method: Method = "plain") -> Conformal:
    """The table of calibration scores for any coverage asked later.

    The promise, at least the asked coverage on average over new rows like these, holds for rows that neither the
    weights nor the temperature were fitted on. Pass the probabilities as the artifact gives them.

    Shape: probabilities float [N, K], calibrated; labels int [N].

    Raises:
        Refusal: for non-finite probabilities, labels outside 0..K-1, or shapes that do not fit.
    """
    values, true = np.asarray(probabilities), np.asarray(labels)
    check_rows(values, true, where="conformal")
    scores = np.sort(label_scores(method, values)[np.arange(len(true)), true])
    return Conformal(method=method, rows=len(scores), scores=tuple(scores[kept_ranks(len(scores)) - 1].tolist()))


def measure(
    conformal: Conformal, probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, coverage: float
) -> SetFigures:
    """What the sets for one coverage hold on other rows, over all and for each class; see `measure_all`."""
    return measure_all(conformal, probabilities, labels, coverages=(coverage,))[0]


def measure_all(
    conformal: Conformal, probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, coverages: Sequence[float]
) -> list[SetFigures]:
    """The same for several coverages: the labels' scores, which of many classes take seconds, are computed once.

    Shape: probabilities float [N, K], labels int [N].

    Raises:
        Refusal: for non-finite probabilities, labels outside 0..K-1, or shapes that do not fit.
        ValueError: unless 0 < coverage < 1.
    """
    values, true = np.asarray(probabilities), np.asarray(labels)
    check_rows(values, true, where="conformal")
    scores = label_scores(conformal.method, values)
    return [_measure(conformal, scores, true, coverage) for coverage in coverages]


def _measure(conformal: Conformal, scores: Floats, true: Integers, coverage: float) -> SetFigures:
    limit = threshold(conformal, coverage)
    inside = scores <= limit
    covered, sizes = inside[np.arange(len(true)), true], inside.sum(axis=1)
    hits, support = (np.bincount(true[rows], minlength=scores.shape[1]) for rows in (covered, slice(None)))
    return SetFigures(
        asked=coverage,
        threshold=limit,
        rows=len(true),
        coverage=float(covered.mean()),
        noise=noise(coverage, conformal.rows, len(true)),
        mean_size=float(sizes.mean()),
        empty=float((sizes == 0).mean()),
        per_class=np.asarray(np.divide(hits, support, out=np.full(len(support), np.nan), where=support > 0)),
        support=support,
    )


def noise(coverage: float, calibration_rows: int, rows: int) -> float:
    """Half the width of a kept share's 95 % range: the variance of the Beta of the coverage and that of the count."""
    variance = coverage * (1 - coverage) * (1 / (calibration_rows + 2) + 1 / rows)
    return _NORMAL_95 * math.sqrt(variance)
