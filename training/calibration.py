"""Logits and labels of rows that were not trained on → the one temperature that makes the probabilities honest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from training.metrics import check_rows, log_probabilities

Floats = npt.NDArray[np.float64]

TEMPERATURE_MIN, TEMPERATURE_MAX = 0.01, 100.0
# 0.1 protects 29 and 91 rows slightly better, but holds an overconfident network (true T 2.4) at 1.8 on 1,000 rows;
# 0.3 finds 2.27 there, and still keeps the 91 rows from running to T = 0.01.
PRIOR_DEVIATION = 0.3
_CHUNK_LOGITS = 1 << 18
"""Four such float64 arrays are 8 MB: about a core's cache."""
_ROUNDS = 200
_PRECISION, _COARSE_PRECISION = 1e-12, 1e-6


def fit_temperature(
    logits: npt.ArrayLike, labels: npt.ArrayLike, *, prior_deviation: float | None = PRIOR_DEVIATION
) -> float:
    """The temperature T with the least log loss of softmax(logits / T) (Guo et al. 2017).

    In β = 1/T the mean log loss is convex, so the optimum is unique and found to 12 digits by Newton's method
    inside a shrinking bracket. On few rows that are nearly all right it would run to T → 0; so one prior counts
    beside the N rows, log T ~ N(0, prior_deviation²) to second order, in the form (β - 1 - log β) / prior_deviation²
    (a Gamma prior on β), which keeps the problem convex. Its weight against the mean is 1/N.

    Args:
        logits: float [N, K], before any temperature, of rows that the weights were not fitted on.
        labels: int [N], 0 to K-1.
        prior_deviation: standard deviation of log T that is believed before seeing rows; None for no prior.

    Returns:
        T between 0.01 and 100.

    Raises:
        Refusal: for non-finite logits, labels outside 0..K-1, no rows, fewer than two classes.
    """
    values, true = np.asarray(logits), np.asarray(labels)
    check_rows(values, true, where="temperature")
    prior_weight = 0.0 if prior_deviation is None else 1.0 / (len(true) * prior_deviation**2)

    def derivatives(beta: float) -> tuple[float, float]:
        slopes, curvatures = row_derivatives(values, true, beta)
        return _with_prior(slopes.mean(), curvatures.mean(), beta, prior_weight)

    return 1.0 / _minimize(derivatives, _PRECISION)


def without_each(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float) -> Floats:
    """The temperature that each row would have had no part in: fitted on all the others, float64 [N].

    One step of Newton's method from the common optimum, which one row of many hardly moves, so that all N cost no more
    than one of the fit's own steps (approximate leave-one-out, Rad & Maleki 2020).

    Args:
        logits: float [N, K], of all rows that fitted T.
        labels: int [N].
        temperature: T, as `fit_temperature` gives it with its own prior.

    Raises:
        Refusal: as `fit_temperature`.
    """
    values, true = np.asarray(logits), np.asarray(labels)
    check_rows(values, true, where="temperature")
    beta = 1.0 / temperature
    slopes, curvatures = row_derivatives(values, true, beta)
    _, curvature = _with_prior(slopes.sum(), curvatures.sum(), beta, 1.0 / PRIOR_DEVIATION**2)
    betas = beta + slopes / (curvature - curvatures)
    return 1.0 / np.clip(betas, 1.0 / TEMPERATURE_MAX, 1.0 / TEMPERATURE_MIN)


def apart(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float32]:
    """The probabilities of each row at the temperature that it had no part in, rounded as a graph's are.

    To a row that fitted T, T is a little too kind; to a new row it is not. At these temperatures the rows' scores are
    to each other what a new row's score at T is to them, up to one row's weight in T (the jackknife for a stable fit:
    Steinberger & Leeb 2023; compare cross-conformal, Vovk 2015, and jackknife+, Barber et al. 2021).

    Args:
        logits: float [N, K], of all rows that fitted T.
        labels: int [N].
        temperature: T.

    Returns:
        float32 [N, K].
    """
    temperatures = without_each(logits, labels, temperature)
    return np.exp(log_probabilities(logits, temperatures[:, None])).astype(np.float32)


def fit_from_derivatives(derivatives: Callable[[float], tuple[float, float]], rows: int) -> float:
    """The same temperature, with the same prior, to six digits, where logits are too many to be held.

    Args:
        derivatives: β → first and second derivative of the mean log loss of softmax(β · logits).
        rows: that the mean is over.
    """
    weight = 1.0 / (rows * PRIOR_DEVIATION**2)
    return 1.0 / _minimize(lambda beta: _with_prior(*derivatives(beta), beta, weight), _COARSE_PRECISION)


def log_error(logits: npt.ArrayLike, temperature: float) -> float:
    """Standard error of log T that `fit_temperature` has on these rows, to first order.

    It solves the slope of the log loss plus the prior's. The slope scatters with the Fisher information I, which in
    log T is the sum over the rows of the variance of logits / T under the row's own softmax; the prior adds its own
    curvature, so the error is √I / (I + 1 / prior_deviation²).

    Args:
        logits: float [N, K], of the rows that fitted T.
        temperature: T.
    """
    values = np.asarray(logits)
    any_class = np.zeros(len(values), dtype=np.int64)
    _, curvatures = row_derivatives(values, any_class, 1.0 / temperature)
    information = float(curvatures.sum()) / temperature**2
    return math.sqrt(information) / (information + 1.0 / PRIOR_DEVIATION**2)


def _minimize(derivatives: Callable[[float], tuple[float, float]], precision: float) -> float:
    """The β at which the slope of the objective is 0, or the nearer bound."""
    low, high, beta = 1.0 / TEMPERATURE_MAX, 1.0 / TEMPERATURE_MIN, 1.0
    for _ in range(_ROUNDS):
        slope, curvature = derivatives(beta)
        if slope == 0.0:
            return beta
        low, high = (low, beta) if slope > 0 else (beta, high)
        newton = beta - slope / curvature if curvature > 0 else math.inf
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - beta) <= precision * beta:
            return following
        beta = following
    return beta


def _with_prior(slope: float, curvature: float, beta: float, weight: float) -> tuple[float, float]:
    """The derivatives of the log loss, and of `weight` times β - 1 - log β, together."""
    return float(slope + weight * (1.0 - 1.0 / beta)), float(curvature + weight / beta**2)


def row_derivatives(values: npt.NDArray[Any], true: npt.NDArray[Any], beta: float | Floats) -> tuple[Floats, Floats]:
    """First and second derivative in β of each row's log loss of softmax(β · logits): float64 [N] both.

    With the gaps of a row, its logits minus the true class's, the first is their mean under softmax(β · gaps), the
    second their variance. In chunks, so that float64 copies of many logits are never held together.

    Args:
        values: float [N, K].
        true: int [N].
        beta: of all rows, or float64 [N].
    """
    betas = np.broadcast_to(beta, len(true))[:, None]
    slopes, curvatures = np.empty(len(true)), np.empty(len(true))
    size = max(1, _CHUNK_LOGITS // values.shape[1])
    for start in range(0, len(true), size):
        rows = slice(start, start + size)
        gaps = values[rows].astype(np.float64)
        gaps -= np.take_along_axis(gaps, true[rows, None], axis=1)
        weights = np.exp(betas[rows] * (gaps - gaps.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        slopes[rows] = means = (weights * gaps).sum(axis=1)
        curvatures[rows] = (weights * (gaps - means[:, None]) ** 2).sum(axis=1)
    return slopes, curvatures
